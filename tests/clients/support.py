"""A live llamero to test against: starts it, asks it over plain HTTP, stops it and looks for what it left behind.

Knows processes and sockets, not the API: what answers must look like is the tests' part.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("LLAMERO_BIN", ROOT / "target/release/llamero"))
MODEL_FILE = Path(os.environ.get("LLAMERO_TEST_MODEL", ROOT / "models/smollm2-135m-instruct.gguf"))
MODEL = "smollm2-135m-instruct"

LOAD_SECONDS = 120
STOP_SECONDS = 60


def missing():
    """A thing that these tests need and that is not here, or None."""
    if not BINARY.is_file():
        return f"no binary at {BINARY}: cargo build --release, or set LLAMERO_BIN"
    if not MODEL_FILE.is_file():
        return f"no model at {MODEL_FILE}: llamero pull {MODEL}, or set LLAMERO_TEST_MODEL"
    return None


def clean_environment(**more):
    """This process's environment without what configures servers or clients."""
    foreign = re.compile(r"(LLAMERO|LLAMA|VLLM|OPENAI|ANTHROPIC)_|(https?|all|no)_proxy$", re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if not foreign.match(name)} | more


def wait_until(reached, seconds, what):
    """Polls until `reached()` is true and returns its value; fails after `seconds` with `what`, a text or a function that makes one."""
    deadline = time.monotonic() + seconds
    while not (value := reached()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.02)
    return value


class Answer:
    """Status, headers and body of an HTTP answer, errors included."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Server:
    """A `llamero serve` on a free port of 127.0.0.1, or on `port`. Standard error goes to the file `log`, or to the descriptor `stderr`.

    `within` is a command that starts it, such as `unshare`; `served_as` is the name of the model.
    """

    def __init__(
        self, log, *arguments, model=MODEL_FILE, stderr=subprocess.STDOUT, environment=None, cwd=None, within=(), served_as=MODEL, port=None
    ):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.url}/v1"
        self.model = served_as
        self.log = log
        self.seconds_to_ready = None
        self.begun = time.monotonic()
        command = [*within, BINARY, "serve", "--model", model, "--served-model-name", served_as, "--port", self.port, *arguments]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=stderr,
                env=clean_environment() if environment is None else environment,
                cwd=cwd,
            )
        self.pid = self.process.pid

    def ready(self):
        """True if /readyz says so. Fails if the server has ended."""
        assert self.alive(), f"exit {self.process.returncode}:\n{self.log_tail()}"
        try:
            return self.ask("/readyz").status == 200
        except OSError:
            return False

    def wait_ready(self):
        try:
            wait_until(self.ready, LOAD_SECONDS, "/readyz answers 200")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.seconds_to_ready = time.monotonic() - self.begun
        return self

    async def ready_again(self, former_engine, seconds):
        """Waits until an engine other than `former_engine` serves, while other tasks go on; fails after `seconds`."""

        def restarted():
            return self.engine_pid() not in (None, former_engine) and self.ready()

        await asyncio.to_thread(wait_until, restarted, seconds, "a new engine serves")

    def alive(self):
        return self.process.poll() is None

    def ask(self, path, body=None, headers=None, method=None, timeout=60):
        """One request; a dict is sent as JSON, bytes as they are."""
        headers = dict(headers or {})
        if isinstance(body, dict):
            headers.setdefault("content-type", "application/json")
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def metric(self, name, headers=None):
        """Sum over all label sets of a metric; None if it is not there."""
        text = self.ask("/metrics", headers=headers).body.decode()
        values = re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, values)) if values else None

    def engine_pid(self):
        """The engine is the only child; None while there is none."""
        return next(iter(children(self.pid)), None)

    def stop(self):
        """SIGTERM; asserts exit 0 and that no engine outlives the gateway."""
        engines = children(self.pid)
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running {STOP_SECONDS} s after SIGTERM:\n{self.log_tail()}") from None
        assert status == 0, f"exit {status} after SIGTERM:\n{self.log_tail()}"
        wait_until(lambda: not any(map(is_alive, engines)), 5, f"engines {engines} are gone")

    def whole_log(self):
        """Stops the server and returns its log. The server writes log lines after it answers, so only a stopped one has written them all."""
        self.stop()
        return self.log.read_text()

    def log_tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


@contextmanager
def serving(log, *arguments):
    """A ready server that is stopped, and looked after, at the end."""
    server = Server(log, *arguments).wait_ready()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def killed_at_end(server):
    """A server that the test may end itself; what still runs at the end is killed."""
    try:
        yield server
    finally:
        if server.alive():
            server.process.kill()
        server.process.wait()


class HttpStub(BaseHTTPRequestHandler):
    """Answers requests of a program under test, and prints nothing."""

    def reply(self, body, **headers):
        """200 with these bytes; `_` in the name of a header stands for a dash."""
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def answering(socket_server):
    """A server of Python's `socketserver`, whose connections are answered in threads until the block ends."""
    thread = threading.Thread(target=socket_server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield socket_server
    finally:
        socket_server.shutdown()
        thread.join()
        socket_server.server_close()


def end(process):
    """Ends a program that may not obey at once."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def children(pid):
    """Pids of the children of `pid` that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the command in parentheses, which may hold anything: state, parent.
            state, parent = entry.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue  # It ended meanwhile.
        if int(parent) == pid and state != "Z":
            found.append(int(entry.parent.name))
    return found


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
