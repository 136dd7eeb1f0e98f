"""A server that is process 1, as in a container without an init."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support import Server, children, wait_until

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc"]


def can_unshare():
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def zombies_of(pid):
    """Pids of ended children that nobody has waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # It has ended meanwhile.
        if (state, parent) == ("Z", str(pid)):
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not can_unshare(), reason="no unshare, or no right to use it")
def test_processes_of_dead_engines_are_reaped_and_a_signal_stops_the_server(tmp_path):
    running = Server(tmp_path / "log", within=UNSHARE).wait_ready()
    (gateway,) = children(running.pid)
    try:
        schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}}
        body = {"model": running.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "response_format": schema}
        assert running.ask("/v1/chat/completions", body).status == 200
        for _ in range(2):
            (engine,) = children(gateway)
            trials = children(engine)
            os.kill(engine, signal.SIGKILL)
            wait_until(lambda: running.ready() and children(gateway) not in ([engine], []), 60, "a new engine serves")
            wait_until(lambda: not set(trials) & set(children(gateway)), 20, f"{trials} have ended")

        assert zombies_of(gateway) == []
        os.kill(gateway, signal.SIGTERM)
        assert running.process.wait(30) == 0, running.log_tail()
    finally:
        if running.alive():
            os.kill(gateway, signal.SIGKILL)
            running.process.wait()
