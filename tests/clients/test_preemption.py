"""A server whose cloud takes the machine back, by a metadata server that this test plays."""

import signal
import socket
import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import openai
import pytest
from conftest import connect
from support import MODEL, HttpStub, Server, answering, clean_environment, killed_at_end, wait_until


class Metadata:
    """A metadata server of Google Compute Engine: two values, and answers that wait for a change."""

    def __init__(self):
        self.values = {"preempted": ("1", "FALSE"), "maintenance-event": ("1", "NONE")}
        self.asked = []
        self.changed = threading.Condition()
        self.open = True

    def set(self, name, value):
        with self.changed:
            version = str(int(self.values[name][0]) + 1)
            self.values[name] = (version, value)
            self.changed.notify_all()

    def close(self):
        """Answers who waits."""
        with self.changed:
            self.open = False
            self.changed.notify_all()

    def get(self, name, query):
        """The value and its version, once it is another than the one that the client knows."""
        known = query.get("last_etag", [None])[0] if query.get("wait_for_change") == ["true"] else None
        with self.changed:
            self.changed.wait_for(lambda: not self.open or self.values[name][0] != known, timeout=60)
            return self.values[name]

    def waiting(self, name):
        """True if the server waits for a change of this value."""
        return any(path.endswith(name) and "wait_for_change" in query for path, query in self.asked)


@contextmanager
def metadata():
    cloud = Metadata()

    class Handler(HttpStub):
        def do_GET(self):
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            cloud.asked.append((url.path, query))
            if self.headers["Metadata-Flavor"] != "Google":
                self.send_error(403)
                return
            version, value = cloud.get(url.path.removeprefix("/computeMetadata/v1/instance/"), query)
            self.reply(value.encode(), ETag=version, Metadata_Flavor="Google")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with answering(server):
        try:
            yield cloud, f"127.0.0.1:{server.server_address[1]}"
        finally:
            cloud.close()


@contextmanager
def serving(tmp_path, host, *arguments):
    environment = clean_environment(GCE_METADATA_HOST=host)
    with killed_at_end(Server(tmp_path / "log", *arguments, environment=environment)) as server:
        yield server.wait_ready()


def test_a_preempted_server_finishes_its_streams_and_says_why_it_refuses(tmp_path):
    with metadata() as (cloud, host), serving(tmp_path, host, "--drain-timeout", "60s") as server:
        wait_until(lambda: cloud.waiting("preempted"), 20, "it waits for the notice")
        client = connect(server)
        chunks = client.completions.create(
            model=MODEL, prompt="Once upon a time", max_tokens=100, stream=True, temperature=0, extra_body={"ignore_eos": True}
        )
        next(chunks)

        cloud.set("preempted", "TRUE")
        wait_until(lambda: server.ask("/readyz").status == 503, 10, "it is not ready")
        assert b"takes this machine back" in server.ask("/readyz").body
        with pytest.raises(openai.InternalServerError) as refused:
            client.with_options(max_retries=0).completions.create(model=MODEL, prompt="Hello", max_tokens=1)

        assert (refused.value.status_code, refused.value.code) == (503, "shutting_down")
        assert "preemption" in refused.value.message
        assert refused.value.response.headers["retry-after"] == "60"
        assert list(chunks)[-1].choices[0].finish_reason == "length", "a stream that had begun"
        assert server.process.wait(30) == 0
        log = server.log.read_text()
        assert "the cloud takes this machine back; running requests get 20s to finish" in log


@pytest.mark.parametrize("first", ["the notice", "SIGTERM"])
def test_the_system_s_own_stop_of_a_preempted_machine_ends_no_stream_early(tmp_path, first):
    with metadata() as (cloud, host), serving(tmp_path, host, "--drain-timeout", "60s") as server, connect(server) as client:
        wait_until(lambda: cloud.waiting("preempted"), 20, "it waits for the notice")
        chunks = client.completions.create(
            model=MODEL, prompt="Once upon a time", max_tokens=300, stream=True, temperature=0, extra_body={"ignore_eos": True}
        )
        next(chunks)

        said = lambda: "the cloud takes this machine back; running requests get 20s to finish" in server.log.read_text()
        if first == "the notice":
            cloud.set("preempted", "TRUE")
            wait_until(said, 10, "the notice is heard")
            server.process.send_signal(signal.SIGTERM)
        else:
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.ask("/readyz").status == 503, 10, "it drains")
            cloud.set("preempted", "TRUE")
            wait_until(said, 10, "the notice is heard")
            assert b"takes this machine back" in server.ask("/readyz").body

        assert list(chunks)[-1].choices[0].finish_reason == "length"
        assert server.process.wait(30) == 0, server.log_tail()


def test_a_client_that_sends_slowly_gets_no_longer_than_the_machine_has(tmp_path):
    arguments = ["--drain-timeout", "120s", "--prefix-cache-dir", tmp_path / "cache"]
    with metadata() as (cloud, host), serving(tmp_path, host, *arguments) as server:
        wait_until(lambda: cloud.waiting("preempted"), 20, "it waits for the notice")
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{")
            cloud.set("preempted", "TRUE")
            assert server.process.wait(25) == 0, server.log_tail()
        assert "running requests get 13s to finish" in server.log.read_text(), "the rest is for the prefix cache"


def test_announced_maintenance_is_said_and_stops_nothing(tmp_path):
    with metadata() as (cloud, host), serving(tmp_path, host) as server:
        wait_until(lambda: cloud.waiting("maintenance-event"), 20, "it waits for announcements")
        cloud.set("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE")
        wait_until(lambda: "will stop this machine for maintenance" in server.log.read_text(), 10, "that is said")
        assert server.ask("/readyz").status == 200


def test_a_metadata_server_that_does_not_answer_is_said_once_and_costs_nothing(tmp_path):
    with serving(tmp_path, "127.0.0.1:9") as server:
        told = lambda: server.log.read_text().count("the metadata server does not answer")
        wait_until(told, 20, "that is said")
        assert server.ask("/readyz").status == 200
        server.stop()
        assert told() == 1


def test_nobody_is_asked_with_preemption_none(tmp_path):
    with metadata() as (cloud, host), serving(tmp_path, host, "--preemption", "none") as server:
        assert server.ask("/readyz").status == 200
        assert cloud.asked == []
