#!/usr/bin/env python3
"""Mixed load on one server for many minutes, and whether anything is left behind: sequences, KV cells, memory, failed checks.

  benches/soak.py --model models/smollm2-135m-instruct.gguf --minutes 30 [--llamero target/release/llamero] [-- options of serve]

Clients send distinct and shared prompts, long and short ones, schemas, several choices, and some hang up in the middle. Any answer but 200, a
death of the engine, a failed integrity check, a sequence or cell in use when all is quiet, or memory that still grows in the
last third of the time makes it fail.
"""

import argparse
import http.client
import json
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

CLIENTS = 12
# Memory may grow by this much from the second third of the time to the last.
MOST_GROWTH_MB = 16
WORDS = "sea llama wind stone river light paper green seven house song salt north quick ember glass thread cloud iron moss".split()
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}, "tags": {
    "type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 3}}, "required": ["name", "age", "tags"], "additionalProperties": False}


def text(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def requests(rng, shared):
    """One request of a random kind: its name, route, body, and after how many chunks the client hangs up."""
    sampled = {"model": "soak", "temperature": rng.choice([0, 0.8, 1.0]), "stream": True}
    if rng.random() < 0.5:
        # Without a seed tokens are guessed ahead.
        sampled["seed"] = rng.randrange(1 << 30)
    short = {**sampled, "prompt": text(rng, rng.randrange(4, 60)), "max_tokens": rng.randrange(1, 80)}
    kinds = {
        "short": ("/v1/completions", short, None),
        "shared": ("/v1/completions", {**short, "prompt": rng.choice(shared) + text(rng, rng.randrange(1, 20))}, None),
        "long": ("/v1/completions", {**short, "prompt": text(rng, rng.randrange(400, 900)), "max_tokens": 8}, None),
        "repeats": ("/v1/completions", {**short, "prompt": text(rng, 6) * 6, "temperature": 0}, None),
        "choices": ("/v1/completions", {**short, "n": 2, "logprobs": 2}, None),
        "schema": ("/v1/chat/completions", {**sampled, "messages": [{"role": "user", "content": text(rng, 8)}], "max_tokens": 120,
                                            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}, None),
        "cancelled": ("/v1/completions", {**short, "prompt": text(rng, rng.choice([5, 600])), "max_tokens": 200}, rng.randrange(0, 30)),
    }
    name = rng.choice(list(kinds))
    return name, *kinds[name]


def send(port, route, body, hang_up_after):
    """Sends a request and reads its stream; what is wrong with the answer, if anything."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request("POST", route, json.dumps(body), {"Content-Type": "application/json"})
        if hang_up_after == 0:
            return None
        answer = connection.getresponse()
        if answer.status != 200:
            return f"{answer.status} {answer.read(300)!r}"
        chunks, last = 0, b""
        while line := answer.readline():
            if not line.startswith(b"data: "):
                continue
            if b'"error"' in line[:20]:
                return repr(line[:300])
            last, chunks = line, chunks + 1
            if chunks == hang_up_after:
                return None
        return None if last.strip() == b"data: [DONE]" else f"the stream ended with {last[:200]!r}"
    finally:
        connection.close()


def client(port, seed, shared, deadline, results):
    rng = random.Random(seed)
    while time.monotonic() < deadline:
        name, route, body, hang_up_after = requests(rng, shared)
        try:
            fault = send(port, route, body, hang_up_after)
        except OSError as error:
            fault = repr(error)
        results.append((name, fault))
        if fault:
            # Otherwise a request that fails at once would be sent a thousand times a second.
            time.sleep(1)


def metrics(port):
    """Every sample of /metrics, summed over labels."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    sums = Counter()
    for name, value in re.findall(r"^([a-z_:]+)(?:\{[^}]*\})? ([-+0-9.eE]+)$", page, re.M):
        sums[name] += float(value)
    return sums


def memory_mb(pid):
    """Proportional memory of a process and of its children, MB, without the pages of the weights' file."""
    # A child belongs to the thread that started it.
    children = [(task / "children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    def of(each):
        with open(f"/proc/{each}/smaps_rollup") as rollup:
            return sum(int(line.split()[1]) for line in rollup if line.startswith(("Pss_Anon:", "Pss_Shmem:"))) / 1024

    return of(pid), sum(of(child) for of_task in children for child in of_task)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, holds, seconds):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"after {seconds} s: not {what}")
        time.sleep(0.2)


def is_ready(port):
    try:
        return metrics(port)["llamero:engine_up"] == 1
    except OSError:
        return False


def soak(args, port, process):
    """Puts the load on and returns what is wrong."""
    rng = random.Random(args.seed)
    shared = [text(rng, 300) + ". " for _ in range(4)]
    begun, results, memory = time.monotonic(), [], []
    deadline = begun + args.minutes * 60
    clients = [threading.Thread(target=client, args=(port, f"{args.seed} {n}", shared, deadline, results)) for n in range(CLIENTS)]
    for each in clients:
        each.start()
    while time.monotonic() < deadline:
        time.sleep(min(10, max(0.1, deadline - time.monotonic())))
        memory.append(memory_mb(process.pid))
    for each in clients:
        each.join()
    wait_until("quiet", lambda: metrics(port)["vllm:num_requests_running"] + metrics(port)["vllm:num_requests_waiting"] == 0, 60)
    end = metrics(port)
    faults = [f"{name}: {fault}" for name, fault in results if fault]
    third = len(memory) // 3
    thirds = [memory[:third], memory[third:2 * third], memory[2 * third:]]
    print(f"{len(results)} requests: {dict(Counter(name for name, _ in results))}")
    medians = [[statistics.median(process) for process in zip(*part)] for part in thirds]
    for name, values in zip(("gateway", "engine"), zip(*medians)):
        print(f"memory of the {name} in each third, median MB: " + ", ".join(f"{value:.1f}" for value in values))
    before, after = sum(medians[1]), sum(medians[2])
    for name in sorted(end):
        if name.startswith(("llamero:", "vllm:")) and name.endswith(("_total", "_perc", "running", "waiting")):
            print(f"  {name} {end[name]:g}")
    wrong = faults[:10]
    wrong += [f"{name} is {end[name]:g}" for name in
              ("vllm:kv_cache_usage_perc", "llamero:engine_deaths_total", "llamero:kv_cache_resets_total") if end[name]]
    if after > before + MOST_GROWTH_MB:
        wrong.append(f"memory grew by {after - before:.1f} MB")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--llamero", default="target/release/llamero")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("serve", nargs="*", help="options of llamero serve, after --")
    args = parser.parse_args()
    port = free_port()
    process = subprocess.Popen([args.llamero, "serve", "--model", args.model, "--served-model-name", "soak", "--port", str(port), "--log-level", "warn", *args.serve])
    try:
        wait_until("ready", lambda: is_ready(port), 120)
        wrong = soak(args, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    print("\n".join(wrong) or "nothing is left behind")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
