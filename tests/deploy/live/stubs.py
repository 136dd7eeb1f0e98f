"""Replicas that are no llamero: they keep each request and answer as a test wants, byte by byte if it must be.

Servers on free ports of 127.0.0.1, for `support.answering`.
"""

import json
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE_SECONDS = 30
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
COMPLETION = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "stub", "usage": USAGE}
EVENT = b'data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"stub","choices":[{"index":0,"text":"a"}]}\n\n'


class Replica(ThreadingHTTPServer):
    """Ready at once. `answer` is called with the handler of each completion, which must send an answer."""

    def __init__(self, answer=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer or whole
        # (headers, body as JSON) of each completion.
        self.received = []

    @property
    def port(self):
        return self.server_address[1]

    def handle_error(self, *_):
        """Balancers close the connections of checks, and of clients that left, as they like; other faults fail a test by themselves."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send(200, {"object": "list", "data": [], "status": "ready"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/completions/render":
            self.send(200, [{"token_ids": list(body["prompt"].encode())}])
            return
        assert self.path == "/v1/completions", self.path
        self.server.received.append((self.headers, body))
        self.server.answer(self)

    def send(self, status, body, **headers):
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json", "content-length": str(len(text))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def send_chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, *_):
        pass


def whole(handler):
    """Answers with one completion."""
    handler.send(200, COMPLETION | {"choices": [{"index": 0, "text": "a", "finish_reason": "stop", "logprobs": None}]})


def busy(handler):
    """Refuses as a llamero whose queue is full."""
    handler.send(503, {"error": {"message": "busy", "type": "server_error"}}, **{"retry-after": "7"})


def crash(handler):
    """Closes the connection without an answer, as a process that dies does."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def silent(seconds):
    """Answers with one completion after this time."""

    def answer(handler):
        threading.Event().wait(seconds)
        whole(handler)

    return answer


class Steps:
    """A stream of `count` events, of which each is sent after the client has told that it has the one before."""

    def __init__(self, count):
        self.count = count
        self.arrived = threading.Semaphore(0)

    def __call__(self, handler):
        handler.begin_stream()
        for _ in range(self.count):
            handler.send_chunk(EVENT)
            if not self.arrived.acquire(timeout=PATIENCE_SECONDS):
                crash(handler)
                return
        handler.send_chunk(b"data: [DONE]\n\n")
        handler.send_chunk(b"")


class UntilItLeaves:
    """Sends no answer; `left` is set when the connection is closed from the other end."""

    def __init__(self):
        self.asked, self.left = threading.Event(), threading.Event()

    def __call__(self, handler):
        self.asked.set()
        readable, _, _ = select.select([handler.connection], [], [], PATIENCE_SECONDS)
        try:
            if readable and handler.connection.recv(1) == b"":
                self.left.set()
        except ConnectionError:
            self.left.set()
        handler.close_connection = True
