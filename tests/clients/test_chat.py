"""The answers that a user of `openai` gets from /v1/chat/completions: answers, streams, choices, logprobs, tools, parsed objects, refusals."""

import json
from typing import Literal

import openai
import pydantic
import pytest
from support import MODEL

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}


def chat(client, messages=QUESTION, **fields):
    return client.chat.completions.create(**{"model": MODEL, "messages": messages, "max_tokens": 32, "temperature": 0} | fields)


@pytest.fixture
def greedy(client):
    """The undisturbed greedy answer. Asked for twice, so that it and what is compared with it find the prompt cached."""
    chat(client)
    return chat(client)


def test_an_answer_knows_the_capital_of_france(client):
    completion = chat(client)

    assert completion.object == "chat.completion"
    assert completion.id.startswith("chatcmpl-")
    [choice] = completion.choices
    assert "Paris" in choice.message.content
    assert (choice.message.role, choice.message.refusal, choice.message.tool_calls) == ("assistant", None, None)
    assert choice.finish_reason in ("stop", "length")
    usage = completion.usage
    assert usage.prompt_tokens > 20, "the template adds to the words"
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens_details.reasoning_tokens == 0


def test_a_stream_joins_to_the_answer_that_is_sent_whole(client, greedy):
    *chunks, last = chat(client, stream=True, stream_options={"include_usage": True})

    first = chunks[0].choices[0].delta
    assert (first.role, first.content) == ("assistant", "")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == greedy.choices[0].message.content
    assert chunks[-1].choices[0].delta.model_dump(exclude_none=True) == {}
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + [greedy.choices[0].finish_reason]
    assert {(chunk.id, chunk.created, chunk.object) for chunk in chunks} == {(last.id, last.created, "chat.completion.chunk")}
    assert (last.choices, last.usage.completion_tokens) == ([], greedy.usage.completion_tokens)


def test_a_stream_says_how_far_its_prompt_is_if_asked(client):
    words = " ".join(f"word{number}" for number in range(400))

    chunks = list(chat(client, [{"role": "user", "content": words}], stream=True, max_tokens=2, extra_body={"return_progress": True}))

    told = [chunk.model_extra["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk.model_extra]
    assert all(set(progress) == {"total", "cache", "processed", "time_ms"} for progress in told)
    assert told[0]["processed"] == told[0]["cache"]
    assert told[-1]["processed"] == told[-1]["total"] > 800
    assert [progress["processed"] for progress in told] == sorted(progress["processed"] for progress in told)
    assert all(not chunk.choices[0].delta.content for chunk in chunks[: len(told) + 1])


def test_the_sdks_own_stream_helper_puts_the_same_message_together(client, greedy):
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, max_tokens=32, temperature=0) as stream:
        message = stream.get_final_completion().choices[0].message

    assert message.content == greedy.choices[0].message.content


def test_messages_of_parts_and_of_developers_are_read(client, greedy):
    parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]}]
    assert chat(client, parts).choices[0].message.content == greedy.choices[0].message.content

    told = chat(client, [{"role": "developer", "content": "You are a pirate."}, *QUESTION])
    assert told.usage.prompt_tokens != greedy.usage.prompt_tokens


def test_several_choices_have_their_indices_and_differ(client):
    completion = chat(client, n=3, temperature=1, seed=1, max_tokens=24)

    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in completion.choices}) > 1
    finished = [
        chunk.choices[0].index for chunk in chat(client, n=2, temperature=1, stream=True, max_tokens=8) if chunk.choices[0].finish_reason
    ]
    assert sorted(finished) == [0, 1]


def test_logprobs_are_a_list_of_tokens_with_their_bytes(client):
    choice = chat(client, logprobs=True, top_logprobs=3, max_tokens=8).choices[0]

    tokens = choice.logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == choice.message.content
    for token in tokens:
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token and token.top_logprobs[0].logprob == token.logprob <= 0

    streamed = [chunk.choices[0].logprobs for chunk in chat(client, logprobs=True, max_tokens=8, stream=True)]
    assert [token.token for logprobs in streamed if logprobs for token in logprobs.content] == [token.token for token in tokens]


def test_an_answer_can_be_begun_for_the_model(client):
    begun = [*QUESTION, {"role": "assistant", "content": "The capital of France is"}]
    completion = chat(client, begun, extra_body={"continue_final_message": True}, max_tokens=4)

    assert "Paris" in completion.choices[0].message.content


def test_words_that_spell_control_tokens_stay_words(client):
    plain = chat(client, [{"role": "user", "content": "x"}], max_tokens=1).usage.prompt_tokens
    spelled = chat(client, [{"role": "user", "content": "<|im_end|>"}], max_tokens=1).usage.prompt_tokens

    assert spelled > plain + 2, "one control token would count as one"


def test_without_a_limit_the_answer_ends_by_itself(client):
    completion = chat(client, [{"role": "user", "content": "Say hello."}], max_tokens=openai.NOT_GIVEN)

    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.completion_tokens > 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}, "messages[0].content[0]"),
        ({"top_logprobs": -1, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"max_completion_tokens": 0, "max_tokens": openai.NOT_GIVEN}, "max_completion_tokens"),
        (
            {"max_completion_tokens": 100_000, "max_tokens": openai.NOT_GIVEN, "extra_headers": {"x-llamero-strict": "1"}},
            "max_completion_tokens",
        ),
        ({"modalities": ["audio"]}, "modalities"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"extra_body": {"chat_template_kwargs": {"enable_thinkin": False}}, "extra_headers": {"x-llamero-strict": "1"}},
            "chat_template_kwargs.enable_thinkin",
        ),
    ],
)
def test_what_is_wrong_is_a_bad_request_that_names_the_field(client, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, **fields)

    assert caught.value.param == param


def test_a_prompt_that_does_not_fit_is_too_long_for_the_context(client):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, [{"role": "user", "content": "word " * 5000}])

    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


def test_ignored_fields_are_named_in_a_header(client):
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=QUESTION, max_tokens=1, reasoning_effort="low", extra_body={"no_stop_trim": False, "frobnicate": 1}
    )

    assert raw.headers["x-llamero-warnings"] == "ignored fields: frobnicate, reasoning_effort"


def test_the_schema_of_a_tool_is_obeyed_as_far_as_possible_and_a_strict_one_refused(client):
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12, "not": {"const": "Rome"}}},
        "required": ["city"],
        "additionalProperties": False,
    }
    tool = {"type": "function", "function": {"name": "find", "parameters": parameters}}
    fields = {"model": MODEL, "messages": QUESTION, "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 64}

    raw = client.chat.completions.with_raw_response.create(tools=[tool], **fields)
    [call] = raw.parse().choices[0].message.tool_calls
    strict = tool | {"function": tool["function"] | {"strict": True}}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(tools=[strict], **fields)

    assert list(json.loads(call.function.arguments)) == ["city"]
    generic = "tools are described in the system turn, in a generic format: the model's chat template shows none"
    schema = "tools: the keyword 'not' is not supported (find#/properties/city/not), and not enforced"
    assert raw.headers["x-llamero-warnings"] == f"{generic}; {schema}"
    assert "(find#/properties/city/not)" in refused.value.message


def test_a_forced_call_that_is_cut_off_anywhere_has_no_content(client):
    fields = {"tools": [WEATHER, CLOCK], "tool_choice": "required", "temperature": 0}
    for limit in range(1, 33):
        completion = chat(client, max_tokens=limit, **fields)
        message = completion.choices[0].message

        assert not message.content, (limit, message)
        if limit % 4 == 0:
            streamed = chat(client, max_tokens=limit, stream=True, **fields)
            assert not any(choice.delta.content for chunk in streamed for choice in chunk.choices), limit


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}], ids=["required", "named"])
def test_a_call_that_must_be_made_is_made_and_obeys_its_schema(client, choice, stream):
    fields = {"tools": [WEATHER, CLOCK], "tool_choice": choice, "parallel_tool_calls": False, "max_tokens": 128, "temperature": 1, "seed": 3}
    if stream:
        with client.chat.completions.stream(model=MODEL, messages=QUESTION, **fields) as events:
            [answer] = events.get_final_completion().choices
    else:
        [answer] = chat(client, **fields).choices

    [call] = answer.message.tool_calls
    assert (answer.finish_reason, answer.message.content or None) == ("tool_calls", None)
    assert call.id.startswith("call_") and call.type == "function"
    arguments = json.loads(call.function.arguments)
    if call.function.name == "get_weather":
        assert set(arguments) == {"city", "unit"} and arguments["unit"] in ("C", "F")
    else:
        assert (call.function.name, arguments) == ("get_time", {}) and choice == "required"


def test_results_of_calls_go_back_in(client):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "12:00"},
    ]

    assert chat(client, messages, tools=[CLOCK], tool_choice="none").choices[0].message.content


class Verdict(pydantic.BaseModel):
    sentiment: Literal["good", "bad"]
    score: int


def test_an_answer_is_parsed_into_a_model_of_pydantic(client):
    completion = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "I love it!"}], response_format=Verdict, max_tokens=128, temperature=1, seed=5
    )

    assert isinstance(completion.choices[0].message.parsed, Verdict)


def test_a_json_object_is_json(client):
    completion = chat(client, response_format={"type": "json_object"}, max_tokens=200, temperature=1, seed=2)

    if completion.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(completion.choices[0].message.content), dict)


def test_beside_a_format_the_model_either_calls_or_answers_in_the_format(client):
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"], "additionalProperties": False}
    text = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answers = [chat(client, tools=[WEATHER, CLOCK], response_format=text, temperature=1.5, seed=seed, max_tokens=64) for seed in range(12)]

    for answer in answers:
        [choice] = answer.choices
        if calls := choice.message.tool_calls:
            assert {call.function.name for call in calls} <= {"get_weather", "get_time"}
            assert choice.finish_reason == "length" or not choice.message.content, "only a call that was cut off leaves a rest"
        elif choice.finish_reason == "stop":
            assert json.loads(choice.message.content)["city"] in ("Paris", "Rome")
    assert any(choice.finish_reason != "length" for answer in answers for choice in answer.choices)
