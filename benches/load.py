"""A light HTTP load generator: asyncio sockets and nothing else, so that it takes little of the cores under test.

Speaks /v1/completions with token-id prompts and SSE, which llamero and llama-server both understand.
"""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field


@dataclass
class Result:
    """One streamed request: seconds from its start."""

    start: float
    ttft: float = 0.0
    total: float = 0.0
    chunks: list = field(default_factory=list)  # absolute arrival times of text chunks
    error: str = ""

    @property
    def gaps(self):
        return [later - earlier for earlier, later in zip(self.chunks, self.chunks[1:])]


def prompt(rng, tokens, low=1000, high=40000):
    """A prompt of this many tokens that shares nothing with any other."""
    return [rng.randrange(low, high) for _ in range(tokens)]


async def complete(port, prompt_tokens, max_tokens, deadline=300.0):
    """Streams one completion and notes when each chunk came."""
    result = Result(start=time.perf_counter())
    try:
        await asyncio.wait_for(_complete(port, prompt_tokens, max_tokens, result), deadline)
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
        result.error = repr(error)
    result.total = time.perf_counter() - result.start
    return result


async def _complete(port, prompt_tokens, max_tokens, result):
    body = json.dumps({"model": "bench", "prompt": prompt_tokens, "max_tokens": max_tokens,
                       "temperature": 0, "ignore_eos": True, "stream": True}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    status = await reader.readline()
    if b" 200 " not in status:
        result.error = (status + await reader.read(2000)).decode(errors="replace")
        writer.close()
        return
    done = False
    while line := await reader.readline():
        if line.startswith(b"data: [DONE]"):
            done = True
        elif line.startswith(b"data: {"):
            if line.startswith(b'data: {"error"'):
                result.error = line.decode(errors="replace")
            result.chunks.append(time.perf_counter())
            if len(result.chunks) == 1:
                result.ttft = result.chunks[0] - result.start
    if not done and not result.error:
        result.error = "the stream ended without [DONE]"
    writer.close()


async def closed_loop(port, prompts, max_tokens, concurrency):
    """Keeps `concurrency` requests running until all prompts are done. Returns (seconds, results)."""
    queue = list(reversed(prompts))
    results = []

    async def client():
        while queue:
            results.append(await complete(port, queue.pop(), max_tokens))

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(concurrency)))
    return time.perf_counter() - begun, results


def percentile(values, share):
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def fail_on_errors(results):
    errors = [result.error for result in results if result.error]
    if errors:
        raise SystemExit(f"{len(errors)} of {len(results)} requests failed, first: {errors[0]}")


def seeded(name):
    return random.Random(name)
