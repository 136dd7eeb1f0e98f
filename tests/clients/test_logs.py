"""A log that cannot be written costs lines, which are counted, and nothing else: whatever standard error is."""

import asyncio
import fcntl
import os
import signal
import subprocess

import pytest
from conftest import connect
from support import BINARY, MODEL, Server, clean_environment

LOST = "llamero:log_lines_lost_total"
PAGE = 4096


def full_pipe(blocking):
    """Both ends of a pipe without room for another byte."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PAGE)
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * PAGE)
    os.set_blocking(writer, blocking)
    return reader, writer


def nobody_reads():
    reader, writer = os.pipe()
    os.close(reader)
    return None, writer


# What standard error is, and whether every line is lost: a reader that stalls may go on, so lines wait for it up to a bound.
OUTPUTS = {
    "a reader that stalls": (lambda: full_pipe(blocking=True), False),
    "a pipe that does not block": (lambda: full_pipe(blocking=False), False),
    "a reader that is gone": (nobody_reads, True),
    "a full disk": (lambda: (None, os.open("/dev/full", os.O_WRONLY)), True),
}


@pytest.fixture
def start(tmp_path):
    """Starts a server with this for standard error, and stops it at the end."""
    started, opened = [], []

    def start(stderr, *arguments):
        opened.extend(end for end in stderr if end is not None)
        running = Server(tmp_path / "log", *arguments, stderr=stderr[1])
        started.append(running)
        return running.wait_ready()

    yield start
    for running in started:
        running.stop()
    for descriptor in opened:
        os.close(descriptor)


def complete(running, stream=False):
    """The answer, or the chunks of a stream."""
    with connect(running) as client:
        answer = client.completions.create(model=MODEL, prompt="Hello", max_tokens=4, stream=stream, extra_body={"ignore_eos": True})
        return list(answer) if stream else answer


@pytest.mark.parametrize(("output", "is_lost"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_requests_streams_restarts_and_the_end_go_on_without_a_log(start, output, is_lost):
    running = start(output(), "--log-level", "debug")

    assert complete(running).usage.completion_tokens == 4
    assert complete(running, stream=True)[-1].choices[0].finish_reason == "length"
    engine = running.engine_pid()
    os.kill(engine, signal.SIGKILL)
    asyncio.run(running.ready_again(engine, 120))
    assert complete(running).usage.completion_tokens == 4
    assert (running.metric(LOST) > 0) == is_lost
    # And it ends in order, which the fixture asserts.


def test_a_reader_that_goes_on_reads_the_lines_that_waited(start):
    stderr = full_pipe(blocking=True)
    running = start(stderr)
    complete(running)

    text = b""
    while b"generation" not in text:
        text += os.read(stderr[0], 1 << 16)

    lines = text.lstrip(b"x").decode().splitlines()
    assert any("loading the model" in line for line in lines), lines
    assert running.metric(LOST) == 0


def test_a_result_that_nobody_reads_any_more_is_no_failure():
    for arguments, status in [(["models"], 0), (["--help"], 0), (["serve", "--print-config"], 0), (["serve", "--no-such-flag"], 64)]:
        reader, writer = os.pipe()
        os.close(reader)
        ended = subprocess.run([str(BINARY), *arguments], stdout=writer, stderr=writer, timeout=60, env=clean_environment(), check=False)
        os.close(writer)
        assert ended.returncode == status, arguments
