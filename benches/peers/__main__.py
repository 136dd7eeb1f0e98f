"""llamero beside llama-server on one machine: same model file, same threads, one after the other, A B A B A B.

  python3 benches/peers --model models/smollm2-135m-instruct.gguf --llama-server …/llama-server --json result.json
  python3 benches/peers --show result.json --markdown

Only ratios from one run count: R is the median of each round's llamero / llama-server, at the better of llama-server's settings.
Without --llama-server only llamero is measured. docs/benchmarks says what each row is.
"""

import argparse
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import contenders
import figures
import load
import shapes
import throughput
from servers import Server


def measure(args, setups, table, round_number):
    """Adds a round to the values of each figure and contender.

    Contenders take turns at each row: a machine's speed moves within minutes, and a ratio should be of neighbours in time.
    """
    for setup in setups:
        for row_name, row in setup.rows.items():
            for name, command in setup.contenders.items():
                for figure, value in one_turn(args, setup, name, command, row, round_number).items():
                    table.setdefault(figure, {}).setdefault(name, []).append(value)
            for figure, value in contenders.raw_engine(args, setup, row_name).items():
                table[figure].setdefault(figures.RAW, []).append(value)


def one_turn(args, setup, name, command, row, round_number):
    """The figures of a contender in a row of a round."""
    if setup.starts:
        return row(args, name, command, round_number)
    with Server(name, command) as server:
        # A server that has just started has neither touched its memory nor learnt what steps take.
        load.rate(args, server, "w1", 4, 8, 9999, max_tokens=16)
        return row(args, server, round_number)


def setting(args):
    """The machine, model and versions by which a reader judges the figures; no paths of this machine."""
    with open("/proc/cpuinfo") as info:
        cpu = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    with open(args.model, "rb") as model:
        digest = hashlib.file_digest(model, "sha256").hexdigest()
    versions = {program: subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
                for program in (args.llamero, args.llama_server) if program}
    return {"cpu": cpu, "cores": os.cpu_count(), "load before": os.getloadavg()[0], "model": args.model.name, "sha256": digest,
            "threads": args.threads, "rounds": args.rounds, "rows": args.rows, "quick": args.quick,
            "llamero args": args.llamero_args, "llama-server args": args.peer_args,
            "versions": {os.path.basename(program): (out.stdout + out.stderr).strip() for program, out in versions.items()}}


def arguments():
    parser = argparse.ArgumentParser(prog="benches/peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/smollm2-135m-instruct.gguf"))
    parser.add_argument("--shape", choices=shapes.SHAPES, help="instead of --model: random weights of this shape, on the rows that suit it")
    parser.add_argument("--sequences", type=int, default=16, help="sequences at a time; rows that need more are left out")
    parser.add_argument("--histories", type=int, nargs="+", default=[4000, 7900], help="tokens of the prompts of the row `long`")
    parser.add_argument("--llamero", default="target/release/llamero")
    parser.add_argument("--llama-server")
    parser.add_argument("--llamero-args", default="", help="more options for llamero serve")
    parser.add_argument("--peer-args", default="", help="more options for llama-server")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", nargs="+", choices=contenders.ROWS)
    parser.add_argument("--quick", action="store_true", help="few requests: whether it works, not how fast")
    parser.add_argument("--json", type=Path, help="write every round and the setting here")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    parser.add_argument("--show", nargs="+", type=Path, metavar="JSON", help="measure nothing, print these results as one")
    args = parser.parse_args()
    if args.shape and not args.show:
        args.model = shapes.path(args.shape)
    args.rows = args.rows or (contenders.SHAPE_ROWS if args.shape else contenders.ROWS)
    return args


def peer_capacity(args):
    """Requests a second that llama-server can answer, or llamero where it is alone: the open loop's measure."""
    command = contenders.beside_peer(args, contenders.Model(args.model, 2048, args.sequences))
    name = list(command)[-1]
    with Server(name, command[name]) as server:
        return throughput.capacity(args, server)


def main():
    args = arguments()
    # So that servers are stopped when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    written = figures.as_markdown if args.markdown else figures.as_text
    if args.show:
        print(written({figure: values for file in args.show for figure, values in json.loads(file.read_text())["figures"].items()}))
        return
    described, setups, table = setting(args), contenders.setups(args), {}
    print(f"{platform.machine()}, {os.cpu_count()} cores, load before {described['load before']:.2f}", flush=True)
    if "open" in args.rows:
        args.capacity = described["capacity, requests/s"] = peer_capacity(args)
    for round_number in range(1, args.rounds + 1):
        measure(args, setups, table, round_number)
        print(f"round {round_number} of {args.rounds}:\n{written(table)}\n", flush=True)
        if args.json:
            args.json.write_text(json.dumps({"setting": described, "figures": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
