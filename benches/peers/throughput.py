"""Rows that put a workload of `llamero bench` on a server. Each gives figures by name."""

import json
import subprocess
import sys

import load
from figures import PEER

# Tokens that prompts of W2 have in common, and each for itself.
W2_COMMON, W2_OWN = 620, 40


# Shares of the peer's capacity at which requests arrive in the open loop.
LOADS = (0.5, 0.8, 1.2)


def w1(args, server, round_number):
    # No prompt twice on a server: it would be in the cache.
    return {f"w1 C={concurrency}, tokens/s": load.rate(args, server, "w1", concurrency, requests, round_number * 100 + concurrency)
            for concurrency, requests in counts(args)}


def sampled(args, server, round_number):
    """W1 at temperature 0.8, where texts do not repeat themselves and guesses fail."""
    figures = {}
    for concurrency, requests in counts(args):
        group = load.run(args, server, "w1", concurrency, requests, round_number * 100 + 20 + concurrency, temperature=0.8)["groups"]["requests"]
        figures[f"w1 at 0.8, C={concurrency}, tokens/s"] = group["output_tokens_per_second"]
        figures[f"w1 at 0.8, C={concurrency}, TTFT p50, ms"] = group["ttft_ms"]["p50"]
    return figures


def counts(args):
    """Numbers of requests at a time, and in all."""
    pairs = ((1, 2), (4, 4), (16, 16)) if args.quick else ((1, 6), (4, 16), (16, 32))
    return [(concurrency, requests) for concurrency, requests in pairs if concurrency <= args.sequences]


def open_loop(args, server, round_number):
    """W1 at temperature 0.8 at random times, whether earlier requests have ended or not."""
    figures, requests = {}, 8 if args.quick else 40
    for share in LOADS:
        result = load.run(args, server, "w1", None, requests, round_number * 100 + 40 + round(10 * share), temperature=0.8,
                          rate=share * args.capacity, slo_ttft_ms=5000, slo_tpot_ms=250)
        group, name = result["groups"]["requests"], f"open loop at {share:.0%},"
        figures |= {f"{name} TTFT p99, ms": group["ttft_ms"]["p99"], f"{name} ITL p99, ms": group["itl_ms"]["p99"],
                    f"{name} good requests/s": group["goodput_per_second"]}
    return figures


def capacity(args, server):
    """Requests a second in a closed loop of W1 with as many at a time as there are sequences."""
    load.rate(args, server, "w1", args.sequences, args.sequences, 7776, max_tokens=16)
    result = load.run(args, server, "w1", args.sequences, 4 * args.sequences, 7777, temperature=0.8)
    return result["groups"]["requests"]["requests_per_second"]


def long(args, server, round_number):
    """One stream after prompts of thousands of tokens."""
    figures = {}
    for number, history in enumerate(args.histories):
        # Of a seed each: a prompt of one seed begins with the shorter ones, which are in the cache.
        group = load.run(args, server, "w1", 1, 1, round_number * 100 + 90 + number, input_tokens=history, max_tokens=64,
                         temperature=0.8)["groups"]["requests"]
        figures |= {f"{history} tokens of history, decode tokens/s": 1000 / group["itl_ms"]["mean"],
                    f"{history} tokens of history, prefill tokens/s": 1000 * history / group["ttft_ms"]["p50"]}
    return figures


def neighbour(args, server, round_number):
    """W1 beside a process that wants a core for itself."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as spinning:
        try:
            requests = 4 if args.quick else 8
            return {"busy neighbour, w1 C=4, tokens/s": load.rate(args, server, "w1", 4, requests, round_number * 100 + 50)}
        finally:
            spinning.kill()


def w2(args, server, round_number):
    if args.sequences < 8:
        return {}
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
    if server.name == PEER or args.sequences < 5:
        return {}  # Four streams fill four slots, and no long prompt would run beside them.
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
    """True if a text is an object of W4's schema (src/cli/bench/workload.rs)."""
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
