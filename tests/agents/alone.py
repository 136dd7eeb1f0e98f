"""Runs a command on a network of its own, which has nothing but a loopback with one port of the world outside.

    unshare --net --mount-proc --pid --fork --kill-child python alone.py PORT SOCKET NAMES COMMAND...

What connects to PORT of 127.0.0.1 reaches the Unix socket SOCKET. No other host can be reached. The names that the command
looks up are written to the file NAMES, one a line, and found nowhere: an empty file means that the command looked nothing up.
"""

import fcntl
import socket
import struct
import subprocess
import sys
import threading

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", answer)[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def copy(source, target):
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It is closed.


def relay(port, path):
    listener = socket.create_server(("127.0.0.1", port), backlog=64)

    def accept():
        while True:
            near, _ = listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(path)
            threading.Thread(target=copy, args=(near, far), daemon=True).start()
            threading.Thread(target=copy, args=(far, near), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def name_of(query):
    """The name in a DNS query, whose header has 12 bytes; and where its question ends."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode(errors="replace"))
        at += 1 + length
    return ".".join(labels), at + 5


def answer_names(path):
    """A name server that knows no name and notes each; the resolver is told of it by a file mounted over its own."""
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.bind(("127.0.0.1", 53))
    configuration = f"{path}.resolv"
    with open(configuration, "w") as file:
        file.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", configuration, "/etc/resolv.conf"], check=True)

    def answer():
        while True:
            query, sender = asked.recvfrom(4096)
            name, end = name_of(query)
            with open(path, "a") as file:
                file.write(f"{name}\n")
            # The same question, no answers: "no such name".
            asked.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:end], sender)

    threading.Thread(target=answer, daemon=True).start()


if __name__ == "__main__":
    raise_loopback()
    relay(int(sys.argv[1]), sys.argv[2])
    answer_names(sys.argv[3])
    sys.exit(subprocess.run(sys.argv[4:]).returncode)
