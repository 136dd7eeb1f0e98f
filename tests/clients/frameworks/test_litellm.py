"""LiteLLM: chat and text completions by the `openai/` prefixes, streams, tools, and the exceptions that errors become."""

import json

import litellm
import pytest
from support import MODEL

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}


@pytest.fixture
def ask(server):
    def completion(messages=QUESTION, **fields):
        defaults = {"model": f"openai/{MODEL}", "api_base": server.base_url, "api_key": "EMPTY", "max_tokens": 32, "temperature": 0}
        return litellm.completion(messages=messages, **defaults | {"num_retries": 0, "max_retries": 0} | fields)

    return completion


def test_a_question_is_answered(ask):
    answer = ask()

    assert "Paris" in answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_builds_the_same_answer(ask):
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))

    built = litellm.stream_chunk_builder(chunks, messages=QUESTION)
    assert "Paris" in built.choices[0].message.content
    assert built.usage.completion_tokens > 3


def test_a_tool_is_called(ask):
    answer = ask(tools=[CLOCK], tool_choice="required", parallel_tool_calls=False, max_tokens=128)

    calls = answer.choices[0].message.tool_calls
    assert calls and all((call.function.name, json.loads(call.function.arguments)) == ("get_time", {}) for call in calls)


def test_a_schema_is_obeyed(ask):
    schema = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"], "additionalProperties": False}
    answer = ask(response_format={"type": "json_schema", "json_schema": {"name": "sureness", "schema": schema, "strict": True}})

    assert set(json.loads(answer.choices[0].message.content)) == {"sure"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_text_completions_go_on_with_the_text(server, stream):
    answer = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}",
        prompt="The capital of France is",
        api_base=server.base_url,
        api_key="EMPTY",
        max_tokens=16,
        temperature=0,
        stream=stream,
    )

    text = "".join(chunk.choices[0].text or "" for chunk in answer) if stream else answer.choices[0].text
    assert "Paris" in text


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"temperature": 9}, litellm.BadRequestError),
        ({"model": "openai/gpt-9", "extra_headers": {"x-llamero-strict": "1"}}, litellm.NotFoundError),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, litellm.ContextWindowExceededError),
    ],
    ids=["a wrong field", "an unknown model", "too long a prompt"],
)
def test_errors_become_the_exceptions_that_callers_fall_back_on(ask, fields, kind):
    with pytest.raises(kind):
        ask(**fields)


def test_a_wrong_key_is_an_authentication_error(ask, serve):
    locked = serve("--api-key", "sk-right-0123456789")

    with pytest.raises(litellm.AuthenticationError):
        ask(api_base=locked.base_url)
