"""A log that cannot be written costs lines, which are counted, and nothing else: whatever standard error is."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess

import pytest
from conftest import connect
from support import BINARY, MODEL, MODEL_FILE, Server, clean_environment

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


# Kinds of standard error, and true if every line is lost there: a reader that stalls may go on, so lines wait for it up to a bound.
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


def test_with_json_every_line_of_a_server_is_an_object(tmp_path):
    running = Server(tmp_path / "log", "--log-format", "json").wait_ready()
    try:
        complete(running)
        os.kill(running.engine_pid(), signal.SIGKILL)
    finally:
        running.stop()

    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert all({"timestamp", "level"} <= set(line) for line in lines)
    assert any("is ready" in line["message"] and "context" in line["message"] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--model", "/no/such.gguf"], 1, "there is no file /no/such.gguf"),
        (["--port", "x"], 64, "--port"),
        (["--gpu-memory-utilization", "0.9"], 64, "--max-model-len"),
    ],
)
def test_with_json_a_start_that_fails_is_an_object_too(arguments, status, words):
    command = [str(BINARY), "serve", "--log-format", "json", *arguments]
    ended = subprocess.run(command, capture_output=True, timeout=60, env=clean_environment(), check=False)

    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ended.returncode == status
    assert any(line["level"] == "ERROR" and words in line["message"] for line in lines), lines


@pytest.mark.parametrize(("line", "words"), [('port = "x"', "port"), ('api_key_file = "/no/such"', "/no/such"), ('model = "/no/such.gguf"', "/no/such.gguf")])
def test_a_format_that_only_the_file_names_holds_for_a_start_that_fails(tmp_path, line, words):
    (tmp_path / "llamero.toml").write_text(f'log_format = "json"\n{line}\n')
    command = [str(BINARY), "serve", "--config", str(tmp_path / "llamero.toml")]
    ended = subprocess.run(command, capture_output=True, timeout=60, env=clean_environment(), check=False)

    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert any(line["level"] == "ERROR" and words in line["message"] for line in lines), lines


def test_a_load_that_fails_is_told_once(tmp_path):
    text = b"general.architecture"
    header = b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little") + len(text).to_bytes(8, "little") + text
    (tmp_path / "m.gguf").write_bytes(header + (8).to_bytes(4, "little") + (4).to_bytes(8, "little") + b"nope" + bytes(64))
    command = [str(BINARY), "serve", "--port", "0", "--model", str(tmp_path / "m.gguf")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False)

    assert ended.returncode == 1
    assert ended.stderr.count("unknown model architecture: 'nope'") == 1, ended.stderr


def test_keys_may_come_from_a_pipe_of_a_shell():
    command = f"'{BINARY}' serve --check-config --model '{MODEL_FILE}' --api-key-file <(echo abc)"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, env=clean_environment(), check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("the configuration is fine\n") and "trained for 8192 tokens" in ended.stdout
