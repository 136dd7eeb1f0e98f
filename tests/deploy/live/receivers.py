"""Receivers of what Alertmanager sends: an HTTP server for webhooks and a mail server, both on free ports of 127.0.0.1.

They keep what they get and judge nothing. Both run in threads and end with their `with` block.
"""

import email
import email.policy
import json
import socketserver
from http.server import ThreadingHTTPServer

from support import HttpStub


class Webhooks(ThreadingHTTPServer):
    """Keeps each JSON body by the path that it was sent to."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), TakesPosts)
        self.received = []

    def at(self, path):
        return [body for to, body in self.received if to == path]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class TakesPosts(HttpStub):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, json.loads(body)))
        self.reply(b"ok")


class Mailbox(socketserver.ThreadingTCPServer):
    """Speaks as much SMTP as a client without TLS and password needs."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), TakesMail)
        self.mails = []

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"

    def subjects(self, to):
        return [mail["subject"] for mail in self.mails if mail["to"] == to]


class TakesMail(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 mailbox")
        for line in self.rfile:
            match line[:4].upper().strip():
                case b"DATA":
                    self.say("354 end with a dot")
                    text = b"".join(iter(self.rfile.readline, b".\r\n"))
                    self.server.mails.append(email.message_from_bytes(text, policy=email.policy.default))
                    self.say("250 kept")
                case b"QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 mailbox")

    def say(self, words):
        self.wfile.write(words.encode() + b"\r\n")
