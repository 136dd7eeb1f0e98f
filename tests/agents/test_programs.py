"""Coding agents of the command line: two turns of a conversation in which the model calls a tool and reads its result.

The test requires that every request is accepted, every stream has its end, and the tool is offered, called and its result
sent back. In the second turn more than 80 % of the prompt is cached. The text is always the toy's.
"""

import json

import programs
import pytest
import toy

TEXT = "".join(toy.ANSWER)
# Requests that generate nothing, with the statuses that are allowed.
OTHERS = {"HEAD /": (200,), "GET /v1/responses": (426,)}


@pytest.fixture(params=programs.ALL, ids=lambda program: program.name.replace(" ", "-"))
def program(request):
    if reason := request.param.missing():
        pytest.skip(reason)
    return request.param


def usage_of(exchange):
    """The usage of an answer; of a stream the last one, wherever its API puts it."""
    if not exchange.is_stream():
        return json.loads(exchange.answer)["usage"]
    events = [event for event in exchange.events() if event != "[DONE]"]
    places = [place for event in events for place in (event, event.get("message") or {}, event.get("response") or {})]
    return [place["usage"] for place in places if place.get("usage")][-1]


def prompt_and_cached(exchange):
    """Tokens of a request's prompt, and how many of them were cached."""
    usage = usage_of(exchange)
    if "cache_read_input_tokens" in usage:
        cached = usage["cache_read_input_tokens"]
        return usage["input_tokens"] + cached, cached
    tokens = usage.get("prompt_tokens", usage.get("input_tokens"))
    details = usage.get("prompt_tokens_details") or usage["input_tokens_details"]
    return tokens, details["cached_tokens"]


def has_ended(exchange):
    """True if an answer is whole: a stream with the last event of its API."""
    if not exchange.is_stream():
        return json.loads(exchange.answer) is not None
    last = exchange.events()[-1]
    return last == "[DONE]" or last["type"] in ("message_stop", "response.completed")


def has_result(sent):
    """True if a request ends with a tool's result, perhaps with words after it."""
    parts = json.dumps((sent.get("messages") or sent.get("input"))[-2:])
    return any(kind in parts for kind in ('"role": "tool"', '"tool_result"', '"function_call_output"'))


def check(program, ended, exchanges):
    """Asserts the rules of every turn; returns the requests with tools, or all if the program has none."""
    for exchange in exchanges:
        wanted = OTHERS.get(exchange.route, (200,))
        assert exchange.status in wanted, f"{exchange!r}\n{exchange.body.decode(errors='replace')[:2000]}"
    assert ended.returncode == 0, ended.stdout + ended.stderr
    asked = [exchange for exchange in exchanges if exchange.route == program.route]
    assert asked and all(map(has_ended, asked)), asked
    turns = [exchange for exchange in asked if exchange.sent().get("tools")] if program.has_tools else asked
    assert TEXT in ended.stdout, ended.stdout + ended.stderr
    if program.has_tools:
        assert len(turns) == 2, f"a call, then an answer: {turns}"
        assert not has_result(turns[0].sent()) and has_result(turns[1].sent())
        assert "hello from" in json.dumps(turns[1].sent()), "the tool did its work"
    return turns


@pytest.mark.timeout(300)
def test_two_turns_with_a_tool(program, alone):
    alone.put(program.files(alone.home))

    first = check(program, *alone.run(program.first, program.environment))
    second = check(program, *alone.run(program.second, program.environment))

    assert alone.looked_up() <= program.looks_up
    assert len(second[0].body) > len(first[-1].body), "the second turn knows the first"
    if program.has_tools:
        tokens, cached = prompt_and_cached(second[0])
        assert cached > 0.8 * tokens, f"{cached} of {tokens} tokens cached"
