"""Compares texts of the same seed: forty prompts alone, beside others, from the cache, and across a death of the engine.

As a program it prints, for a model file, how many of the forty texts are equal to those of a fresh server that got one request after the other:

  LLAMERO_TEST_MODEL=models/smollm2-135m-instruct.gguf python3 tests/clients/seeds.py [--max-tokens 32] [-- options of serve]

Equal is to the last byte. Every case has a fresh server, so that only what its name says is different. Needs nothing but Python.
"""

import argparse
import http.client
import json
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import support

# Of several lengths and kinds, so that some end in a step of their own and some beside others.
PROMPTS = [
    "The capital of France is", "Once upon a time there was a shepherd who", "To boil an egg, first", "The three primary colours are",
    "def fibonacci(n):", "My favourite season is winter because", "The president signed the law, and then", "In the year 2050, computers",
    "SELECT name, age FROM people WHERE", "#include <stdio.h>\n\nint main(void) {\n", "- apples\n- pears\n-", "1, 1, 2, 3, 5, 8,",
    "Dear Sir or Madam,\n\nI am writing to", "Q: Why is the sky blue?\nA:", "The recipe needs 200 g of flour, two eggs and",
    "Der Hund läuft durch den", "El perro corre por", "Il était une fois", "The temperature fell to -40 °C, which is",
    "To be, or not to be, that is", "It was the best of times, it was the worst of times,", "Call me Ishmael. Some years ago",
    "A long list of colours: red, green, blue, yellow, orange, purple, brown, black, white, grey, pink, cyan, magenta, and",
    "The meeting is on Monday. The meeting is on Tuesday. The meeting is on", "Rust is a programming language that",
    "The end of the story is that", "She opened the door and saw", "The best way to learn a language is", "Water boils at",
    "The old lighthouse keeper had a secret:", "In physics, energy is", "The train to Berlin leaves at", "A haiku about rain:\n",
    "Three reasons to get up early:\n1.", "The cat sat on the", "Nobody expected the", "Instructions for use: open the box,",
    "My grandmother used to say that", "The opposite of hot is", "After the war, the city",
]
KINDS = {"seeded": {"temperature": 0.8}, "greedy": {"temperature": 0}}
CASES = ["cold again", "repeated", "half cached", "beside 3", "beside 19", "across kill -9"]
# Of the streams that an engine dies under, each has delivered so many pieces before, and not all of its text.
PIECES_BEFORE_DEATH = 6
STREAMS_PER_DEATH = 8
OPTIONS = ["--max-num-seqs", "20", "--max-model-len", "512"]
DEADLINE = 600


class Asked:
    """A streamed completion: its text when it is whole, and how many pieces have come."""

    def __init__(self, server, prompt, number, kind, max_tokens):
        self.text, self.pieces = "", 0
        fields = {"model": server.model, "prompt": prompt, "seed": 1000 + number, "max_tokens": max_tokens, "stream": True, "ignore_eos": True}
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        self.connection.request("POST", "/v1/completions", json.dumps(fields | KINDS[kind]), {"Content-Type": "application/json"})

    def read(self):
        answer = self.connection.getresponse()
        assert answer.status == 200, answer.read(300)
        while line := answer.readline():
            if line.startswith(b"data: {"):
                piece = json.loads(line[6:])
                assert "error" not in piece, piece
                self.text += "".join(choice["text"] for choice in piece["choices"])
                self.pieces += 1
        self.connection.close()
        return self.text


def ask(server, number, kind, max_tokens, prompt=None):
    return Asked(server, PROMPTS[number] if prompt is None else prompt, number, kind, max_tokens).read()


def alone(server, kind, max_tokens):
    """One after the other."""
    return [ask(server, number, kind, max_tokens) for number in range(len(PROMPTS))]


def half_cached(server, kind, max_tokens):
    """One after the other, each after another prompt with the same first half."""
    texts = []
    for number, prompt in enumerate(PROMPTS):
        ask(server, number, kind, 1, prompt[: len(prompt) // 2] + " zebra")
        texts.append(ask(server, number, kind, max_tokens))
    return texts


def beside(server, kind, max_tokens, others):
    """So many others are always under way."""
    with ThreadPoolExecutor(others + 1) as pool:
        return list(pool.map(lambda number: ask(server, number, kind, max_tokens), range(len(PROMPTS))))


def across_deaths(server, kind, max_tokens):
    """Several at once, and the engine is killed when all of them have begun and none has ended."""
    texts = []
    for first in range(0, len(PROMPTS), STREAMS_PER_DEATH):
        engine = server.engine_pid()
        asked = [Asked(server, PROMPTS[number], number, kind, max_tokens) for number in range(first, first + STREAMS_PER_DEATH)]
        with ThreadPoolExecutor(STREAMS_PER_DEATH) as pool:
            reading = [pool.submit(one.read) for one in asked]
            support.wait_until(lambda: all(one.pieces >= PIECES_BEFORE_DEATH for one in asked), DEADLINE, "all streams have begun")
            assert not all(one.done() for one in reading), "all streams ended before the engine could be killed"
            os.kill(engine, signal.SIGKILL)
            texts += [one.result() for one in reading]
        support.wait_until(lambda: server.engine_pid() not in (None, engine) and server.ready(), DEADLINE, "a new engine serves")
    return texts


def texts_of(case, serving, kind, max_tokens):
    """The texts of one case, each from a server of its own, which `serving()` gives."""
    with serving() as server:
        if case == "repeated":
            alone(server, kind, max_tokens)
        if case == "half cached":
            return half_cached(server, kind, max_tokens)
        if case.startswith("beside "):
            return beside(server, kind, max_tokens, int(case.split()[1]))
        if case.startswith("across "):
            return across_deaths(server, kind, max_tokens)
        return alone(server, kind, max_tokens)


def equal(expected, texts):
    assert len(expected) == len(texts) == len(PROMPTS)
    return sum(a == b for a, b in zip(expected, texts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("serve", nargs="*", help="options of llamero serve, after --")
    args = parser.parse_args()
    log = Path(tempfile.mkdtemp()) / "log"
    serving = lambda: support.serving(log, *OPTIONS, *args.serve)  # noqa: E731
    print(f"{support.MODEL_FILE.name}, {args.max_tokens} tokens, equal of {len(PROMPTS)}", flush=True)
    for kind in args.kinds:
        expected = texts_of("cold", serving, kind, args.max_tokens)
        for case in args.cases:
            begun = time.monotonic()
            found = equal(expected, texts_of(case, serving, kind, args.max_tokens))
            print(f"{kind:<8} {case:<16} {found:>3}   ({time.monotonic() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
