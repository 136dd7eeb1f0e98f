"""Somebody puts another file where the served model was, and the engine dies: no text goes on in another model."""

import asyncio
import os
import shutil
import signal

import greedy
import openai
import pytest
from support import MODEL_FILE, Server, wait_until

MAX_TOKENS = 60


@pytest.fixture
def own_model(tmp_path):
    """A copy of the model that a test may replace."""
    return shutil.copy(MODEL_FILE, tmp_path / "model.gguf")


async def killed_in_the_middle(server, change):
    """Two greedy streams of one prompt, undisturbed, and with the engine killed after `change` in the middle of it; and that engine."""
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=60) as client:
        reference = await greedy.follow(client, server.model, greedy.PROMPTS[0], MAX_TOKENS)
        engine = server.engine_pid()
        stream = asyncio.create_task(greedy.follow(client, server.model, greedy.PROMPTS[0], MAX_TOKENS))
        await asyncio.to_thread(wait_until, lambda: server.metric("vllm:num_requests_running") == 1, 30, "the stream runs")
        change()
        os.kill(engine, signal.SIGKILL)
        assert not stream.done(), "the stream ended before the engine was killed"
        return reference, await stream, engine


def test_a_stream_goes_on_in_the_model_that_was_opened_whatever_takes_its_name(serve, own_model, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF, but not the model")
    server = serve(model=own_model)

    reference, stream, killed = asyncio.run(killed_in_the_middle(server, lambda: os.replace(other, own_model)))

    assert server.engine_pid() not in (None, killed)
    assert stream.error is None and stream.finish_reason == "length"
    assert (found := greedy.difference(reference, stream)) is None, found


def test_a_stream_ends_with_an_error_when_the_model_was_changed_in_place_and_so_does_the_server(own_model, tmp_path):
    def overwrite():
        with open(own_model, "r+b") as file:
            file.seek(-64, os.SEEK_END)
            file.write(bytes(64))

    server = Server(tmp_path / "log", model=own_model).wait_ready()
    try:
        reference, stream, _ = asyncio.run(killed_in_the_middle(server, overwrite))

        assert "The model file was changed" in str(stream.error), stream
        assert reference.text.startswith(stream.text)
        assert server.process.wait(30) == 1 and "the model file was changed" in server.log_tail(), server.log_tail()
    finally:
        server.process.kill()
        server.process.wait()
