"""Where a server listens, and what it believes of the proxies before it: Unix sockets, trusted proxies, a prefix."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
from contextlib import ExitStack

import httpx2
import openai
import pytest
from support import BINARY, MODEL, STOP_SECONDS, Server, clean_environment, killed_at_end, wait_until


class UnixServer(Server):
    """A `llamero serve` on a Unix socket; the port of `Server` has no effect."""

    def __init__(self, folder, *arguments):
        self.path = folder / "s"
        super().__init__(folder / "log", "--uds", self.path, *arguments)
        self.http = httpx2.Client(transport=httpx2.HTTPTransport(uds=str(self.path)), base_url="http://localhost", timeout=60)

    def ready(self):
        assert self.alive(), self.log_tail()
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@pytest.fixture
def unix(tmp_path):
    """Starts servers on the socket `s`."""
    with ExitStack() as started:

        def unix(*arguments):
            server = started.enter_context(killed_at_end(UnixServer(tmp_path, *arguments)))
            started.enter_context(server.http)
            return server.wait_ready()

        yield unix


def test_an_openai_client_completes_and_streams_over_a_unix_socket(unix):
    server = unix()

    assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o660
    with openai.OpenAI(base_url="http://localhost/v1", api_key="none", http_client=server.http) as client:
        whole = client.completions.create(model=MODEL, prompt="Hello", max_tokens=4, extra_body={"ignore_eos": True})
        chunks = list(client.completions.create(model=MODEL, prompt="Hello", max_tokens=4, stream=True, extra_body={"ignore_eos": True}))

    assert whole.usage.completion_tokens == 4
    assert chunks[-1].choices[0].finish_reason == "length"
    assert server.end() == 0
    assert not server.path.exists(), "the socket is removed at the end"


def test_a_client_that_leaves_a_unix_socket_ends_its_request(unix):
    server = unix()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.path))
        body = json.dumps({"model": MODEL, "prompt": "Hello", "max_tokens": 1500, "ignore_eos": True}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        running = "vllm:num_requests_running"
        wait_until(lambda: metric(server, running) == 1, 60, "it runs")

    wait_until(lambda: metric(server, running) == 0, 10, "it is cancelled")


def metric(server, name):
    lines = server.http.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


def test_the_socket_of_a_killed_server_is_replaced_and_that_of_a_living_one_is_not(unix, tmp_path):
    killed = unix()
    killed.end(signal.SIGKILL)
    assert killed.path.exists()

    unix()
    second = subprocess.run([BINARY, "serve", "--uds", killed.path], capture_output=True, text=True, timeout=60, env=clean_environment())

    assert second.returncode == 1
    assert f"a program listens on {killed.path} already" in second.stderr


def test_a_socket_for_every_user_needs_keys(tmp_path):
    command = [BINARY, "serve", "--uds", tmp_path / "s", "--uds-mode", "666"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment())

    assert refused.returncode == 1 and "--uds-mode 660" in refused.stderr
    assert not (tmp_path / "s").exists()


def log_lines(server):
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def span_of(server, request_id):
    """The span in the log line of a request."""
    found = lambda: next((line["span"] for line in log_lines(server) if line.get("span", {}).get("id") == request_id), None)
    return wait_until(found, 20, "its line is there")


@pytest.mark.parametrize(("trusted", "client"), [(["--trusted-proxies", "127.0.0.0/8"], "203.0.113.7"), ([], "127.0.0.1")], ids=["trusted", "not"])
def test_the_log_has_the_client_that_a_trusted_proxy_names_and_no_stranger_s_word(tmp_path, trusted, client):
    server = Server(tmp_path / "log", "--log-format", "json", *trusted).wait_ready()
    try:
        headers = {"x-forwarded-for": "1.1.1.1, 203.0.113.7", "user-agent": "a script", "x-request-id": "it"}
        server.ask("/v1/completions", {"model": MODEL, "prompt": "Hello", "max_tokens": 1}, headers)
        span = span_of(server, "it")
        assert (span["client"], span["user_agent"]) == (client, "a script")
    finally:
        server.stop()


def test_a_refused_request_has_the_code_of_its_error_in_the_log(tmp_path):
    server = Server(tmp_path / "log", "--log-format", "json").wait_ready()
    try:
        answer = server.ask("/v1/completions", {"model": MODEL, "prompt": "Hello", "temperature": "hot"})
        lines = wait_until(lambda: [line for line in log_lines(server) if line["message"] == "request"], 20, "its line is there")
        assert (lines[0]["status"], lines[0]["code"]) == (400, answer.json()["error"]["code"])
    finally:
        server.stop()


def test_a_prefix_may_be_left_on_or_taken_off_by_the_proxy(tmp_path):
    server = Server(tmp_path / "log", "--root-path", "/llm/").wait_ready()
    try:
        assert [server.ask(path).status for path in ["/llm/v1/models", "/v1/models", "/llm/health", "/llm", "/llmx/health"]] == [200, 200, 200, 200, 404]
        with openai.OpenAI(base_url=f"{server.url}/llm/v1", api_key="none") as client:
            assert client.completions.create(model=MODEL, prompt="Hello", max_tokens=1).usage.prompt_tokens > 0
        pages = http.client.HTTPConnection("127.0.0.1", server.port)
        pages.request("GET", "/llm/docs")
        assert pages.getresponse().getheader("location") == "docs/"
        pages.close()
    finally:
        server.stop()
