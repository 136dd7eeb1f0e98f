"""A model in the memory of another process (llama.cpp's RPC backend), on loopback."""

import signal
import socketserver
import subprocess

import pytest
from conftest import connect
from support import BINARY, MODEL, Server, answering, clean_environment, free_port, killed_at_end, wait_until

PROMPT = "Once upon a time, in a small village"


class Worker:
    """A `llamero rpc-worker` on a free port."""

    def __init__(self, folder, port=None):
        self.port = port or free_port()
        self.log = folder / f"worker{self.port}"
        command = [BINARY, "rpc-worker", "--listen", f"127.0.0.1:{self.port}", "--threads", "1", "--cache-dir", folder / "weights"]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=out, env=clean_environment())
        wait_until(self.listens, 30, "the worker listens")

    def listens(self):
        assert self.process.poll() is None, self.log.read_text()
        # A connection would count as the one client that it serves.
        sockets = open(f"/proc/{self.process.pid}/net/tcp").read()
        return f"0100007F:{self.port:04X} 00000000:0000 0A" in sockets

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def workers(tmp_path):
    started = []

    def start(**options):
        started.append(Worker(tmp_path, **options))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


def greedy(server, tokens=48):
    with connect(server) as client:
        answer = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=tokens, temperature=0, extra_body={"ignore_eos": True})
        return answer.choices[0].text


def test_a_model_on_a_worker_answers_as_one_in_this_process_and_outlives_the_worker_s_death(tmp_path, workers):
    arguments = ["--max-model-len", "1024", "--max-num-seqs", "2", "--flash-attn", "off", "--num-speculative-tokens", "0"]
    alone = Server(tmp_path / "alone", *arguments).wait_ready()
    try:
        expected = greedy(alone)
    finally:
        alone.stop()

    worker = workers()
    server = Server(tmp_path / "log", *arguments, "--rpc", f"127.0.0.1:{worker.port}").wait_ready()
    try:
        assert "an RPC worker is connected" in server.log.read_text()
        assert greedy(server) == expected

        engine = server.engine_pid()
        with connect(server) as client:
            options = {"stream_options": {"include_usage": True}, "extra_body": {"ignore_eos": True}}
            chunks = client.completions.create(model=MODEL, prompt="A list of names:", max_tokens=200, stream=True, **options)
            next(chunks)
            worker.end()
            wait_until(lambda: server.engine_pid() != engine, 60, "the engine dies with its worker")
            workers(port=worker.port)
            *_, finish, usage = chunks

        assert (finish.choices[0].finish_reason, usage.usage.completion_tokens) == ("length", 200), "a stream through the worker's death"
        assert server.ask("/readyz").status == 200
    finally:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0, server.log_tail()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["rpc-worker", "--listen", "0.0.0.0:50052"], "--insecure-rpc"),
        (["serve", "--rpc", "8.8.8.8:50052", "--port", "0"], "not at a private address"),
        (["serve", "--rpc", "nonsense"], "is not a host and a port"),
    ],
)
def test_addresses_that_strangers_reach_and_nonsense_are_refused(arguments, reason):
    ended = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60, env=clean_environment())
    assert ended.returncode in (1, 64) and reason in ended.stderr, ended.stderr


def test_a_worker_that_starts_after_the_server_is_waited_for(tmp_path, workers):
    port = free_port()
    with killed_at_end(Server(tmp_path / "log", "--rpc", f"127.0.0.1:{port}")) as server:
        wait_until(lambda: f"the RPC worker 127.0.0.1:{port} cannot be used yet" in server.log.read_text(), 30, "it is named")
        workers(port=port)
        server.wait_ready()


class MailServer(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"220 mail is taken here\r\n")
        self.request.recv(64)


def test_a_service_that_is_no_worker_is_named(tmp_path):
    with answering(socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailServer)) as other:
        address = f"127.0.0.1:{other.server_address[1]}"
        with killed_at_end(Server(tmp_path / "log", "--rpc", address)) as server:
            assert server.process.wait(60) == 1
            assert f"the RPC worker {address} cannot be used: it is no RPC worker" in server.log.read_text()
