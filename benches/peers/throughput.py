"""Rows that put a workload of `llamero bench` on a server. Each gives figures by name."""

import json
import subprocess
import sys

import load
from figures import PEER

# Tokens that prompts of W2 have in common, and each for itself.
W2_COMMON, W2_OWN = 620, 40


def w1(args, server, round_number):
    counts = ((1, 2), (4, 4), (16, 16)) if args.quick else ((1, 6), (4, 16), (16, 32))
    # No prompt twice on a server: it would be in the cache.
    return {f"w1 C={concurrency}, tokens/s": load.rate(args, server, "w1", concurrency, requests, round_number * 100 + concurrency)
            for concurrency, requests in counts}


def neighbour(args, server, round_number):
    """W1 beside a process that wants a core for itself."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as spinning:
        try:
            requests = 4 if args.quick else 8
            return {"busy neighbour, w1 C=4, tokens/s": load.rate(args, server, "w1", 4, requests, round_number * 100 + 50)}
        finally:
            spinning.kill()


def w2(args, server, round_number):
    requests = 8 if args.quick else 24
    before = server.metric("llamero:prefill_rows_total") if server.is_ours else 0
    group = load.run(args, server, "w2", 8, requests, round_number * 100 + 60)["groups"]["requests"]
    if server.is_ours:
        computed = server.metric("llamero:prefill_rows_total") - before
    else:
        computed = group["prompt_tokens"] - group["cached_tokens"]
    return {"w2 C=8, tokens/s": group["output_tokens_per_second"], "w2 TTFT p99, ms": group["ttft_ms"]["p99"],
            "w2 prompt tokens computed / distinct": computed / (W2_COMMON + requests * W2_OWN)}


def w3(args, server, round_number):
    if server.name == PEER:
        return {}  # Four streams fill its four slots, and no long prompt would run beside them.
    tokens = 96 if args.quick else 256
    groups = load.run(args, server, "w3", 1, 32, round_number * 100 + 70, max_tokens=tokens)["groups"]
    return {"w3 streams, ITL p99, ms": groups["streams"]["itl_ms"]["p99"], "w3 streams, ITL p50, ms": groups["streams"]["itl_ms"]["p50"],
            "w3 long prompts, TTFT p50, ms": groups["long-prompts"]["ttft_ms"]["p50"]}


def w4(args, server, round_number):
    figures, texts = {}, []
    for concurrency, requests in ((1, 2), (4, 4)) if args.quick else ((1, 8), (4, 16)):
        result = load.run(args, server, "w4", concurrency, requests, round_number * 100 + 80 + concurrency)
        group = result["groups"]["requests"]
        figures[f"w4 C={concurrency}, tokens/s"] = group["output_tokens_per_second"]
        figures[f"w4 C={concurrency}, objects/s"] = group["requests_per_second"]
        texts += [record["text"] for record in result["records"]]
    return figures | {"w4 valid outputs, share": sum(map(is_person, texts)) / len(texts)}


def is_person(text):
    """Whether a text is an object of W4's schema (src/cli/bench/workload.rs)."""
    try:
        person = json.loads(text)
    except ValueError:
        return False
    name = lambda value: isinstance(value, str) and len(value) <= 12
    rules = {"first_name": name, "family_name": name, "age_in_years": lambda value: type(value) is int and 1 <= value <= 99,
             "is_registered": lambda value: isinstance(value, bool), "home_country": name,
             "favourite_colour": lambda value: value in ("red", "green", "blue", "yellow")}
    return isinstance(person, dict) and person.keys() == rules.keys() and all(rule(person[key]) for key, rule in rules.items())


def w5(args, server, round_number):
    counts = ((1, 4), (8, 16), (32, 64)) if args.quick else ((1, 16), (8, 64), (32, 128))
    return {f"w5 C={concurrency}, tokens/s": load.rate(args, server, "w5", concurrency, requests, round_number * 100 + concurrency)
            for concurrency, requests in counts}
