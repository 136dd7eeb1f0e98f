"""The contenders, their options and their rows. A setup is a set of contenders that do the same work."""

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cancel
import footprint
import shapes
import throughput
from figures import OURS, PEER

# For clients that wait: all of them, beside streams whose speed does not depend on what they happen to say, and without
# what the server saves of earlier streams meanwhile, which is not the clients' memory.
WAITING = ["--num-speculative-tokens", "0", "--swap-space", "0"]
LONG_QUEUE = [*WAITING, "--max-waiting", "1100"]


@dataclass(frozen=True)
class Model:
    file: Path
    context: int
    sequences: int


@dataclass
class Setup:
    """Contenders by name with their command, and rows by name."""

    model: Model
    contenders: dict
    rows: dict
    # True if rows start their server themselves.
    starts: bool = False


def threads(args):
    """llamero's: its default, which follows what other programs leave, unless a number was asked for."""
    return [] if args.threads == os.cpu_count() else ["--threads", str(args.threads)]


def alone(args, model, options=()):
    return {OURS: [args.llamero, "serve", "--model", str(model.file), "--served-model-name", "bench", "--max-model-len", str(model.context),
                   "--max-num-seqs", str(model.sequences), *threads(args), *options, *shlex.split(args.llamero_args)]}


def beside_peer(args, model):
    """llama-server with its default of few slots that share a cache, and with a slot and KV stream for each sequence."""
    if not args.llama_server:
        return alone(args, model)
    command = [args.llama_server, "-m", str(model.file), "-c", str(model.context * model.sequences), "-t", str(args.threads),
               "--no-webui", *shlex.split(args.peer_args)]
    return alone(args, model) | {PEER: command, f"{PEER} -np {model.sequences}": [*command, "-np", str(model.sequences)]}


def setups(args):
    """All there are, with the rows that were asked for."""
    main, toy_model = Model(args.model, 2048, args.sequences), Model(shapes.path("toy"), 512, 32)
    long = Model(args.model, max(args.histories) + 256, 1)
    few = Model(args.model, 2048, footprint.STREAMS)
    every = [
        Setup(main, beside_peer(args, main), {"memory": footprint.memory, "w1": throughput.w1, "w2": throughput.w2,
                                              "sampled": throughput.sampled, "w3": throughput.w3, "open": throughput.open_loop,
                                              "w4": throughput.w4, "neighbour": throughput.neighbour}),
        Setup(long, beside_peer(args, long), {"long": throughput.long}),
        Setup(toy_model, beside_peer(args, toy_model), {"w5": throughput.w5}),
        Setup(main, alone(args, main, WAITING), {"idle": footprint.idle, "cancel": cancel.cancel}),
        Setup(few, alone(args, few, LONG_QUEUE), {"queued": footprint.queued}),
        Setup(main, beside_peer(args, main), {"start": footprint.start}, starts=True),
    ]
    for setup in every:
        setup.rows = {name: row for name, row in setup.rows.items() if name in args.rows}
    return [setup for setup in every if setup.rows]


ROWS = ["w1", "sampled", "w2", "w3", "open", "w4", "w5", "long", "idle", "queued", "cancel", "start", "memory", "neighbour"]
# Rows that make sense for a model whose texts mean nothing, and for one whose steps take tenths of a second.
SHAPE_ROWS = ["w1", "sampled", "w3", "open", "long"]

# The work of benches/raw_engine.rs for a row: prefix of the figures that it is compared with, prompt, output, batches.
RAW_SHAPES = {"w1": ("w1", 104, 64, (1, 4, 16)), "sampled": ("w1 at 0.8,", 104, 64, (1, 4, 16)), "w5": ("w5", 32, 128, (1, 8, 32))}


def raw_engine(args, setup, row):
    """The figures of a setup's row by llama.cpp alone, where it is asked for the same tokens."""
    if row not in RAW_SHAPES:
        return {}
    name, prompt, output, batches = RAW_SHAPES[row]
    numbers = {"threads": args.threads, "max-model-len": setup.model.context, "prompt": prompt, "output": output,
               "rounds": 1 if args.quick else 2}
    words = [word for option, value in numbers.items() for word in (f"--{option}", str(value))]
    words += [word for batch in batches if batch <= setup.model.sequences for word in ("--batch", str(batch))]
    command = ["cargo", "bench", "--quiet", "--bench", "raw_engine", "--", "--model", str(setup.model.file), *words]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    results = [json.loads(line) for line in lines if line.startswith("{")]
    return {f"{name} C={result['batch']}, tokens/s": result["output_tokens_per_second"] for result in results}
