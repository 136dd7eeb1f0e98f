"""Greedy streams through the openai client, and the rule by which two of them count as equal.

Batch shape changes float sums, so a greedy token may differ where the two likeliest tokens lie within EPSILON of
each other (natural log). Where a CPU has AMX, llama.cpp multiplies a single row with another kernel than two and more: by
llama-cpp-python alone (a token per batch against several, Q4_1, three texts) the log-probability of the likeliest token
moves by up to 0.21, and so a lead by up to twice that; between two, 4, … 512 rows by 0.005 at most. Up to there, and everywhere else, texts must be the same.
"""

import asyncio
from dataclasses import dataclass, field

import openai

EPSILON = 0.5

PROMPTS = [
    "The capital of France is",
    "Once upon a time there was a shepherd who",
    "To boil an egg, first",
    "The three primary colours are",
    "def fibonacci(n):",
    "My favourite season is winter because",
    "The president signed the law, and then",
    "In the year 2050, computers",
]


@dataclass
class Stream:
    """The content of one stream: its tokens' texts, and for each the two best log-probabilities."""

    tokens: list = field(default_factory=list)
    top: list = field(default_factory=list)
    text: str = ""
    finish_reason: str = None
    error: str = None


async def follow(client, model, prompt, max_tokens):
    """Runs one greedy stream to its end. An error event is noted, never raised; silence raises TimeoutError."""
    stream = Stream()
    try:
        chunks = await client.completions.create(model=model, prompt=prompt, max_tokens=max_tokens, temperature=0, logprobs=2, stream=True,
                                                 extra_body={"ignore_eos": True})
        async for chunk in chunks:
            choice = chunk.choices[0]
            stream.text += choice.text
            if choice.logprobs:
                stream.tokens += choice.logprobs.tokens
                stream.top += [sorted(top.values(), reverse=True) for top in choice.logprobs.top_logprobs]
            stream.finish_reason = choice.finish_reason or stream.finish_reason
    except openai.APIError as error:
        stream.error = str(error)
    return stream


async def follow_all(client, model, max_tokens, prompts=tuple(PROMPTS), deadline=120):
    """All prompts at once; fails if any hangs."""
    return await asyncio.wait_for(asyncio.gather(*(follow(client, model, prompt, max_tokens) for prompt in prompts)), deadline)


def difference(reference, stream):
    """None if `stream` equals `reference` by the margin rule, else a sentence on where and by how much they differ."""
    for position, (expected, got) in enumerate(zip(reference.tokens, stream.tokens)):
        if expected != got:
            best, second = reference.top[position][:2]
            if best - second <= EPSILON:
                return None
            return f"token {position} is {got!r} instead of {expected!r}, whose margin was {best - second:.3f}"
    if reference.text != stream.text:
        return f"the text is {stream.text!r} instead of {reference.text!r}"
    return None
