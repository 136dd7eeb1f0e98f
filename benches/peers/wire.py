"""HTTP by hand, where a client must do what a good client does not: wait, hang up, say nothing."""

import http.client
import json
import socket

TIMEOUT_SECONDS = 300


def get(port, path):
    """Status and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def connect(port):
    """A connection over which nothing was said."""
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)


def complete(port, prompt, max_tokens):
    """A streamed completion of token ids that was asked for, as its connection."""
    body = json.dumps({"model": "bench", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0,
                       "ignore_eos": True, "stream": True})
    connection = connect(port)
    connection.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                       f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return connection


def first_token(connection):
    """Waits for the first event of a stream. Whether it came: not if the server is still loading."""
    seen = b""
    while b"data: " not in seen:
        piece = connection.recv(65536)
        seen += piece
        if not piece or not seen.startswith(b"HTTP/1.1 200"[:len(seen)]):
            return False
    return True


def is_open(connection):
    """True if the server has left an idle connection open."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
