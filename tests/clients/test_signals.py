"""What signals do to a server, its streams and its engine."""

import itertools
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import openai
import pytest
from conftest import connect
from support import MODEL, MODEL_FILE, Server, is_alive, killed_at_end, wait_until


def stream(client, max_tokens):
    """A stream that has begun."""
    chunks = client.completions.create(
        model=MODEL, prompt="Once upon a time", max_tokens=max_tokens, stream=True, temperature=0, extra_body={"ignore_eos": True}
    )
    next(chunks)
    return chunks


def finish(chunks):
    """The finish reason at the end of a stream; an error event is raised."""
    last = None
    for chunk in chunks:
        last = chunk
    return last.choices[0].finish_reason if last else None


@pytest.fixture
def launch(tmp_path):
    """Starts servers that the test ends itself."""
    count = itertools.count()
    with ExitStack() as started:

        def launch(*arguments, **options):
            running = Server(tmp_path / f"log{next(count)}", *arguments, **options)
            return started.enter_context(killed_at_end(running))

        yield launch


def log_of(running):
    return running.log.read_text(errors="replace")


def test_sighup_reads_the_key_file_again_and_ends_nothing(launch, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    running = launch("--api-key-file", keys).wait_ready()

    def status(key):
        return running.ask("/v1/models", headers={"authorization": f"Bearer {key}"}).status

    chunks = stream(connect(running, api_key="old"), 100)
    engine = running.engine_pid()

    keys.write_text("new\n")
    for pid in (running.pid, engine):
        os.kill(pid, signal.SIGHUP)
    wait_until(lambda: status("new") == 200, 20, "the new key is accepted")
    assert status("old") == 401

    keys.write_text("not a key\n")
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: "the keys stay as they are" in log_of(running), 20, "the broken file is complained of")
    complaints = [line for line in log_of(running).splitlines() if "the keys stay as they are" in line]
    assert len(complaints) == 1 and "line 1 of" in complaints[0] and "not a key" not in complaints[0]
    assert (status("new"), status("old")) == (200, 401)

    assert finish(chunks) == "length", "a stream of a key that is refused meanwhile"
    assert running.engine_pid() == engine
    running.stop()


def test_sighup_without_a_key_file_changes_nothing(launch):
    running = launch().wait_ready()
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: "nothing changes" in log_of(running), 20, "that is said")
    running.stop()


def test_sighup_changes_what_a_running_server_can_change_and_names_the_rest(launch, tmp_path):
    config = tmp_path / "llamero.toml"
    config.write_text('rpm = 1000\nmax_waiting = 9\n')
    running = launch("--config", config).wait_ready()
    engine = running.engine_pid()
    chunks = stream(connect(running), 100)

    def reload(text, expected):
        config.write_text(text)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: expected in log_of(running), 20, expected)

    def limit():
        answer = running.ask("/v1/completions", {"model": MODEL, "prompt": "Hello", "max_tokens": 1})
        return answer.status, answer.headers.get("x-ratelimit-limit-requests")

    assert limit() == (200, "1000")
    reload('rpm = 500\nmax_waiting = 9\nlog_level = "debug"\n', "SIGHUP: the configuration was read again; changed: rpm, log_level")
    assert limit() == (200, "500")
    running.ask("/v1/models")
    wait_until(lambda: " DEBUG " in log_of(running), 20, "a line of the new level")

    reload("rpm = 0\nmax_waiting = 9\n", "the configuration stays as it is")
    complaints = [line for line in log_of(running).splitlines() if "stays as it is" in line]
    assert len(complaints) == 1 and "rpm" in complaints[0]
    assert limit() == (200, "500")

    reload('rpm = 500\nmax_waiting = 8\nlog_level = "debug"\n', "a restart is needed before these changes have an effect: max_waiting")
    assert finish(chunks) == "length", "a stream through all reloads"
    assert running.engine_pid() == engine
    running.stop()


def test_sigusr1_opens_the_log_file_again_and_no_line_is_lost(launch, tmp_path):
    log = tmp_path / "server.log"
    running = launch("--log-file", log, "--log-format", "json").wait_ready()

    def complete(name):
        running.ask("/v1/completions", {"model": MODEL, "prompt": "Hello", "max_tokens": 1}, {"x-request-id": name})

    complete("before")
    wait_until(lambda: '"id":"before"' in log.read_text(), 20, "a line in the file")
    rotated = tmp_path / "server.log.1"
    log.rename(rotated)
    complete("between")
    wait_until(lambda: '"id":"between"' in rotated.read_text(), 20, "a line in the renamed file")
    running.process.send_signal(signal.SIGUSR1)
    wait_until(log.exists, 20, "the file is there again")
    complete("after")
    wait_until(lambda: '"id":"after"' in log.read_text(), 20, "a line in the new file")

    assert '"id":"after"' not in rotated.read_text()
    assert log_of(running).strip().count("\n") == 0, "standard error has the name of the file alone"
    running.stop()


def test_sigusr1_without_a_log_file_is_said_and_ends_nothing(launch):
    running = launch().wait_ready()
    running.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "there is no --log-file" in log_of(running), 20, "that is said")
    running.stop()


def catches(pid, number):
    """Whether a process has a handler for a signal (proc_pid_status(5), SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(caught >> (number - 1) & 1)


def test_a_configuration_that_cannot_be_read_to_its_end_keeps_nobody_from_stopping_the_server(launch, tmp_path):
    pipe = tmp_path / "config.toml"
    os.mkfifo(pipe)
    running = launch("--config", pipe)
    wait_until(lambda: catches(running.pid, signal.SIGTERM), 20, "it has handlers")

    os.kill(running.pid, signal.SIGTERM)

    assert running.process.wait(20) == 1
    assert "stopped while the configuration was read" in log_of(running)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_both_processes_drains(launch, number):
    running = launch().wait_ready()
    engine = running.engine_pid()
    chunks = stream(connect(running), 60)

    for pid in (engine, running.pid):
        os.kill(pid, number)

    assert finish(chunks) == "length"
    assert running.process.wait(30) == 0
    assert not is_alive(engine)


def test_two_signals_at_once_are_one(launch):
    running = launch().wait_ready()
    chunks = stream(connect(running), 60)

    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        os.kill(running.pid, number)

    assert finish(chunks) == "length"
    assert running.process.wait(30) == 0


def test_a_second_signal_a_second_later_ends_streams_with_an_error_event(launch):
    running = launch("--drain-timeout", "600").wait_ready()
    chunks = stream(connect(running), 4000)
    begun = time.monotonic()

    def hurried():
        # Those of the first second count as one.
        os.kill(running.pid, signal.SIGTERM)
        return "running requests are ended now" in log_of(running)

    os.kill(running.pid, signal.SIGTERM)
    wait_until(hurried, 20, "a second wish counts")
    assert time.monotonic() - begun >= 1
    with pytest.raises(openai.APIError) as caught:
        finish(chunks)

    assert caught.value.message
    assert running.process.wait(30) == 1


def test_during_the_shutdown_delay_requests_are_served_and_probes_say_not_ready(launch):
    running = launch("--shutdown-delay", "600", "--drain-timeout", "600").wait_ready()
    os.kill(running.pid, signal.SIGTERM)

    wait_until(lambda: running.ask("/readyz").status == 503, 20, "not ready")
    body = running.ask("/readyz").json()
    assert body["status"] == "leaving" and body["model_loaded"]
    assert running.ask("/livez").status == 200
    with connect(running) as client:
        answer = client.completions.create(model=MODEL, prompt="Hello", max_tokens=2, extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 2

    # Another wish cuts the delay short.
    wait_until(lambda: running.alive() and os.kill(running.pid, signal.SIGTERM) or not running.alive(), 60, "it ends")
    assert running.process.wait(30) == 1


def test_the_shutdown_delay_ends_by_itself(launch):
    running = launch("--shutdown-delay", "100ms").wait_ready()
    os.kill(running.pid, signal.SIGTERM)

    assert running.process.wait(30) == 0


@pytest.fixture
def large_model(tmp_path):
    """The model, followed by nothing for so long that its checksum takes minutes."""
    path = tmp_path / "large.gguf"
    path.write_bytes(MODEL_FILE.read_bytes())
    os.truncate(path, 1 << 40)
    return path


def test_probes_are_answered_and_a_signal_stops_while_the_model_is_checked(launch, large_model, tmp_path):
    running = launch("--prefix-cache-dir", tmp_path / "prefixes", model=large_model)

    def answers():
        try:
            return running.ask("/livez").status == 200
        except OSError:
            return False

    wait_until(answers, 20, "it listens")
    ready = running.ask("/readyz")
    assert (ready.status, ready.json()["status"]) == (503, "preparing")
    refused = running.ask("/v1/completions", {"model": MODEL, "prompt": "too early", "max_tokens": 1})
    assert (refused.status, "retry-after" in refused.headers) == (503, True)
    os.kill(running.pid, signal.SIGHUP)

    os.kill(running.pid, signal.SIGTERM)

    assert running.process.wait(20) == 0
