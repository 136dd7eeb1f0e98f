"""The answers that a user of `openai` gets from /v1/responses: answers, events, calls and their outputs, parsed objects, refusals."""

import json
import re
from typing import Literal

import openai
import pydantic
import pytest
from openai.types.responses import Response
from support import MODEL

QUESTION = "What is the capital of France? Answer in one sentence."
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}


def respond(client, **fields):
    return client.responses.create(**{"model": MODEL, "input": QUESTION, "max_output_tokens": 32, "temperature": 0} | fields)


@pytest.fixture
def greedy(client):
    """The undisturbed greedy answer. Asked for twice, so that it and what is compared with it find the prompt cached."""
    respond(client)
    return respond(client)


def test_an_answer_knows_the_capital_of_france(client):
    response = respond(client, instructions="You know geography.", metadata={"a": "b"})

    assert "Paris" in response.output_text
    assert response.id.startswith("resp_") and response.object == "response"
    assert response.status in ("completed", "incomplete") and response.error is None
    [message] = response.output
    assert (message.type, message.role, message.id[:4]) == ("message", "assistant", "msg_")
    assert (response.instructions, response.metadata, response.tools) == ("You know geography.", {"a": "b"}, [])
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.output_tokens_details.reasoning_tokens == 0


def test_an_answer_is_of_the_type_that_the_package_declares(client):
    raw = client.responses.with_raw_response.create(model=MODEL, input=QUESTION, max_output_tokens=4)

    body = json.loads(raw.text)
    assert Response.model_validate(body, strict=True).id == body["id"]
    missing = [name for name, field in Response.model_fields.items() if field.is_required() and name not in body]
    assert (missing, body["store"], body["usage"]["input_tokens_details"].keys() >= {"cached_tokens"}) == ([], False, True)


def test_events_are_numbered_and_come_in_order(client, greedy):
    events = list(respond(client, stream=True))

    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    opening = ["created", "in_progress", "output_item.added", "content_part.added"]
    end = "completed" if greedy.status == "completed" else "incomplete"
    assert kinds[:4] == opening and kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", end]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert "".join(event.delta for event in events[4:-4]) == greedy.output_text == events[-1].response.output_text
    assert len({event.item_id for event in events[3:-2]}) == 1
    assert events[-1].response.usage.output_tokens == greedy.usage.output_tokens


def test_the_sdks_own_stream_helper_puts_the_same_response_together(client):
    fields = {"model": MODEL, "input": "Say hello.", "temperature": 0}
    client.responses.create(**fields)
    whole = client.responses.create(**fields)

    with client.responses.stream(**fields) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                text = event.snapshot
        final = stream.get_final_response()

    assert whole.status == final.status == "completed" and whole.completed_at >= whole.created_at
    assert whole.output_text == final.output_text == text


def test_what_is_cut_off_is_incomplete(client):
    response = respond(client, max_output_tokens=2)
    *_, last = respond(client, max_output_tokens=2, stream=True)

    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete" and response.usage.output_tokens == 2
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")


def test_log_probabilities_are_of_the_text(client):
    fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "max_output_tokens": 8}
    [part] = respond(client, **fields).output[0].content

    assert b"".join(bytes(token.bytes) for token in part.logprobs).decode() == part.text
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in part.logprobs)
    deltas = [event for event in respond(client, stream=True, **fields) if event.type == "response.output_text.delta"]
    assert [token.token for delta in deltas for token in delta.logprobs] == [token.token for token in part.logprobs]


def test_a_forced_call_that_is_cut_off_has_no_text(client):
    for limit in [16, 19, 22, 25, 28, 31]:
        fields = {"tools": [WEATHER], "tool_choice": "required", "max_output_tokens": limit}
        response = respond(client, **fields)

        assert response.output_text == "", (limit, response.output)
        assert not any(event.type == "response.output_text.delta" for event in respond(client, stream=True, **fields)), limit


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}], ids=["required", "named"])
def test_a_call_is_made_and_its_output_goes_back_in(client, choice, stream):
    fields = {"model": MODEL, "tools": [WEATHER], "tool_choice": choice, "parallel_tool_calls": False, "temperature": 1}
    fields |= {"max_output_tokens": 128, "extra_body": {"seed": 3}}
    items = [{"role": "user", "content": "How warm is it in Rome?"}]
    if stream:
        with client.responses.stream(input=items, **fields) as events:
            kinds = [event.type for event in events]
            response = events.get_final_response()
        assert "response.function_call_arguments.delta" in kinds and "response.output_text.delta" not in kinds
    else:
        response = client.responses.create(input=items, **fields)

    [call] = response.output
    assert (call.type, call.name, call.status) == ("function_call", "get_weather", "completed")
    assert call.id.startswith("fc_") and call.call_id.startswith("call_")
    arguments = json.loads(call.arguments)
    assert set(arguments) == {"city", "unit"} and arguments["unit"] in ("C", "F")
    items += response.output
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"})
    raw = client.responses.with_raw_response.create(model=MODEL, input=items, tools=[WEATHER], tool_choice="none", max_output_tokens=16)
    assert raw.parse().output_text
    # This model's template knows of no calls, and its user hears of it.
    assert raw.headers["x-llamero-warnings"] == "calls and their results are written as text: the model's chat template shows none"


def test_a_conversation_goes_on_with_the_items_of_the_answer(client, greedy):
    items = [{"role": "user", "content": QUESTION}, *greedy.output, {"role": "user", "content": "And of Italy?"}]

    response = respond(client, input=items)

    assert response.output_text and response.usage.input_tokens > greedy.usage.total_tokens


class Verdict(pydantic.BaseModel):
    sentiment: Literal["good", "bad"]
    score: int


def test_an_answer_is_parsed_into_a_model_of_pydantic(client):
    fields = {"model": MODEL, "input": "I love it!", "text_format": Verdict, "max_output_tokens": 128, "temperature": 1}
    response = client.responses.parse(**fields, extra_body={"seed": 5})

    assert isinstance(response.output_parsed, Verdict)
    assert response.text.format.name == "Verdict"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"truncation": "always"}, "truncation"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 100_000, "extra_headers": {"x-llamero-strict": "1"}}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}, "extra_headers": {"x-llamero-strict": "1"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {"$ref": "#/nowhere"}}}}, "text.format"),
    ],
)
def test_what_is_wrong_is_a_bad_request_that_names_the_field(client, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        respond(client, **fields)

    assert caught.value.param == param


def test_an_input_that_does_not_fit_is_too_long_for_the_context(client):
    with pytest.raises(openai.BadRequestError) as caught:
        respond(client, input="word " * 5000)

    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")


def test_responses_cannot_be_fetched_because_they_are_not_stored(client, greedy):
    for ask in (client.responses.retrieve, client.responses.delete, client.responses.cancel, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError, match="does not store responses"):
            list(ask(greedy.id) or [])


def test_tools_that_nothing_here_can_run_are_left_out_and_named(client):
    raw = client.responses.with_raw_response.create(
        model=MODEL, input=QUESTION, max_output_tokens=1, tools=[{"type": "web_search"}, {"type": "mcp", "server_label": "x", "server_url": "https://x"}]
    )

    told = [f"tools of type '{kind}' were left out: nothing here can run them" for kind in ("web_search", "mcp")]
    assert raw.headers["x-llamero-warnings"] == "; ".join(told)


@pytest.mark.parametrize("stream", [False, True])
def test_a_custom_tool_is_called_with_a_text_that_obeys_its_grammar(client, stream):
    grammar = {"type": "grammar", "syntax": "lark", "definition": 'start: "add " NUMBER " " NUMBER\nNUMBER: /[0-9]{1,3}/'}
    tool = {"type": "custom", "name": "calculate", "description": "Adds.", "format": grammar}
    namespace = {"type": "namespace", "name": "maths", "description": "Numbers.", "tools": [tool]}
    fields = {"tools": [namespace], "tool_choice": {"type": "custom", "name": "calculate"}, "max_output_tokens": 64}

    if stream:
        events = list(respond(client, stream=True, **fields))
        answer = events[-1].response
        deltas = [event.delta for event in events if event.type == "response.custom_tool_call_input.delta"]
        done = [event.input for event in events if event.type == "response.custom_tool_call_input.done"]
        assert ["".join(deltas)] == done == [answer.output[0].input]
    else:
        answer = respond(client, **fields)

    [call] = answer.output
    assert (call.type, call.name, call.namespace) == ("custom_tool_call", "calculate", "maths")
    assert re.fullmatch(r"add [0-9]{1,3} [0-9]{1,3}", call.input)
    output = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "3"}
    again = respond(client, input=[{"role": "user", "content": "1 + 2?"}, call.model_dump(), output], tools=[namespace], max_output_tokens=1)
    assert again.usage.input_tokens > 0


def test_what_is_not_done_is_named_in_a_header(client):
    raw = client.responses.with_raw_response.create(
        model=MODEL, input=QUESTION, max_output_tokens=1, store=True, reasoning={"effort": "low"}, extra_body={"messages": []}
    )

    assert raw.headers["x-llamero-warnings"] == "ignored fields: reasoning.effort, store, messages"
