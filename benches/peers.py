#!/usr/bin/env python3
"""llamero beside llama-server on one machine: same model file, same threads, one after the other, A B A B.

  benches/peers.py --model models/smollm2-135m-instruct.gguf --llama-server PATH/llama-server [--rounds 3] [--json FILE]

Workloads (docs/benchmarks says more):
  w1     distinct prompts, 104 tokens in, 64 out, 1 / 4 / 16 at a time: output tokens per second
  w3     four running streams while 700-token prompts keep arriving: gaps between their tokens
  eight  eight requests at once against the same eight in a row (llamero alone)
Only ratios from one run count. Without --llama-server only llamero is measured.
"""

import argparse
import asyncio
import hashlib
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import time
import urllib.request

import load

CONTEXT = 2048
SEQUENCES = 16


class Server:
    """A server process on a free port, stopped by SIGTERM."""

    def __init__(self, name, command, ready):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name = name
        self.log = open(f"/tmp/bench-{name}.log", "w")
        self.process = subprocess.Popen([*command, "--port", str(self.port)], stdout=self.log, stderr=self.log)
        deadline = time.time() + 120
        while time.time() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{ready}", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
        raise SystemExit(f"{name} did not come up, see {self.log.name}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def llamero(args):
    return Server("llamero", [args.llamero, "serve", "--model", args.model, "--served-model-name", "bench", "--max-model-len", str(CONTEXT),
                              "--max-num-seqs", str(SEQUENCES), "--threads", str(args.threads), *args.llamero_args.split()], "/readyz")


def llama_server(args):
    # Its best setting of those tried: one KV stream for each of 16 slots.
    return Server("llama-server", [args.llama_server, "-m", args.model, "-c", str(CONTEXT * SEQUENCES), "-np", str(SEQUENCES),
                                   "-t", str(args.threads), "--no-webui", *args.peer_args.split()], "/health")


async def w1(port, tag):
    """Output tokens per second at each concurrency."""
    rates = {}
    for concurrency, requests in ((1, 4), (4, 12), (16, 32)):
        rng = load.seeded(f"w1 {tag} {concurrency}")
        seconds, results = await load.closed_loop(port, [load.prompt(rng, 104) for _ in range(requests)], 64, concurrency)
        load.fail_on_errors(results)
        rates[f"C={concurrency} tok/s"] = requests * 64 / seconds
    return rates


async def w3(port, tag):
    """Gaps of four streams, first alone, then while 700-token prompts arrive one after the other."""
    rng = load.seeded(f"w3 {tag}")
    alone = await asyncio.gather(*(load.complete(port, load.prompt(rng, 32), 96) for _ in range(4)))
    load.fail_on_errors(alone)
    streams = [asyncio.create_task(load.complete(port, load.prompt(rng, 32), 256)) for _ in range(4)]
    await asyncio.sleep(1.0)
    disturbers = []
    while not all(stream.done() for stream in streams) and len(disturbers) < 4:
        disturbers.append(await load.complete(port, load.prompt(rng, 700), 1))
    disturbed = await asyncio.gather(*streams)
    load.fail_on_errors(list(disturbed) + disturbers)
    quiet = [gap for result in alone for gap in result.gaps]
    # Only the gaps while a long prompt was there.
    windows = [(result.start, result.start + result.total) for result in disturbers]
    noisy = [later - earlier for result in disturbed for earlier, later in zip(result.chunks, result.chunks[1:])
             if any(begin <= later and earlier <= end for begin, end in windows)]
    median = statistics.median(quiet)
    return {"ITL p50 alone ms": median * 1e3, "ITL p99 alone ms": load.percentile(quiet, 0.99) * 1e3,
            "ITL p50 ms": statistics.median(noisy) * 1e3, "ITL p99 ms": load.percentile(noisy, 0.99) * 1e3, "ITL max ms": max(noisy) * 1e3,
            "p99 / median alone": load.percentile(noisy, 0.99) / median,
            "long TTFT s": statistics.median(result.ttft for result in disturbers)}


async def eight(port, tag):
    """Time of eight requests at once over the time of eight in a row."""
    rng = load.seeded(f"eight {tag}")
    in_a_row, results = await load.closed_loop(port, [load.prompt(rng, 32) for _ in range(8)], 64, 1)
    load.fail_on_errors(results)
    at_once, results = await load.closed_loop(port, [load.prompt(rng, 32) for _ in range(8)], 64, 8)
    load.fail_on_errors(results)
    return {"in a row s": in_a_row, "at once s": at_once, "at once / in a row": at_once / in_a_row}


def run(args):
    table = {}
    for round_number in range(args.rounds):
        for start in [llamero] + ([llama_server] if args.llama_server else []):
            with start(args) as server:
                asyncio.run(load.closed_loop(server.port, [load.prompt(load.seeded("warm"), 16)], 8, 1))
                for name, workload in (("w1", w1), ("w3", w3), ("eight", eight)):
                    if name in args.workloads and not (name == "eight" and server.name != "llamero"):
                        figures = asyncio.run(workload(server.port, f"{round_number}"))
                        for figure, value in figures.items():
                            table.setdefault(f"{name} {figure}", {}).setdefault(server.name, []).append(value)
    return table


def setting(args, load_before):
    """What a reader needs to judge the figures; no paths of this machine."""
    with open("/proc/cpuinfo") as info:
        cpu = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    with open(args.model, "rb") as model:
        digest = hashlib.file_digest(model, "sha256").hexdigest()
    version = {program: subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
               for program in (args.llamero, args.llama_server) if program}
    return {"cpu": cpu, "cores": os.cpu_count(), "load before": load_before, "model": os.path.basename(args.model), "sha256": digest,
            "threads": args.threads, "rounds": args.rounds, "llamero args": args.llamero_args, "llama-server args": args.peer_args,
            "versions": {os.path.basename(program): (out.stdout + out.stderr).strip() for program, out in version.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--llamero", default="target/release/llamero")
    parser.add_argument("--llama-server")
    parser.add_argument("--llamero-args", default="")
    parser.add_argument("--peer-args", default="")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workloads", nargs="+", default=["w1", "w3", "eight"])
    parser.add_argument("--json")
    args = parser.parse_args()
    load_before = os.getloadavg()[0]
    table = run(args)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load before {load_before:.2f}, {args.rounds} rounds, medians")
    print(f"{'':32}{'llamero':>12}{'llama-server':>14}{'ratio':>8}")
    for figure, values in table.items():
        ours, theirs = (statistics.median(values[name]) if name in values else None for name in ("llamero", "llama-server"))
        # The ratio of each round, then their median: neighbours in time are comparable, far ones are not.
        ratio = statistics.median(a / b for a, b in zip(values["llamero"], values["llama-server"])) if theirs else None
        print(f"{figure:32}{ours:12.3f}" + (f"{theirs:14.3f}{ratio:8.2f}" if theirs else ""))
    if args.json:
        with open(args.json, "w") as out:
            json.dump({"setting": setting(args, load_before), "figures": table}, out, indent=1)


if __name__ == "__main__":
    main()
