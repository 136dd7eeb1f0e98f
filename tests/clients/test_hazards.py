"""Requests that kill or confuse other servers on llama.cpp: each is refused, and nobody else notices."""

import asyncio
import http.client
import json
import threading

import greedy
import openai
import pytest

VOCABULARY = 49152


def completion(**fields):
    return "/v1/completions", json.dumps({"model": "MODEL", "prompt": "a", "max_tokens": 1, **fields}).encode()


def raw_completion(fragment):
    return "/v1/completions", b'{"model": "MODEL", "prompt": "a", "max_tokens": 1, ' + fragment + b"}"


def generate(**fields):
    return "/generate", json.dumps({"prompt": "a", "max_tokens": 1, **fields}).encode()


CORPUS = {
    # Token ids (`.at()` throws in llama.cpp).
    "id -1": completion(prompt=[-1]),
    "id one past the vocabulary": completion(prompt=[VOCABULARY]),
    "id 2^31": completion(prompt=[2**31]),
    "id 2^64": completion(prompt=[2**64]),
    "id 1.5": completion(prompt=[1.5]),
    "id true": completion(prompt=[True]),
    "bad id in the second prompt": completion(prompt=[[1, 2], [-7]]),
    "mixed prompts": completion(prompt=["a", [1]]),
    "mixed tokens": completion(prompt=[1, "a"]),
    "empty prompts": completion(prompt=[]),
    "empty token prompt": completion(prompt=[[]]),
    "33 prompts": completion(prompt=["a"] * 33),
    "prompt object": completion(prompt={"a": 1}),
    # Written out, some tokens are long: the text would not fit into a frame between the processes.
    "300,000 ids written out by echo": completion(prompt=[VOCABULARY - 1] * 300_000, echo=True),
    "300,000 ids written out for logprobs": completion(prompt=[VOCABULARY - 1] * 300_000, logprobs=1),
    "logit_bias key": completion(logit_bias={"abc": 1}),
    "logit_bias value": completion(logit_bias={"1": 101}),
    "logit_bias size": completion(logit_bias={str(i): 1 for i in range(301)}),
    # Numbers.
    "max_tokens -2": completion(max_tokens=-2),
    "max_tokens 1e300": raw_completion(b'"max_tokens": 1e300'),
    "max_tokens 2^63": completion(max_tokens=2**63),
    "n 0": completion(n=0),
    "n 129": completion(n=129),
    "n 10^9": completion(n=10**9),
    "best_of 129": completion(best_of=129),
    "best_of under n": completion(best_of=1, n=2),
    "best_of in a stream": completion(best_of=2, stream=True),
    "suffix": completion(suffix="b"),
    "logprobs -1": completion(logprobs=-1),
    "temperature -1": completion(temperature=-1),
    "temperature 3": completion(temperature=3),
    "temperature NaN": raw_completion(b'"temperature": NaN'),
    "temperature Infinity": raw_completion(b'"temperature": Infinity'),
    "temperature 1e999": raw_completion(b'"temperature": 1e999'),
    "temperature text": completion(temperature="hot"),
    "temperature bool": completion(temperature=True),
    "top_p 2": completion(top_p=2),
    "top_p -0.1": completion(top_p=-0.1),
    "min_p 2": completion(min_p=2),
    "top_k 10^30": completion(top_k=10**30),
    "repetition_penalty 0": completion(repetition_penalty=0),
    "presence_penalty 3": completion(presence_penalty=3),
    "frequency_penalty -3": completion(frequency_penalty=-3),
    # Stop strings.
    "65 stops": completion(stop=["a"] * 65),
    "10,000 stops": completion(stop=["x"] * 10_000),
    "long stop": completion(stop=["x" * 257]),
    "stop number": completion(stop=[1]),
    # Long texts without a break (the pre-tokenizers recurse per character).
    "300 kB of A": completion(prompt="A" * 300_000),
    "300 kB of digits": completion(prompt="7" * 300_000),
    "300 kB of newlines": completion(prompt="\n" * 300_000),
    "75,000 emoji": completion(prompt="🦙" * 75_000),
    "100,000 ideographs": completion(prompt="語" * 100_000),
    "100,000 combining marks": completion(prompt="a" + "\u0301" * 100_000),
    "1.9 MB of words": completion(prompt="word " * 380_000),
    # JSON itself.
    "depth 65": raw_completion(b'"x": ' + b"[" * 65 + b"]" * 65),
    "depth 100,000": raw_completion(b'"x": ' + b"[" * 100_000 + b"]" * 100_000),
    "depth 100,000 unclosed": ("/v1/completions", b"[" * 100_000),
    "not UTF-8": raw_completion(b'"user": "\xff"'),
    "not JSON": ("/v1/completions", b"{'model': 1}"),
    "no body": ("/v1/completions", b""),
    "a list": ("/v1/completions", b"[]"),
    "3 MB": ("/v1/completions", b" " * 3_000_000),
    "model number": ("/v1/completions", b'{"model": 5, "prompt": "a"}'),
    # The legacy route.
    "legacy: no prompt": ("/generate", b"{}"),
    "legacy: 300 kB of A": generate(prompt="A" * 300_000),
    "legacy: prompt number": generate(prompt=5),
    "legacy: temperature NaN": ("/generate", b'{"prompt": "a", "temperature": NaN}'),
    "legacy: depth 100,000": ("/generate", b'{"prompt": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "legacy: not UTF-8": ("/generate", b'{"prompt": "\xff"}'),
    "legacy: 3 MB": ("/generate", b" " * 3_000_000),
    "legacy: stop number": generate(stop=[1]),
    "legacy: 10,000 stops": generate(stop=["x"] * 10_000),
    "legacy: max_tokens text": generate(max_tokens="x"),
}


def send(server, path, body):
    """One request on a connection of its own; the body is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("POST", path, body.replace(b"MODEL", server.model.encode()), {"content-type": "application/json"})
    except (BrokenPipeError, ConnectionResetError):
        pass  # The server may answer and close before it has read a body that is too large.
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.fixture(scope="module")
def server(start_server):
    with start_server() as running:
        yield running


def test_a_corpus_of_hazards_is_refused_while_streams_run_undisturbed(server):
    engine = server.engine_pid()
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=120)
    prompts = tuple(greedy.PROMPTS[:4])
    reference = asyncio.run(greedy.follow_all(client, server.model, 48, prompts))
    stop = threading.Event()
    background = []

    def stream_until_stopped():
        async def rounds():
            fresh = openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=120)
            while not stop.is_set():
                background.append(await greedy.follow_all(fresh, server.model, 48, prompts))

        asyncio.run(rounds())

    thread = threading.Thread(target=stream_until_stopped)
    thread.start()
    wrong = []
    try:
        for name, (path, body) in CORPUS.items():
            status, answer = send(server, path, body)
            if not 400 <= status < 500:
                wrong.append(f"{name}: {status} {answer[:200]!r}")
            if server.engine_pid() != engine:
                wrong.append(f"{name}: the engine died")
                engine = server.engine_pid()
    finally:
        stop.set()
        thread.join(120)

    assert not wrong, "\n".join(wrong)
    assert background, "no stream ran beside the corpus"
    for streams in background:
        for expected, stream in zip(reference, streams):
            assert stream.error is None, stream.error
            assert (found := greedy.difference(expected, stream)) is None, found


@pytest.mark.parametrize("name", ["NUL", "controls", "escapes"])
def test_odd_but_lawful_text_is_served(server, name):
    text = {"NUL": "a\0b", "controls": "\x01\x02\x1b[31m", "escapes": "</s><|im_end|>\u2028"}[name]

    status, answer = send(server, *completion(prompt=text))

    assert status == 200, answer
    assert json.loads(answer)["usage"]["completion_tokens"] == 1


def test_300_kb_of_spaces_are_served_or_refused_but_kill_nothing(server):
    engine = server.engine_pid()

    # Vocabularies with long runs of spaces as one token make few tokens of it: it may fit the context.
    status, answer = send(server, *completion(prompt=" " * 300_000))

    assert status in (200, 400), answer[:200]
    assert server.engine_pid() == engine
