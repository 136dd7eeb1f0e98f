"""HTTPS: real clients, a certificate that is replaced, clients with certificates, and bytes that are no TLS."""

import http.client
import json
import signal
import socket
import ssl
import threading
from contextlib import contextmanager

import openai
import pytest
import trustme
from support import Server, killed_at_end, wait_until

HOST = "localhost"


class Authority:
    """A certificate authority, and the files of a server that it vouches for."""

    def __init__(self, folder):
        self.ca = trustme.CA()
        self.root, self.cert, self.key = (folder / name for name in ("ca.pem", "server.pem", "server.key"))
        self.ca.cert_pem.write_to_path(str(self.root))
        self.issue()

    def issue(self):
        """Writes another certificate and key."""
        issued = self.ca.issue_cert(HOST, "127.0.0.1")
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def context(self, client=None):
        context = ssl.create_default_context(cafile=str(self.root))
        context.set_alpn_protocols(["h2", "http/1.1"])
        if client:
            client.configure_cert(context)
        return context


@contextmanager
def serving(folder, authority, *arguments):
    server = Server(folder / "log", "--tls-cert", authority.cert, "--tls-key", authority.key, *arguments)
    server.url = f"https://{HOST}:{server.port}"
    server.base_url = f"{server.url}/v1"
    with killed_at_end(server):
        yield server


@pytest.fixture
def authority(tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    # Python's clients trust this authority, and so does `Server.ask`.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    return authority


def connect(server, context):
    return http.client.HTTPSConnection(HOST, server.port, context=context, timeout=60)


def complete(connection, server, **fields):
    """One completion over this connection; its status and body."""
    body = json.dumps({"model": server.model, "prompt": "Hello", "max_tokens": 1, "temperature": 0, **fields})
    connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def certificate(server, context):
    with socket.create_connection((HOST, server.port), timeout=10) as plain, context.wrap_socket(plain, server_hostname=HOST) as secured:
        return secured.getpeercert(binary_form=True), secured.selected_alpn_protocol()


def test_a_real_client_completes_and_streams_over_https(tmp_path, authority):
    with serving(tmp_path, authority) as server:
        server.wait_ready()
        client = openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)

        chat = client.chat.completions.create(model=server.model, messages=[{"role": "user", "content": "Hi"}], max_tokens=8)
        stream = client.completions.create(model=server.model, prompt="One two three", max_tokens=16, stream=True)
        text = "".join(event.choices[0].text for event in stream)

        assert chat.choices[0].message.content and text
        assert f"https://127.0.0.1:{server.port}/v1" in (tmp_path / "log").read_text()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0, server.log_tail()


def test_no_request_of_two_hundred_fails_while_the_certificate_is_replaced(tmp_path, authority):
    with serving(tmp_path, authority) as server:
        server.wait_ready()
        context = authority.context()
        first, _ = certificate(server, context)
        left, failures, halfway = list(range(200)), [], threading.Event()

        def work(keeps_connection):
            connection = connect(server, context)
            while True:
                try:
                    left.pop()
                except IndexError:
                    return
                if len(left) < 100:
                    halfway.set()
                try:
                    status, body = complete(connection, server)
                    assert status == 200 and body["usage"]["completion_tokens"] == 1, (status, body)
                except Exception as error:
                    failures.append(error)
                if not keeps_connection:
                    connection.close()

        workers = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(4)]
        for worker in workers:
            worker.start()
        assert halfway.wait(120)
        authority.issue()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: certificate(server, context)[0] != first, 60, "new connections get the new certificate")
        left += range(20)
        for worker in workers:
            worker.join(120)

        assert not any(worker.is_alive() for worker in workers)
        assert failures == []
        assert complete(connect(server, context), server)[0] == 200


def test_a_broken_certificate_changes_nothing_and_is_one_line_of_the_log(tmp_path, authority):
    with serving(tmp_path, authority) as server:
        server.wait_ready()
        context = authority.context()
        first = certificate(server, context)
        authority.cert.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)

        def complaints():
            return [line for line in (tmp_path / "log").read_text().splitlines() if "the certificate stays as it is" in line]

        wait_until(complaints, 10, "the log names the file")
        assert len(complaints()) == 1 and str(authority.cert) in complaints()[0]
        assert certificate(server, context) == first
        assert first[1] == "http/1.1"


def test_a_client_that_hangs_up_ends_its_request(tmp_path, authority):
    with serving(tmp_path, authority) as server:
        server.wait_ready()
        for stream in (False, True):
            connection = connect(server, authority.context())
            body = {"model": server.model, "prompt": "Once", "max_tokens": 4000, "ignore_eos": True, "stream": stream}
            connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
            wait_until(lambda: server.metric("vllm:num_requests_running") == 1, 20, "it runs")
            connection.close()
            wait_until(lambda: server.metric("vllm:num_requests_running") == 0, 10, f"it was cancelled (stream: {stream})")


def test_only_clients_with_a_certificate_of_the_authority_are_served(tmp_path, authority):
    with serving(tmp_path, authority, "--tls-client-ca", authority.root) as server:
        known = authority.context(authority.ca.issue_cert("client@example.com"))
        foreign = authority.context(trustme.CA().issue_cert("client@example.com"))

        def is_ready():
            assert server.alive(), server.log_tail()
            try:
                connection = connect(server, known)
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except OSError:
                return False

        wait_until(is_ready, 120, "/readyz answers 200")
        assert complete(connect(server, known), server)[0] == 200
        for context in (authority.context(), foreign):
            # With TLS 1.3 the refusal comes with the first read.
            with pytest.raises((ssl.SSLError, ConnectionError)):
                complete(connect(server, context), server)


def test_bytes_that_are_no_tls_and_handshakes_that_never_end_are_closed(tmp_path, authority):
    with serving(tmp_path, authority, "--header-timeout", "1s") as server:
        server.wait_ready()
        with socket.create_connection((HOST, server.port), timeout=10) as plain, socket.create_connection((HOST, server.port), timeout=10) as silent:
            plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said = b"".join(iter(lambda: plain.recv(4096), b""))
            assert not said.startswith(b"HTTP/"), said
            assert silent.recv(1) == b"", "closed after --header-timeout"
        assert server.ask("/livez").status == 200


def test_a_key_without_its_certificate_is_refused_before_anything_starts(tmp_path, authority):
    server = Server(tmp_path / "log", "--tls-key", authority.key)
    assert server.process.wait(20) == 64
    assert "--tls-cert: is missing: --tls-key" in server.log_tail()
