"""The attacks: name, and a function of port and keys that does it and returns what was answered wrongly."""

from .requests import COMPLETIONS, chat, completion, encode, extreme_numbers, long_texts, many_keys, slow_schemas
from .ways import ask, ask_in_pieces, at_once, leave

WRONG_KEY = "sk-wrong"
# Size of a body that a server may answer before it has read all of it.
BODY_BYTES = 800_000


def attacks():
    """All of them, by name."""
    made = {}
    for name, request, right in extreme_numbers():
        made[name] = asking(request, right, times=1)
    for name, request, right in many_keys():
        made[name] = asking(request, right, times=2)
    for name, request, right in slow_schemas():
        made[name] = asking(request, right, times=8)
    for name, request, right in long_texts():
        made[name] = asking(request, right, times=12 if name == "text: tokenize words" else 2)
    return made | early_answers() | clients_that_leave() | {"flood: wrong keys": flood}


def wrong(answers, right):
    return sorted({str(answer) for answer in answers if answer not in right})


def asking(request, right, times):
    path, body = request

    def attack(port, key):
        sent = encode(body)
        return wrong(at_once(times, lambda: ask(port, path, key, sent)), right | {429})

    return attack


def flood(port, _):
    """Six hundred small requests that are refused, each of which is a line in the log."""
    body = encode(completion()[1])
    return sorted({problem for _ in range(60) for problem in wrong(at_once(10, lambda: ask(port, COMPLETIONS, WRONG_KEY, body)), {401})})


def early_answers():
    """Answers that a server knows from the head alone, to clients that go on sending."""
    filler = encode({"model": "m", "prompt": "x" * BODY_BYTES})
    huge = b" " * 9_000_000

    def early(path, right, *, body=filler, send=ask_in_pieces, key=WRONG_KEY, times=8):
        return lambda port, own: wrong(at_once(times, lambda: send(port, path, key or own, body)), right)

    return {
        "early: 401 in pieces": early(COMPLETIONS, {401}),
        "early: 401 in one": early(COMPLETIONS, {401}, send=ask),
        "early: 401 of chat": early("/v1/chat/completions", {401}),
        "early: 401 of messages": early("/v1/messages", {401}),
        "early: 401 of generate": early("/generate", {401}),
        "early: 401 of an unknown path": early("/nowhere", {401}),
        "early: 404": early("/nowhere", {404}, key=None),
        "early: 405": early("/v1/models", {405}, key=None),
        "early: 413": early(COMPLETIONS, {413}, body=huge, key=None, times=2),
        "early: 413 in one": early(COMPLETIONS, {413}, body=huge, send=ask, key=None, times=2),
        "early: 413 of generate": early("/generate", {413}, body=huge, key=None, times=2),
    }


def clients_that_leave():
    """Sixty clients that are gone before their answer, each in another way."""
    long_answer = encode(completion(max_tokens=2_000, ignore_eos=True)[1])
    long_prompt = encode(completion(prompt="The river ran on. " * 500, max_tokens=500, ignore_eos=True)[1])
    conversation = encode(chat(max_tokens=2_000)[1])
    next_request = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    def leaving(path, body, **how):
        return lambda port, key: [problem for problem in at_once(20, lambda: leave(port, path, key, body, **how)) if problem]

    return {
        "gone: plainly": leaving(COMPLETIONS, long_answer),
        "gone: after a line end": leaving(COMPLETIONS, long_answer, after=b"\r\n"),
        "gone: after the next request": leaving(COMPLETIONS, long_answer, after=next_request),
        "gone: after half a request": leaving(COMPLETIONS, long_answer, after=next_request[:20]),
        "gone: reset": leaving(COMPLETIONS, long_answer, reset=True),
        "gone: in prefill": leaving(COMPLETIONS, long_prompt, after=b"\r\n"),
        "gone: from a chat": leaving("/v1/chat/completions", conversation, after=b"\r\n"),
    }
