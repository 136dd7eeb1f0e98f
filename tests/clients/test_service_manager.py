"""What a service manager hears (sd_notify) and hands over (a socket), at a socket such as systemd's."""

import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from support import Server, clean_environment, free_port, killed_at_end, wait_until


class Manager:
    """Receives messages at a socket: a list of (time, line)."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.lines = []
        threading.Thread(target=self.receive, daemon=True).start()

    def receive(self):
        while message := self.socket.recv(65536):
            self.lines += [(time.monotonic(), line) for line in message.decode().splitlines()]

    def heard(self, line, after=0):
        """True if the line was said after this number of lines."""
        return any(said == line for _, said in self.lines[after:])

    def times(self, line):
        return [when for when, said in self.lines if said == line]


@contextmanager
def serving(tmp_path, *arguments, **variables):
    manager = Manager(tmp_path)
    environment = clean_environment(NOTIFY_SOCKET=str(manager.path), **variables)
    with killed_at_end(Server(tmp_path / "log", *arguments, environment=environment)) as server:
        wait_until(lambda: server.alive() and manager.heard("READY=1"), 120, "READY=1")
        yield server, manager


def test_start_reload_and_stop_are_told_in_order(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("sk-one\n")
    with serving(tmp_path, "--api-key-file", keys) as (server, manager):
        assert server.ask("/readyz").status == 200
        before_reload = len(manager.lines)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: manager.heard("READY=1", before_reload), 10, "READY=1 after the reload")
        before_stop = len(manager.lines)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0, server.log_tail()

    lines = [line for _, line in manager.lines]
    start, reload, stop = lines[:before_reload], lines[before_reload:before_stop], lines[before_stop:]
    ready = start.index("READY=1")
    assert any(line.startswith("STATUS=the model") for line in start[:ready]), start
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in start[:ready]), start
    assert start[ready + 1] == "STATUS=serving: 0 sequences run, 0 wait"
    said = [line.partition("=")[0] for line in reload if not line.startswith("STATUS=")]
    assert said == ["RELOADING", "MONOTONIC_USEC", "READY"], reload
    assert stop[0] == "STOPPING=1" and "READY=1" not in stop, stop
    assert "WATCHDOG=1" not in lines, "there is no watchdog to feed"


def test_the_watchdog_is_fed_until_the_engine_is_blocked_and_again_when_another_serves(tmp_path):
    # Eight seconds: a look every two, and none fed after four without progress. The server itself acts after ten.
    with serving(tmp_path, WATCHDOG_USEC="8000000") as (server, manager):
        wait_until(lambda: len(manager.times("WATCHDOG=1")) >= 3, 20, "the watchdog is fed")
        engine = server.engine_pid()
        blocked = time.monotonic()
        os.kill(engine, signal.SIGSTOP)
        wait_until(lambda: server.engine_pid() not in (None, engine) and server.ready(), 120, "another engine serves")
        again = time.monotonic()
        wait_until(lambda: manager.times("WATCHDOG=1")[-1] > again, 20, "the watchdog is fed again")

        fed = [blocked, *(when for when in manager.times("WATCHDOG=1") if when > blocked)]
        longest = max(later - earlier for earlier, later in zip(fed, fed[1:]))
        assert longest > 4, fed
        assert any("is being started again" in line for _, line in manager.lines)


# Opens the socket as systemd does, then becomes the server.
ACTIVATE = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_socket_of_the_service_manager_is_served_instead_of_host_and_port(tmp_path):
    port = free_port()
    server = Server(tmp_path / "log", within=[sys.executable, "-c", ACTIVATE, str(port)])
    named, server.port = server.port, port
    server.url = f"http://127.0.0.1:{port}"
    try:
        server.wait_ready()
        with socket.socket() as other:
            assert other.connect_ex(("127.0.0.1", named)) != 0, "nobody listens on --port"
        engine = server.engine_pid()
        held = [os.readlink(fd) for fd in Path(f"/proc/{engine}/fd").iterdir() if os.path.lexists(fd)]
        listening = os.readlink(f"/proc/{server.pid}/fd/3")
        assert listening.startswith("socket:") and listening not in held, "the engine must not keep the port"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0, server.log_tail()
    finally:
        if server.alive():
            server.process.kill()
        server.process.wait()
