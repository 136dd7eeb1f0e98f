"""The errors that a user of `openai` sees: the SDK's typed errors, with code, param and remedy."""

import re
import time

import openai
import pytest
from conftest import connect
from support import MODEL

KEY = "sk-test-1234567890"


@pytest.fixture
def locked(serve):
    return serve("--api-key", KEY)


def create(client, **fields):
    return client.completions.create(**{"model": MODEL, "prompt": "Hello", "max_tokens": 1} | fields)


def test_a_wrong_key_is_an_authentication_error_and_the_right_one_works(locked):
    with pytest.raises(openai.AuthenticationError) as caught:
        create(connect(locked, "sk-wrong"))

    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.headers["www-authenticate"].startswith("Bearer")
    assert caught.value.request_id
    assert KEY not in str(caught.value)
    assert create(connect(locked, KEY)).usage.completion_tokens == 1


@pytest.mark.parametrize("header", ["x-api-key", "api-key"])
def test_keys_are_taken_from_the_other_headers_too(locked, header):
    body = {"model": MODEL, "prompt": "Hello", "max_tokens": 1}

    assert locked.ask("/v1/completions", body, {header: KEY}).status == 200
    assert locked.ask("/v1/completions", body, {header: KEY + "x"}).status == 401
    assert locked.ask("/v1/completions", body).status == 401
    assert KEY not in locked.whole_log(), "a key is in the log"


def test_each_request_has_one_log_line_with_its_id_and_the_name_of_its_key(locked):
    body = {"model": MODEL, "prompt": "a very secret prompt", "max_tokens": 1}

    locked.ask("/v1/completions", body, {"x-api-key": KEY, "x-request-id": "served-1"})
    locked.ask("/v1/completions", body, {"x-api-key": "sk-wrong", "x-request-id": "refused-1"})
    locked.ask("/v1/nowhere", {}, {"x-api-key": KEY, "x-request-id": "lost-1"})

    log = locked.whole_log()
    lines = {name: [line for line in log.splitlines() if name in line] for name in ("served-1", "refused-1", "lost-1")}
    assert all(len(found) == 1 for found in lines.values()), lines
    assert "generation" in lines["served-1"][0] and "key=" in lines["served-1"][0]
    assert "status=401" in lines["refused-1"][0] and "key=" not in lines["refused-1"][0]
    assert "status=404" in lines["lost-1"][0] and "key=" in lines["lost-1"][0]
    assert "secret" not in log


def test_legacy_routes_tell_of_a_missing_key_in_their_own_shape(locked):
    answer = locked.ask("/generate", {"prompt": "Hello"})

    assert answer.status == 401
    assert list(answer.json()) == ["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_probes_need_no_key(locked):
    assert [locked.ask(path).status for path in ("/livez", "/readyz", "/health")] == [200, 200, 200]


def test_the_one_model_answers_to_a_placeholder_and_says_so(client):
    raw = client.completions.with_raw_response.create(model="gpt-9", prompt="Hello", max_tokens=1)

    assert raw.parse().model == MODEL
    assert raw.headers["x-llamero-warnings"] == f"model gpt-9 is not served here, so {MODEL} answered"


def test_an_unknown_model_is_not_found_by_a_strict_request(client):
    with pytest.raises(openai.NotFoundError) as caught:
        create(client, model="gpt-9", extra_headers={"x-llamero-strict": "1"})

    assert caught.value.code == "model_not_found"
    assert "gpt-9" in caught.value.message


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("temperature", 9),
        ("temperature", -0.1),
        ("top_p", 1.5),
        ("n", 0),
        ("n", 129),
        ("max_tokens", -2),
        ("logprobs", -1),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("stop", [5]),
        ("stop", [f"{n}:" for n in range(65)]),
        ("prompt", []),
        ("prompt", [10**9]),
        ("prompt", {"text": "Hello"}),
        ("logit_bias", {"0": 101}),
        ("best_of", 129),
        ("suffix", "the end"),
    ],
)
def test_a_field_that_cannot_be_served_is_a_bad_request_naming_it(client, param, value):
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, **{param: value})

    error = caught.value
    assert error.param is not None and re.split(r"[.\[]", error.param)[0] == param, error.body
    assert error.type == "invalid_request_error"


def test_the_context_is_served_to_its_last_token_and_a_limit_beyond_is_reduced_to_it(serve):
    small = connect(serve("--max-model-len", "256"))

    for prompt, max_tokens in ((255, 1), (255, 32_000), (250, 2**31), (250, -1)):
        raw = small.completions.with_raw_response.create(
            model=MODEL, prompt=[504] * prompt, max_tokens=max_tokens, extra_body={"ignore_eos": True}
        )
        fits, warnings = raw.parse(), raw.headers.get("x-llamero-warnings", "")
        assert (fits.usage.total_tokens, fits.choices[0].finish_reason) == (256, "length")
        room = f"max_tokens was reduced to {256 - prompt}, the room that the prompt leaves in the context"
        assert warnings == (room if max_tokens > 1 else "")

    strict = {"x-llamero-strict": "1"}
    for prompt, headers in (([504] * 250, strict), ([504] * 256, {}), ("one two three " * 400, {})):
        with pytest.raises(openai.BadRequestError) as caught:
            create(small, prompt=prompt, max_tokens=7, extra_headers=headers)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "max_tokens" if headers else "prompt")
        assert "256" in caught.value.message, "the limit is named"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b'{"model": NaN}', b"\xff\xfe"])
def test_malformed_bodies_are_bad_requests_that_no_client_retries(server, body):
    answer = server.ask("/v1/completions", body, {"content-type": "application/json"})

    assert answer.status == 400, answer.body
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


def exhaust(client, requests):
    """Sends requests until one is refused, and returns the refusal."""
    for _ in range(requests):
        try:
            create(client)
        except openai.RateLimitError as error:
            return error
    raise AssertionError(f"none of {requests} requests was refused")


def test_too_many_requests_are_refused_with_a_wait_and_succeed_after_it(serve):
    limited = connect(serve("--rpm", "30"))

    refusal = exhaust(limited, 60)

    headers = refusal.response.headers
    assert refusal.code == "rate_limit_exceeded"
    assert headers["x-ratelimit-limit-requests"] == "30"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= int(headers["retry-after"]) <= 60

    exhaust(limited, 60)
    begun = time.monotonic()
    raw = limited.with_options(max_retries=3).completions.with_raw_response.create(model=MODEL, prompt="Hello", max_tokens=1)

    assert raw.retries_taken >= 1
    assert time.monotonic() - begun > 0.2, "the SDK waited as it was told"
    assert raw.parse().usage.completion_tokens == 1
