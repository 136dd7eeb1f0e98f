"""The row about clients that hang up: steps until their sequence is out of the batch.

A step that is under way when the client goes is finished, and the next one, without the sequence, is the first to report
that it is gone. So 2 steps, seen from outside, are the best there is.
"""

import statistics

import wire
from footprint import prompt

RUNNING, STEPS, ROWS = "vllm:num_requests_running", "llamero:engine_steps_total", "llamero:prefill_rows_total"
LONG = 1800


def cancel(args, server, round_number):
    repeats = 2 if args.quick else 5
    # Beside a stream that goes on, so that there are steps to count.
    with wire.complete(server.port, prompt(16, f"companion {round_number}"), 1900) as companion:
        wire.first_token(companion)
        decoding = [gone(server, while_decoding(server, f"{round_number} {repeat}")) for repeat in range(repeats)]
        in_prompt = [gone(server, in_its_prompt(server, f"{round_number} {repeat}")) for repeat in range(repeats)]
    return {"cancel while decoding, steps": statistics.median(decoding), "cancel in the prompt, steps": statistics.median(in_prompt)}


def while_decoding(server, name):
    victim = wire.complete(server.port, prompt(16, f"decoding {name}"), 1000)
    wire.first_token(victim)
    return victim


def in_its_prompt(server, name):
    before = server.metric(ROWS)
    victim = wire.complete(server.port, prompt(LONG, f"prompt {name}"), 100)
    server.until(lambda: server.metric(ROWS) > before + LONG / 4, "a quarter of a prompt is computed")
    return victim


def gone(server, victim):
    """Steps from hanging up to the report that only the companion is left."""
    before = server.metric(STEPS)
    victim.close()
    running, steps = server.metrics(RUNNING, STEPS)
    while running > 1:
        running, steps = server.metrics(RUNNING, STEPS)
    return steps - before
