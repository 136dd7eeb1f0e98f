"""A server as a process: started, awaited, weighed, stopped."""

import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import wire

READY = {"llamero": "/readyz", "llama-server": "/health"}
START_SECONDS = 120
STOP_SECONDS = 30
UNTIL_SECONDS = 60


class Server:
    """One server on a free port. Use as a context; `ready=False` does not wait for it."""

    def __init__(self, name, command, ready=True):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name = name
        self.log = Path(tempfile.gettempdir()) / f"bench-{name.replace(' ', '')}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([*command, "--port", str(self.port)], stdout=log, stderr=log)
        if ready:
            self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def is_ours(self):
        return self.name == "llamero"

    def wait(self):
        self.until(self.is_ready, "it is ready", START_SECONDS)

    def is_ready(self):
        try:
            return wire.get(self.port, READY[self.name.split()[0]])[0] == 200
        except OSError:
            return False

    def until(self, condition, what, seconds=UNTIL_SECONDS):
        """Waits for something that the server is expected to do."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name}: not in {seconds} s: {what}; see {self.log}")
            time.sleep(0.002)

    def check(self):
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended by itself, see {self.log}")

    def metrics(self, *names):
        """Values of llamero's /metrics, all of one moment."""
        lines = wire.get(self.port, "/metrics")[1].splitlines()
        return [next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{")) for name in names]

    def metric(self, name):
        return self.metrics(name)[0]

    def memory_mb(self):
        """Proportional set size of the process and its children: pages that they share count once."""
        return sum(pss_kb(pid) for pid in family(self.process.pid)) / 1024


def family(pid):
    """The process and all below it."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid] + [one for file in children for child in file.read_text().split() for one in family(int(child))]


def pss_kb(pid):
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
