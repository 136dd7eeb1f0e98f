"""Streams under stress: many at once, cancelled, running while the engine is killed or the server told to stop."""

import asyncio
import os
import signal

import openai
import pytest
from conftest import connect
from support import MODEL, wait_until

RUNNING = "vllm:num_requests_running"


def stream(client, prompt="Once upon a time", max_tokens=200, **fields):
    """A greedy stream of exactly `max_tokens` tokens."""
    return client.completions.create(
        model=MODEL,
        prompt=prompt,
        max_tokens=max_tokens,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
        **fields,
    )


def read(chunks):
    """Text, finish reason and usage of what is left of a stream."""
    text, finish, usage = "", None, None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.text
            finish = choice.finish_reason or finish
    return text, finish, usage


def test_a_cancelled_stream_frees_its_sequence_at_once(server, client):
    chunks = stream(client, max_tokens=4000)
    for _ in range(3):
        next(chunks)
    assert server.metric(RUNNING) == 1

    chunks.close()

    # Its 4,000 tokens would take longer than this on any machine that tests run on.
    wait_until(lambda: server.metric(RUNNING) == 0, 10, "no sequence runs after the client left")


def test_eight_streams_run_at_once_and_each_ends_whole(server):
    async def run():
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="EMPTY", max_retries=0) as client:

            async def one(index):
                chunks = await stream(client, f"Chapter {index}. It was", 64)
                pieces = [chunk async for chunk in chunks]
                return read(pieces)

            return await asyncio.gather(*map(one, range(8)))

    for text, finish, usage in asyncio.run(run()):
        assert text
        assert finish == "length"
        assert usage.completion_tokens == 64
    assert server.metric(RUNNING) == 0


def test_a_stream_goes_on_when_the_engine_is_killed(serve):
    server = serve()
    client = connect(server)
    read(stream(client, max_tokens=1))
    undisturbed, _, _ = read(stream(client))
    engine = server.engine_pid()

    chunks = stream(client)
    before, _, _ = read(next(chunks) for _ in range(20))
    os.kill(engine, signal.SIGKILL)
    after, finish, usage = read(chunks)

    text = before + after
    assert finish == "length"
    assert usage.completion_tokens == 200, "no token is lost or sent twice"
    # Replaying computes the tokens in one batch, whose sums round differently: far behind the seam a near-tie may fall
    # the other way. At the seam itself the text must go on as if nothing had happened.
    same = len(os.path.commonprefix([text, undisturbed]))
    assert same > len(before) + 8, (undisturbed, text)
    assert server.alive()
    assert server.engine_pid() not in (None, engine)
    assert server.metric(RUNNING) == 0


def test_requests_are_served_again_after_the_engine_was_killed_while_idle(serve):
    server = serve()
    client = connect(server, max_retries=5)
    engine = server.engine_pid()

    os.kill(engine, signal.SIGKILL)

    _, finish, usage = read(stream(client, max_tokens=4))
    assert finish == "length"
    assert usage.completion_tokens == 4
    assert server.engine_pid() not in (None, engine)


def test_sigterm_lets_running_streams_finish(serve):
    server = serve("--drain-timeout", "60")
    chunks = stream(connect(server), max_tokens=300)
    next(chunks)

    server.process.send_signal(signal.SIGTERM)
    while server.ask("/readyz").status == 200:
        pass  # The signal is on its way.
    refused = server.ask("/v1/completions", {"model": MODEL, "prompt": "too late", "max_tokens": 1})
    _, finish, usage = read(chunks)

    assert (refused.status, "retry-after" in refused.headers) == (503, True), refused
    assert finish == "length"
    assert usage.completion_tokens == 300
    assert server.process.wait(30) == 0


def test_a_stream_past_the_drain_time_ends_with_an_error_and_not_in_silence(serve):
    server = serve("--drain-timeout", "0")
    chunks = stream(connect(server), max_tokens=4000)
    next(chunks)

    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(openai.APIError) as caught:
        read(chunks)

    assert caught.value.message
    assert server.process.wait(30) == 0
