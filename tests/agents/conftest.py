"""Fixtures: a toy that calls tools, a server for it, and programs that run alone with that server."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "clients")]

import programs  # noqa: E402
import recorder  # noqa: E402
import support  # noqa: E402
import toy  # noqa: E402

PATH = os.pathsep.join([str(programs.NODE.parent), "/usr/local/bin", "/usr/bin", "/bin"])
# The program gets a PID namespace, so that its children end with it.
UNSHARE = ["unshare", "--net", "--mount-proc", "--pid", "--fork", "--kill-child", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def can_be_alone():
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def pytest_collection_modifyitems(items):
    """Without a binary or a model, tests of programs are skipped aloud. Without networks of their own, the run fails."""
    reason = support.missing()
    if not reason and not can_be_alone():
        pytest.exit("programs cannot have a network of their own here (unshare --net --pid)", returncode=1)
    for item in items if reason else []:
        if "alone" in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server with defaults, for a model that calls tools."""
    folder = tmp_path_factory.mktemp("server")
    model = toy.write(support.MODEL_FILE, folder / "toy.gguf")
    running = support.Server(folder / "log", model=model, served_as=programs.MODEL).wait_ready()
    yield running
    running.stop()


class Alone:
    """Runs programs in a home of their own, on a network where only the server is; keeps what they sent."""

    def __init__(self, home, upstream):
        self.home, self.work, self.names = home, home / "work", home.parent / "names"
        self.work.mkdir(parents=True)
        self.socket, self.upstream = home.parent / "socket", upstream

    def put(self, files):
        for path, text in files.items():
            (self.home / path).parent.mkdir(parents=True, exist_ok=True)
            (self.home / path).write_text(text)

    def run(self, command, environment, seconds=120):
        """The ended process and the exchanges; a program that goes on longer fails."""
        plain = {"PATH": PATH, "HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}
        alone = [*UNSHARE, sys.executable, FOLDER / "alone.py", programs.PORT, self.socket, self.names, *command]
        with recorder.recording(self.socket, self.upstream) as recorded:
            ended = subprocess.run(
                [str(word) for word in alone],
                cwd=self.work,
                env=plain | environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
            exchanges = recorded.take()
        self.keep(exchanges)
        return ended, exchanges

    def keep(self, exchanges):
        """Writes the exchanges to a file in the folder LLAMERO_AGENTS_RECORD, if it is set."""
        if folder := os.environ.get("LLAMERO_AGENTS_RECORD"):
            name = f"{self.home.parent.name}-{len(list(Path(folder).glob('*')))}.json"
            (Path(folder) / name).write_text(json.dumps([exchange.as_dict() for exchange in exchanges], indent=1))

    def looked_up(self):
        """The names of hosts that the programs looked up; they found none."""
        return set(self.names.read_text().split()) if self.names.exists() else set()


@pytest.fixture
def alone(tmp_path, server):
    made = Alone(tmp_path / "home", server.port)
    yield made
    shutil.rmtree(made.home, ignore_errors=True)
