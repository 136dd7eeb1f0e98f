"""See the package."""

import http.client
import json
import sys
import tempfile
from pathlib import Path

import golden
from support import Server

from .normal import normal
from .requests import requests

# Guesses depend on the time that steps take, and with them the tokens of an event.
OPTIONS = ["--num-speculative-tokens", 0, "--max-model-len", 4096, "--max-num-seqs", 4]


def ask(port, method, path, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return normal(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def record(path):
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "log", *OPTIONS).wait_ready()
        try:
            answers = {name: ask(server.port, *request) for name, request in requests().items()}
        finally:
            server.stop()
    Path(path).write_text(json.dumps(answers, indent=1, ensure_ascii=False))
    print(f"{len(answers)} answers: {sum(answer['status'] < 400 for answer in answers.values())} are no errors")


def compare(first, second):
    before, after = (json.loads(Path(path).read_text()) for path in (first, second))
    differences = [name for name in before | after if before.get(name) != after.get(name)]
    for name in differences:
        print(f"=== {name}\n--- {json.dumps(before.get(name), ensure_ascii=False)}\n+++ {json.dumps(after.get(name), ensure_ascii=False)}")
    print(f"{len(differences)} of {len(before | after)} answers differ")
    return 1 if differences else 0


def main():
    match sys.argv[1:]:
        case ["record", path]:
            record(path)
        case ["compare", first, second]:
            sys.exit(compare(first, second))
        case _:
            sys.exit(golden.__doc__)


main()
