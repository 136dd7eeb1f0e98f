"""A log that cannot be written costs lines, which are counted, and nothing else: whatever standard error is."""

import asyncio
import fcntl
import os
import signal

import pytest
from conftest import connect
from support import MODEL, Server, wait_until

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


OUTPUTS = {
    "a reader that stalls": lambda: full_pipe(blocking=True),
    "a pipe that does not block": lambda: full_pipe(blocking=False),
    "a reader that is gone": nobody_reads,
    "a full disk": lambda: (None, os.open("/dev/full", os.O_WRONLY)),
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


def complete(running, **more):
    with connect(running) as client:
        return client.completions.create(model=MODEL, prompt="Hello", max_tokens=4, extra_body={"ignore_eos": True}, **more)


def lose_lines(running):
    """Asks until lines are lost: at once where none can be written, else once no more may wait."""
    wait_until(lambda: complete(running) and running.metric(LOST) > 0, 120, "lines are lost and counted")


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_requests_streams_restarts_and_the_end_go_on_without_a_log(start, output):
    # As many lines as there can be.
    running = start(output(), "--log-level", "trace")
    lose_lines(running)

    assert complete(running).usage.completion_tokens == 4
    assert len(list(complete(running, stream=True))) >= 4
    engine = running.engine_pid()
    os.kill(engine, signal.SIGKILL)
    asyncio.run(running.ready_again(engine, 60))
    assert complete(running).usage.completion_tokens == 4
    # And it ends in order, which the fixture asserts.


def test_a_reader_that_goes_on_reads_whole_lines_and_how_many_were_lost(start):
    stderr = full_pipe(blocking=True)
    running = start(stderr, "--log-level", "trace")
    lose_lines(running)

    text = b""
    while b"log lines were lost" not in text:
        text += os.read(stderr[0], 1 << 16)

    lines = text.lstrip(b"x").split(b"\n")
    assert any(b"generation" in line for line in lines)
    os.set_blocking(stderr[0], False)
    # What is left: the pipe must have room for the end.
    while True:
        try:
            os.read(stderr[0], 1 << 16)
        except BlockingIOError:
            break
