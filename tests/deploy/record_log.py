"""Records tests/deploy/fixtures/llamero.jsonl: the log of a real server that is asked, refused, left, killed and stopped.

Run it again when log lines change: `LLAMERO_BIN=… LLAMERO_TEST_MODEL=… python3 tests/deploy/record_log.py`, with the
catalog's smallest model (by default those of the checkout). It takes one to three minutes. Paths of the machine become
/models/… and /var/lib/llamero/…; nothing else of the log is changed. The keys are made here, and a log never has keys
in it. The recording fails if a path, a key or a word of a prompt is in the result.
"""

import http.client
import json
import os
import re
import secrets
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "clients"))

from support import MODEL, MODEL_FILE, Server, children, missing, wait_until

FIXTURE = ROOT / "tests" / "deploy" / "fixtures" / "llamero.jsonl"
SECRET_WORD = "persimmon"
LONG = f"A {SECRET_WORD} is a fruit. Tell me about it and about all its relatives, one after the other. " * 10
OPTIONS = ["--log-format", "json", "--max-num-seqs", "2", "--max-model-len", "1024", "--max-waiting", "2"]
OPTIONS += ["--rpm", "14", "--drain-timeout", "2s", "--max-body-bytes", "100000"]


class Client:
    """Asks one server with one key."""

    def __init__(self, server, key):
        self.server, self.key = server, key

    def ask(self, path, **body):
        return self.server.ask(path, {"model": MODEL} | body, {"authorization": f"Bearer {self.key}"}, timeout=300)

    def complete(self, tokens, **more):
        body = {"prompt": f"{SECRET_WORD} {secrets.token_hex(4)}", "max_tokens": tokens, "ignore_eos": True} | more
        return self.ask("/v1/completions", **body)

    def chat(self, text, tokens, **more):
        return self.ask("/v1/chat/completions", messages=[{"role": "user", "content": text}], max_tokens=tokens, **more)

    def message(self, tokens):
        return self.ask("/v1/messages", messages=[{"role": "user", "content": SECRET_WORD}], max_tokens=tokens)


def at_once(*calls):
    """Makes calls beside each other; returns the threads."""
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def leave_a_stream(client):
    """Reads the beginning of a long stream and closes the connection."""
    connection = http.client.HTTPConnection("127.0.0.1", client.server.port)
    body = {"model": MODEL, "prompt": SECRET_WORD, "max_tokens": 900, "stream": True, "ignore_eos": True}
    headers = {"authorization": f"Bearer {client.key}", "content-type": "application/json"}
    connection.request("POST", "/v1/completions", json.dumps(body), headers)
    connection.getresponse().read(100)
    connection.close()


def served(alice, bob, carol):
    """Requests that are done, some with warnings, of three keys on several routes."""
    for _ in range(3):
        assert alice.chat(LONG, 12).status == 200
    assert alice.chat(SECRET_WORD, 8, stream=True, stream_options={"include_usage": True}).status == 200
    assert bob.complete(16, n=2).status == 200
    assert bob.complete(60, stream=True).status == 200
    assert bob.ask("/v1/responses", input=SECRET_WORD, max_output_tokens=16).status == 200
    assert carol.message(12).status == 200
    assert carol.chat(SECRET_WORD, 8, verbosity="low", store=True).status == 200
    assert bob.chat(SECRET_WORD, 4, logit_bias={}, user="u", reasoning_effort="high").status == 200
    assert carol.chat(SECRET_WORD, 8, verbosity="low").status == 200
    assert carol.chat(SECRET_WORD, 99999).status == 200
    assert carol.chat("x", 4, model="gpt-4o").status == 200


def wrong(server, alice, bob):
    """Requests that the server refuses, each for another reason."""
    assert bob.complete("many").status == 400
    assert bob.ask("/v1/chat/completions", messages=[{"role": "user", "content": LONG * 9}], max_tokens=4).status == 400
    assert server.ask("/v1/completions", {"model": MODEL, "prompt": "x"}, {"authorization": "Bearer no-such-key"}).status == 401
    assert server.ask("/metrics").status == 401
    assert alice.ask("/v1/nothing").status == 404
    assert server.ask("/v1/models/other", headers={"authorization": f"Bearer {alice.key}"}).status == 404
    assert server.ask("/v1/completions", headers={"authorization": f"Bearer {alice.key}"}).status == 405
    assert alice.complete(4, user="x" * 120_000).status == 413


def overloaded(alice, bob, carol):
    """More requests than there is room for: two run, two wait, the others are refused."""
    crowd = [lambda c=c: c.complete(100) for c in (alice, bob, carol, alice, bob)]
    crowd = at_once(*crowd, lambda: carol.message(100), lambda: bob.complete(100, stream=True))
    for thread in crowd:
        thread.join()


def kill_the_engine(server):
    """Kills the engine and waits for the next one."""
    engine = server.engine_pid()
    os.kill(engine, signal.SIGKILL)
    wait_until(lambda: server.engine_pid() not in (None, engine) and server.ready(), 60, "a new engine serves")


def killed(server, alice, bob):
    """The engine is killed twice: with work in it, which the next engine goes on with, and without."""
    streams = at_once(lambda: alice.complete(200, stream=True), lambda: bob.complete(200))
    time.sleep(1)
    kill_the_engine(server)
    for stream in streams:
        stream.join()
    kill_the_engine(server)


def reread(server, keys):
    """SIGHUP with the same keys, and with a file that is empty."""
    text = keys.read_text()
    for content in (text, ""):
        keys.write_text(content)
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
    keys.write_text(text)


def limited(carol):
    """More requests in a minute than --rpm allows to a key."""
    wait_until(lambda: carol.chat(SECRET_WORD, 1).status == 429, 20, "a refusal")
    assert carol.chat(SECRET_WORD, 1).status == 429


def record(folder):
    """The log of one server, as it was written."""
    keys = folder / "keys"
    names = [secrets.token_hex(16) for _ in range(3)]
    keys.write_text("\n".join(names) + "\n")
    server = Server(folder / "llamero.jsonl", *OPTIONS, "--api-key-file", keys, "--prefix-cache-dir", folder / "cache").wait_ready()
    try:
        alice, bob, carol = (Client(server, key) for key in names)
        served(alice, bob, carol)
        wrong(server, alice, bob)
        leave_a_stream(alice)
        overloaded(alice, bob, carol)
        reread(server, keys)
        killed(server, alice, bob)
        limited(carol)
        last = at_once(lambda: alice.complete(900, stream=True))
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        bob.complete(4)
        last[0].join()
        assert server.process.wait(30) == 0
    finally:
        for child in children(server.pid):
            os.kill(child, signal.SIGKILL)
        server.process.kill()
    return server.log.read_text(), names


def without_paths(log, folder):
    """The log with the paths of another machine."""
    log = log.replace(str(MODEL_FILE.parent), "/models").replace(str(MODEL_FILE.resolve().parent), "/models")
    return log.replace(str(folder), "/var/lib/llamero")


def main():
    if missing():
        raise SystemExit(missing())
    with tempfile.TemporaryDirectory() as folder:
        log, keys = record(Path(folder))
        log = without_paths(log, Path(folder))
    lines = log.splitlines()
    for secret in [*keys, SECRET_WORD, str(ROOT), str(Path.home()), "/tmp/"]:
        assert secret not in log, f"{secret!r} is in the log"
    assert all(json.loads(line)["timestamp"] for line in lines)
    FIXTURE.parent.mkdir(exist_ok=True)
    FIXTURE.write_text(log)
    counts = re.findall(r'"message":"(generation|request)"', log)
    print(f"{len(lines)} lines, {counts.count('generation')} generations, {counts.count('request')} other requests")


if __name__ == "__main__":
    main()
