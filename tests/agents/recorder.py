"""A proxy between a program and a server: passes everything on, in both directions and as it comes, and keeps it.

It listens on a Unix socket, which a program that has a network of its own reaches through the file system; see alone.py.
"""

import http.client
import json
import socketserver
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

# Headers of one connection, which the next connection has anew.
OF_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Exchange:
    """A request and its answer."""

    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.begun, self.seconds = time.monotonic(), None
        self.status, self.answer_headers, self.answer = None, {}, b""

    @property
    def route(self):
        return f"{self.method} {self.path.partition('?')[0]}"

    def sent(self):
        """The JSON of the request; None if it has none."""
        return json.loads(self.body) if self.body else None

    def is_stream(self):
        return self.answer_headers.get("content-type", "").startswith("text/event-stream")

    def events(self):
        """The data of a stream's events; the text [DONE] as it is."""
        lines = (line.removeprefix("data:").strip() for line in self.answer.decode().splitlines() if line.startswith("data:"))
        return [line if line == "[DONE]" else json.loads(line) for line in lines]

    def __repr__(self):
        return f"{self.route} {len(self.body)} B: {self.status} {self.answer[:600]!r}"

    def as_dict(self):
        return {
            "route": self.route,
            "headers": self.headers,
            "body": self.body.decode(errors="replace"),
            "status": self.status,
            "answer_headers": self.answer_headers,
            "answer": self.answer.decode(errors="replace"),
            "seconds": self.seconds,
        }


class Recorder(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Passes on to the server at the port `upstream`; `exchanges` are in the order in which they began."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path, upstream):
        super().__init__(str(path), Handler)
        self.upstream, self.exchanges = upstream, []

    def take(self):
        """Removes and returns the exchanges recorded so far."""
        taken, self.exchanges = self.exchanges, []
        return taken


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "the program"

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def read_body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # Trailers.
        return b"".join(parts)

    def pass_on(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        exchange = Exchange(self.command, self.path, headers, self.read_body())
        self.server.exchanges.append(exchange)
        onward = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=600)
        try:
            kept = {name: value for name, value in headers.items() if name not in OF_CONNECTION or "upgrade" in headers}
            onward.request(self.command, self.path, exchange.body or None, kept)
            self.answer(exchange, onward.getresponse())
        finally:
            exchange.seconds = time.monotonic() - exchange.begun
            onward.close()

    def answer(self, exchange, answer):
        exchange.status = answer.status
        exchange.answer_headers = {name.lower(): value for name, value in answer.getheaders()}
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in OF_CONNECTION:
                self.send_header(name, value)
        self.send_header("connection", "close")  # The end of the connection is the end of the body.
        self.close_connection = True
        self.end_headers()
        while part := answer.read1(65_536):
            exchange.answer += part
            self.wfile.write(part)
            self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = pass_on


@contextmanager
def recording(path, upstream):
    recorder = Recorder(path, upstream)
    thread = threading.Thread(target=recorder.serve_forever, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.shutdown()
        recorder.server_close()
        path.unlink()
