"""The answers that a user of `anthropic` gets from /v1/messages: messages, streams, tools, counts, prefill, typed refusals."""

import json

import anthropic
import pytest
from support import MODEL

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
CLOCK = {"name": "get_time", "input_schema": {"type": "object", "properties": {}, "additionalProperties": False}}


def connect(running, api_key="EMPTY", **options):
    """A client that does not retry, so that each error is seen."""
    return anthropic.Anthropic(base_url=running.url, api_key=api_key, **{"max_retries": 0, "timeout": 120} | options)


@pytest.fixture
def claude(server):
    with connect(server) as made:
        yield made


def request(messages=QUESTION, temperature=0, **fields):
    """The SDK has no `temperature` since 2.0; the API goes on taking it."""
    return {"model": MODEL, "messages": messages, "max_tokens": 32, "extra_body": {"temperature": temperature}} | fields


def ask(client, messages=QUESTION, **fields):
    return client.messages.create(**request(messages, **fields))


def count(client, messages=QUESTION, **fields):
    return client.messages.count_tokens(model=MODEL, messages=messages, **fields).input_tokens


def prompt_tokens(usage):
    """All of the prompt, by Anthropic's rule."""
    return usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens


def test_a_message_knows_the_capital_of_france(claude):
    message = ask(claude)

    assert message.id.startswith("msg_")
    assert (message.type, message.role, message.model) == ("message", "assistant", MODEL)
    [block] = message.content
    assert block.type == "text"
    assert "Paris" in block.text
    assert (message.stop_reason, message.stop_sequence) in [("end_turn", None), ("max_tokens", None)]
    assert message._request_id


def test_cached_tokens_are_counted_apart_from_the_others(claude):
    first, second = ask(claude).usage, ask(claude).usage

    assert prompt_tokens(first) == prompt_tokens(second) > 20
    assert second.cache_read_input_tokens > 0
    assert second.output_tokens_details.thinking_tokens == 0


def test_the_streaming_helper_makes_the_message_that_is_sent_whole(claude):
    ask(claude)
    whole = ask(claude)

    with claude.messages.stream(**request()) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert text == whole.content[0].text
    skipped = {"id": True, "content": {"__all__": {"parsed_output"}}}
    assert message.model_dump(exclude=skipped) == whole.model_dump(exclude=skipped)


def test_raw_events_come_in_anthropics_order(claude):
    events = list(ask(claude, stream=True))

    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert prompt_tokens(events[0].message.usage) == prompt_tokens(events[-2].usage)
    assert events[-2].usage.output_tokens >= len(kinds) - 5


def test_an_asynchronous_client_streams_too(server):
    import asyncio

    async def text():
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key="EMPTY", max_retries=0) as client:
            async with client.messages.stream(**request()) as stream:
                return "".join([text async for text in stream.text_stream])

    assert "Paris" in asyncio.run(text())


def test_a_forced_call_that_is_cut_off_has_no_text(claude):
    for limit in range(1, 24):
        message = ask(claude, tools=[WEATHER, CLOCK], tool_choice={"type": "any"}, max_tokens=limit)

        assert not [block for block in message.content if block.type == "text"], (limit, message.content)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_call_that_must_be_made_obeys_its_schema_and_takes_its_result(claude, choice):
    question = [{"role": "user", "content": "What is the weather in Paris, in C?"}]
    fields = {"tools": [WEATHER, CLOCK], "tool_choice": choice | {"disable_parallel_tool_use": True}, "max_tokens": 200}

    message = ask(claude, question, **fields)

    assert message.stop_reason == "tool_use"
    [call] = message.content
    assert call.type == "tool_use"
    assert call.id.startswith("toolu_")
    if choice["type"] == "tool":
        assert call.name == "get_weather"
    if call.name == "get_weather":
        assert set(call.input) == {"city", "unit"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "21 degrees, sunny"}]}
    then = [*question, message.to_param(), {"role": "user", "content": [result, {"type": "text", "text": "Repeat the weather."}]}]
    answer = ask(claude, then, tools=[WEATHER, CLOCK], max_tokens=8)
    assert answer.content
    assert prompt_tokens(answer.usage) > prompt_tokens(message.usage)


def test_a_streamed_call_joins_to_the_one_that_is_sent_whole(claude):
    fields = request(tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"}, max_tokens=200)
    whole = claude.messages.create(**fields)

    with claude.messages.stream(**fields) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()

    assert len(pieces) > 1
    assert (message.content[0].name, message.content[0].input) == ("get_weather", whole.content[0].input)
    assert message.stop_reason == "tool_use"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"system": "Be brief."},
        {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
        {"tools": [WEATHER]},
        {"tools": [WEATHER], "tool_choice": {"type": "none"}},
        {"messages": [*QUESTION, {"role": "assistant", "content": "The capital"}]},
    ],
)
def test_the_count_is_that_of_the_prompt(claude, fields):
    assert count(claude, **fields) == prompt_tokens(ask(claude, **fields).usage)


def test_a_stop_sequence_ends_the_text_and_is_named(claude):
    message = ask(claude, stop_sequences=["Nowhere", "Paris"])

    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "Paris")
    assert "Paris" not in message.content[0].text


def test_max_tokens_is_a_reason_to_stop(claude):
    message = ask(claude, max_tokens=2)

    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 2)


def test_a_last_message_of_the_assistant_begins_the_answer(claude):
    message = ask(claude, [*QUESTION, {"role": "assistant", "content": "The capital of France is"}])

    assert message.content[0].text.lstrip().startswith("Paris")


def test_structured_output_is_the_json_that_was_asked_for(claude):
    schema = {"type": "object", "properties": {"capital": {"enum": ["Paris", "Rome"]}}, "required": ["capital"], "additionalProperties": False}

    message = ask(claude, output_config={"format": {"type": "json_schema", "schema": schema}})

    assert json.loads(message.content[0].text) in ({"capital": "Paris"}, {"capital": "Rome"})


def test_thinking_that_the_template_cannot_do_is_reported(claude):
    raw = claude.messages.with_raw_response.create(**request(thinking={"type": "enabled", "budget_tokens": 1024}))

    assert raw.headers["x-llamero-warnings"] == "ignored fields: thinking; thinking.budget_tokens is not enforced"
    assert raw.parse().content
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(claude, thinking={"type": "adaptive"}, extra_headers={"x-llamero-strict": "1"})
    assert "thinking" in caught.value.api_message


def test_a_request_like_claude_codes_is_answered(claude):
    """Its beta headers and query, blocks with cache marks, many tools, context management."""
    ephemeral = {"cache_control": {"type": "ephemeral"}}
    with claude.beta.messages.stream(
        model=MODEL,
        max_tokens=32,
        system=[{"type": "text", "text": "You are Claude Code."}, {"type": "text", "text": "Help."} | ephemeral],
        messages=[{"role": "user", "content": [{"type": "text", "text": "<system-reminder>x</system-reminder>"}, {"type": "text", "text": "Hi"} | ephemeral]}],
        tools=[WEATHER | {"eager_input_streaming": True}, CLOCK | ephemeral],
        metadata={"user_id": "user_1"},
        thinking={"type": "enabled", "budget_tokens": 1024},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        betas=["claude-code-20250219", "interleaved-thinking-2025-05-14"],
    ) as stream:
        message = stream.get_final_message()

    assert message.stop_reason in ("end_turn", "max_tokens", "tool_use")
    assert message.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("fields", "error", "kind", "part"),
    [
        ({"model": "claude-nope", "extra_headers": {"x-llamero-strict": "1"}}, anthropic.NotFoundError, "not_found_error", "claude-nope"),
        ({"max_tokens": 0}, anthropic.BadRequestError, "invalid_request_error", "'max_tokens'"),
        (
            {"max_tokens": 20_000, "extra_headers": {"x-llamero-strict": "1"}},
            anthropic.BadRequestError,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: ",
        ),
        ({"messages": [{"role": "user", "content": "word " * 9000}]}, anthropic.BadRequestError, "invalid_request_error", "prompt is too long: "),
        ({"messages": []}, anthropic.BadRequestError, "invalid_request_error", "'messages'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image", "source": {"type": "url", "url": "https://x"}}]}]},
            anthropic.BadRequestError,
            "invalid_request_error",
            "'messages.0.content.1'",
        ),
        ({"tools": [{"type": "custom", "name": "a b", "input_schema": {}}]}, anthropic.BadRequestError, "invalid_request_error", "'tools.0.name'"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_is_a_typed_error_that_names_it(claude, fields, error, kind, part, stream):
    with pytest.raises(error) as caught:
        ask(claude, **fields, stream=stream)

    assert (caught.value.type, caught.value.body["type"]) == (kind, "error")
    assert part in caught.value.api_message
    assert caught.value.request_id == caught.value.body["request_id"]


def test_a_limit_above_the_context_and_a_model_of_anthropics_are_answered_and_said(claude):
    raw = claude.messages.with_raw_response.create(
        model="claude-haiku-4-5", max_tokens=32_000, stop_sequences=[" "], messages=[{"role": "user", "content": "Hi"}]
    )

    model, limit = raw.headers["x-llamero-warnings"].split("; ")
    assert model == f"model claude-haiku-4-5 is not served here, so {MODEL} answered"
    assert limit.startswith("max_tokens was reduced to ")
    assert raw.parse().model == MODEL


def test_names_of_128_characters_and_many_stop_sequences_are_taken(claude):
    name = "mcp__" + "n" * 123

    called = ask(claude, tools=[CLOCK | {"name": name}], tool_choice={"type": "tool", "name": name}, max_tokens=64)
    stopped = ask(claude, stop_sequences=["1", "2", "3", "4", "5", " capital"])

    assert [block.name for block in called.content] == [name]
    assert stopped.stop_sequence == " capital" or stopped.stop_reason in ("end_turn", "max_tokens")


def test_a_wrong_key_is_an_authentication_error_and_the_right_one_works(serve):
    locked = serve("--api-key", "sk-ant-test-12345")

    with pytest.raises(anthropic.AuthenticationError) as caught:
        ask(connect(locked, "sk-ant-wrong"))

    assert caught.value.type == "authentication_error"
    assert ask(connect(locked, "sk-ant-test-12345"), max_tokens=1).usage.output_tokens == 1
    bearer = anthropic.Anthropic(base_url=locked.url, api_key=None, auth_token="sk-ant-test-12345", max_retries=0)
    assert ask(bearer, max_tokens=1).usage.output_tokens == 1


def test_too_many_requests_are_a_rate_limit_error_and_the_sdk_waits_for_its_turn(serve):
    limited = serve("--rpm", "60")
    client = connect(limited)

    with pytest.raises(anthropic.RateLimitError) as caught:
        for _ in range(70):
            count(client)

    assert caught.value.type == "rate_limit_error"
    assert float(caught.value.response.headers["retry-after-ms"]) > 0
    assert count(connect(limited, max_retries=2)) > 0
