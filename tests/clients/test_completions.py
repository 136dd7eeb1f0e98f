"""The answers that a user of `openai` gets from /v1/completions: text, streams, usage, choices, logprobs, stops, seeds."""

import pytest
from support import MODEL

PROMPT = "The capital of France is"


def complete(client, prompt=PROMPT, **fields):
    return client.completions.create(**{"model": MODEL, "prompt": prompt, "max_tokens": 24, "temperature": 0} | fields)


@pytest.fixture
def greedy(client):
    """The undisturbed greedy completion. Asked for twice, so that it and what is compared with it find the prompt cached."""
    complete(client)
    return complete(client)


def test_a_completion_knows_the_capital_of_france(client):
    completion = complete(client, max_tokens=16)

    assert completion.object == "text_completion"
    assert completion.id.startswith("cmpl-")
    assert completion.model == MODEL
    assert "Paris" in completion.choices[0].text
    assert completion.choices[0].finish_reason in ("stop", "length")
    usage = completion.usage
    assert usage.prompt_tokens >= 5 and 1 <= usage.completion_tokens <= 16
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_max_tokens_is_16_by_default(client):
    completion = client.completions.create(model=MODEL, prompt=PROMPT, temperature=0, extra_body={"ignore_eos": True})

    assert completion.usage.completion_tokens == 16
    assert completion.choices[0].finish_reason == "length"


def test_a_stream_joins_to_the_text_that_is_sent_whole(client, greedy):
    chunks = list(complete(client, stream=True))

    assert len(chunks) > 5
    assert "".join(chunk.choices[0].text for chunk in chunks) == greedy.choices[0].text
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == greedy.choices[0].finish_reason
    assert {(chunk.id, chunk.created, chunk.object) for chunk in chunks} == {(chunks[0].id, chunks[0].created, "text_completion")}
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_usage_when_asked(client, greedy):
    *chunks, last = complete(client, stream=True, stream_options={"include_usage": True})

    assert last.choices == []
    assert last.usage.completion_tokens == greedy.usage.completion_tokens
    assert last.usage.prompt_tokens == greedy.usage.prompt_tokens
    assert last.usage.total_tokens == greedy.usage.total_tokens
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)


def test_prompts_times_n_choices_come_in_order_and_count_each_prompt_once(client):
    prompts = ["The capital of France is", "Once upon a time, there was"]
    single = [complete(client, prompt, max_tokens=1).usage.prompt_tokens for prompt in prompts]

    completion = complete(client, prompts, n=2, max_tokens=4, temperature=1, extra_body={"ignore_eos": True})

    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert completion.usage.prompt_tokens == sum(single)
    assert completion.usage.completion_tokens == 4 * 4


def test_a_stream_of_several_choices_finishes_each_once(client):
    chunks = list(complete(client, ["One two three", "Red green"], n=2, max_tokens=6, temperature=1, stream=True))

    finished = [chunk.choices[0].index for chunk in chunks if chunk.choices[0].finish_reason]
    assert sorted(finished) == [0, 1, 2, 3]


def test_token_ids_are_taken_as_they_are(client):
    one = complete(client, [504, 3575, 282], max_tokens=2)
    several = complete(client, [[504, 3575, 282], [504, 3575]], max_tokens=2)

    assert one.usage.prompt_tokens == 3, "no token may be added"
    assert several.usage.prompt_tokens == 5
    assert [choice.index for choice in several.choices] == [0, 1]


def test_logprobs_are_four_parallel_arrays_of_the_legacy_shape(client):
    choice = complete(client, max_tokens=6, logprobs=2).choices[0]
    logprobs = choice.logprobs

    assert "".join(logprobs.tokens) == choice.text
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == len(logprobs.text_offset)
    for token, logprob, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True):
        assert logprob <= 0
        assert 2 <= len(top) <= 3
        assert top[token] == max(top.values()) == logprob, "greedy takes the likeliest"
    offsets = [len(PROMPT)]
    for token in logprobs.tokens:
        offsets.append(offsets[-1] + len(token))
    assert logprobs.text_offset == offsets[:-1]


def test_logprobs_zero_reports_the_sampled_token_alone(client):
    logprobs = complete(client, max_tokens=3, logprobs=0).choices[0].logprobs

    assert [list(top) for top in logprobs.top_logprobs] == [[token] for token in logprobs.tokens]


def test_streamed_logprobs_go_on_where_the_last_chunk_ended(client):
    chunks = [chunk.choices[0] for chunk in complete(client, max_tokens=6, logprobs=1, stream=True)]

    tokens, offsets = [], []
    for choice in chunks:
        if choice.logprobs:
            tokens += choice.logprobs.tokens
            offsets += choice.logprobs.text_offset
    assert "".join(tokens) == "".join(choice.text for choice in chunks)
    assert offsets == [len(PROMPT) + len("".join(tokens[:index])) for index in range(len(tokens))]


def test_echo_puts_the_prompt_before_the_completion(client, greedy):
    whole = complete(client, echo=True)
    streamed = "".join(chunk.choices[0].text for chunk in complete(client, echo=True, stream=True))

    assert whole.choices[0].text == PROMPT + greedy.choices[0].text
    assert streamed == whole.choices[0].text
    assert whole.usage.completion_tokens == greedy.usage.completion_tokens


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_stop_string_ends_the_text_before_it(client, greedy, stream):
    full = greedy.choices[0].text
    middle = len(full) // 2
    stop = full[middle : middle + 3]

    answer = complete(client, stop=["never in this text", stop], stream=stream)

    choices = [chunk.choices[0] for chunk in answer] if stream else [answer.choices[0]]
    assert "".join(choice.text for choice in choices) == full[: full.index(stop)]
    assert choices[-1].finish_reason == "stop"


def test_a_seed_gives_the_same_text_again_and_another_seed_another(client):
    def sample(seed):
        return complete(client, temperature=1, seed=seed, max_tokens=32, extra_body={"ignore_eos": True}).choices[0].text

    sample(1)
    assert sample(7) == sample(7)
    assert sample(7) != sample(8)


def test_logit_bias_decides_for_a_token(client, greedy):
    biased = complete(client, max_tokens=3, logit_bias={"504": 100}, logprobs=0)

    [forced] = set(biased.choices[0].logprobs.tokens)
    assert biased.choices[0].text == forced * 3
    assert not greedy.choices[0].text.startswith(forced)


def test_unknown_fields_are_accepted_and_named_in_a_header(client):
    raw = client.completions.with_raw_response.create(model=MODEL, prompt=PROMPT, max_tokens=1, extra_body={"frobnicate": 1})

    assert "frobnicate" in raw.headers["x-llamero-warnings"]
    assert raw.parse().usage.completion_tokens == 1


def test_null_fields_are_as_good_as_absent(server, greedy):
    nulls = dict.fromkeys(["suffix", "stop", "n", "logprobs", "echo", "stream", "seed", "user", "logit_bias", "best_of", "top_p"])

    answer = server.ask("/v1/completions", {"model": MODEL, "prompt": PROMPT, "max_tokens": 24, "temperature": 0} | nulls)

    assert answer.status == 200, answer.body
    assert answer.json()["choices"][0]["text"] == greedy.choices[0].text
