"""Rows about what a server takes: memory, time to start, and what clients cost that only wait."""

import random
import resource
import statistics
import threading
import time

import load
import wire
from servers import Server

# Clients that only wait.
CLIENTS = 1000
STREAMS = 4


def prompt(tokens, seed):
    rng = random.Random(seed)
    return [rng.randrange(1000, 30000) for _ in range(tokens)]


def memory(args, server, round_number):
    """After 16 requests at a time, so that everything that a request needs has been touched."""
    load.rate(args, server, "w1", 16, 16, round_number * 100 + 90)
    return {"memory, MB": server.memory_mb()}


def start(args, name, command, round_number):
    """From the start of the process to the first token of a prompt of 10 tokens; the median of some."""
    times = []
    for _ in range(1 if args.quick else 3):
        begun = time.monotonic()
        with Server(name, command, ready=False) as server:
            server.until(lambda: first_token(server, prompt(10, round_number)), "a first token")
            times.append(time.monotonic() - begun)
    return {"start to first token, s": statistics.median(times)}


def first_token(server, tokens):
    try:
        with wire.complete(server.port, tokens, 1) as connection:
            return wire.first_token(connection)
    except OSError:
        return False


def streams(args, server, seed):
    """Tokens per second of four streams that run together."""
    return load.rate(args, server, "w1", STREAMS, STREAMS, seed, input_tokens=32, max_tokens=96 if args.quick else 384)


def idle(args, server, round_number):
    """A thousand connections over which nothing is said after a first answer."""
    allow_files()
    seed = round_number * 100
    alone, before = streams(args, server, seed), server.memory_mb()
    connections = [wire.connect(server.port) for _ in range(CLIENTS)]
    for connection in connections:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    for connection in connections:
        connection.recv(65536)
    beside = streams(args, server, seed + 1)
    more = server.memory_mb() - before
    still_open = sum(wire.is_open(connection) for connection in connections)
    for connection in connections:
        connection.close()
    alone = statistics.mean([alone, streams(args, server, seed + 2)])
    return {"1,000 idle connections, MB more": more, "1,000 idle connections, streams beside / alone": beside / alone,
            "1,000 idle connections, open at the end": still_open}


def queued(args, server, round_number):
    """A thousand requests that wait for one of four places, all taken."""
    allow_files()
    seed = round_number * 100
    alone, before = streams(args, server, seed), server.memory_mb()
    beside = []
    running = threading.Thread(target=lambda: beside.append(streams(args, server, seed + 1)))
    running.start()
    server.until(lambda: server.metric("vllm:num_requests_running") == STREAMS, "the streams run")
    connections = [wire.complete(server.port, prompt(16, f"{round_number} {number}"), 1) for number in range(CLIENTS)]
    server.until(lambda: server.metric("vllm:num_requests_waiting") == CLIENTS, "the others wait")
    more = server.memory_mb() - before
    running.join()
    for connection in connections:
        connection.close()
    alone = statistics.mean([alone, streams(args, server, seed + 2)])
    return {"1,000 queued requests, MB more": more, "1,000 queued requests, streams beside / alone": beside[0] / alone}


def allow_files():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
