"""Ways in which hostile clients send: at once, in pieces, without waiting for the answer, and gone before it comes.

Every wait is bounded by PATIENCE; what goes wrong is returned as a sentence and never raised.
"""

import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 120
PIECE_BYTES = 1024


def head(path, key, length, more=""):
    return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Length: {length}\r\n{more}\r\n").encode()


def status_of(answer):
    """The status of a raw answer; interim answers are passed over. 0 if there is none."""
    while answer.startswith(b"HTTP/1.1 1"):
        answer = answer.partition(b"\r\n\r\n")[2]
    words = answer.split(b" ", 2)
    return int(words[1]) if answer.startswith(b"HTTP/1.") and len(words) > 2 else 0


def read_answer(connection):
    """The head of the answer and some of its body."""
    answer = b""
    while b"\r\n\r\n" not in answer or (answer.startswith(b"HTTP/1.1 1") and answer.count(b"\r\n\r\n") < 2):
        piece = connection.recv(65_536)
        if not piece:
            break
        answer += piece
    return answer


def ask(port, path, key, body):
    """Sends all, then reads. The status, or what the connection broke with."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(head(path, key, len(body), "Connection: close\r\n") + body)
            return status_of(read_answer(connection))
    except OSError as error:
        return repr(error)


def ask_in_pieces(port, path, key, body):
    """Sends the head, and the body in pieces whatever the server has answered meanwhile; then reads."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(head(path, key, len(body), "Connection: close\r\n"))
            time.sleep(0.02)
            for at in range(0, len(body), PIECE_BYTES):
                connection.sendall(body[at:at + PIECE_BYTES])
            return status_of(read_answer(connection))
    except OSError as error:
        return repr(error)


def leave(port, path, key, body, *, after=b"", reset=False):
    """Sends a request and `after`, and is gone without reading anything."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(head(path, key, len(body)) + body + after)
            time.sleep(0.05)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return None
    except OSError as error:
        return repr(error)


def at_once(times, act):
    """Does it so many times at once; the results."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: act(), range(times)))
