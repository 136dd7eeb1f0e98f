"""Two llameros that are drained, restarted and killed, and clients that meanwhile ask one request after the other.

Knows what a whole answer is and which requests run on which replica. How many may fail is the tests' part.
"""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

import support
from balancers import stable_port
from support import MODEL, wait_until

KEYS = [f"sk-{number:02}-of-the-chaos" for number in range(8)]
CLIENTS = 6
TOKENS = 32
RHYTHM_SECONDS = 10
# The time for which a drained replica is away, so that the other one has all requests for a while.
AWAY_SECONDS = 2
REQUEST_SECONDS = 60


class Replica:
    """A llamero that has the same port each time it is started."""

    def __init__(self, folder, name):
        self.folder, self.name, self.port = folder, name, stable_port()
        self.starts = 0
        self.server = None
        self.keys = folder / "keys"
        self.keys.write_text("\n".join(KEYS) + "\n")

    def start(self):
        self.starts += 1
        options = ["--max-num-seqs", "4", "--max-model-len", "2048", "--threads", "1", "--shutdown-delay", "3s", "--api-key-file", self.keys]
        self.server = support.Server(self.folder / f"{self.name}-{self.starts}.log", *options, port=self.port)

    def wait_ready(self):
        self.server.wait_ready()

    def in_flight(self):
        """Number of requests that it works on or that wait in it."""
        headers = {"authorization": f"Bearer {KEYS[0]}"}
        return int(sum(self.server.metric(f"vllm:num_requests_{state}", headers) for state in ("running", "waiting")))

    def stop(self):
        """Ends as operators end it: SIGTERM, and exit 0 when the last answer is out."""
        self.server.stop()

    def kill(self):
        """Ends the gateway by SIGKILL; its engine ends with it."""
        engines = support.children(self.server.pid)
        self.server.process.kill()
        self.server.process.wait()
        wait_until(lambda: not any(map(support.is_alive, engines)), 10, f"engines {engines} are gone")


@dataclass
class Outcome:
    """One request as its client saw it: `whole`, `refused` (a status), `broken` (an error) or `wrong`."""

    verdict: str
    detail: str
    stream: bool
    seconds: float

    @property
    def failed(self):
        return self.verdict != "whole"


def judge_stream(text):
    """A stream is whole if it has its finish reason, all its tokens and [DONE]. One that ends well without these is wrong."""
    events = [line.removeprefix("data: ") for line in text.decode().splitlines() if line.startswith("data: ")]
    parsed = [json.loads(event) for event in events if event != "[DONE]"]
    if any("error" in event for event in parsed):
        return "broken", f"an error event: {parsed[-1]}"
    reasons = [choice["finish_reason"] for event in parsed for choice in event["choices"] if choice["finish_reason"]]
    tokens = [event["usage"]["completion_tokens"] for event in parsed if event.get("usage")]
    is_whole = (reasons, tokens[-1:], events[-1:]) == (["length"], [TOKENS], ["[DONE]"])
    return ("whole", "") if is_whole else ("wrong", f"a stream that ended without an error: {events[-2:]}")


def judge_object(text):
    answer = json.loads(text)
    is_whole = (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", TOKENS)
    return ("whole", "") if is_whole else ("wrong", text.decode())


def ask(port, key, number, stream):
    """The verdict on one request, and its reason."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
    body = {"model": MODEL, "prompt": f"Chapter {number}. It was", "max_tokens": TOKENS, "ignore_eos": True, "temperature": 0}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    try:
        connection.request(
            "POST", "/v1/completions", json.dumps(body), {"authorization": f"Bearer {key}", "content-type": "application/json"}
        )
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return "broken", f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    if answer.status >= 500:
        return "refused", f"{answer.status} {text[:200]!r}"
    if answer.status != 200:
        return "wrong", f"{answer.status} {text[:200]!r}"
    return judge_stream(text) if stream else judge_object(text)


class Load:
    """Clients of a balancer, half of them with streams. Each asks its next request when it has the answer to the last one."""

    def __init__(self, port):
        self.port = port
        self.lock = threading.Condition()
        # Guarded by the lock: requests that were begun and have not ended, outcomes since `take`, and whether clients wait.
        self.open, self.outcomes, self.is_paused = 0, [], False
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.repeat, args=(client,)) for client in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        with self.lock:
            self.lock.notify_all()
        for thread in self.threads:
            thread.join()

    def repeat(self, client):
        chance, stream, number = random.Random(client), client % 2 == 0, 0
        while self.begin():
            number += 1
            begun = time.monotonic()
            try:
                verdict, detail = ask(self.port, chance.choice(KEYS), number, stream)
            except Exception as error:
                verdict, detail = "wrong", f"not understood: {error!r}"
            with self.lock:
                self.open -= 1
                self.outcomes.append(Outcome(verdict, detail, stream, time.monotonic() - begun))

    def begin(self):
        """Waits while the clients are paused; False at the end of the load."""
        with self.lock:
            self.lock.wait_for(lambda: self.over.is_set() or not self.is_paused)
            self.open += not self.over.is_set()
            return not self.over.is_set()

    @contextmanager
    def paused(self):
        """No request begins until the end of the block; those that have begun go on."""
        with self.lock:
            self.is_paused = True
        try:
            yield
        finally:
            with self.lock:
                self.is_paused = False
                self.lock.notify_all()

    def take(self):
        """The outcomes since the last call."""
        with self.lock:
            taken, self.outcomes = self.outcomes, []
        return taken


def in_flight_on(replica, replicas, load):
    """Number of requests on this replica; None if not every open request is found on a replica at this moment."""
    counts = {each: each.in_flight() for each in replicas}
    return counts[replica] if sum(counts.values()) == load.open else None


def certain_in_flight_on(replica, replicas, load):
    """The same if it is above zero and two looks agree, else None."""
    first = in_flight_on(replica, replicas, load)
    return first if first and first == in_flight_on(replica, replicas, load) else None


def drain(replica, replicas, load):
    replica.stop()
    load.over.wait(AWAY_SECONDS)
    replica.start()
    return 0


def restart(replica, replicas, load):
    replica.stop()
    replica.start()
    return 0


def kill(replica, replicas, load):
    """Kills it while it works on requests, and returns their number."""

    def killed():
        # While no request begins, those that run end within a second: a few looks, then the clients go on.
        with load.paused():
            for _ in range(10):
                if doomed := certain_in_flight_on(replica, replicas, load):
                    replica.kill()
                    return doomed
        load.over.wait(0.5)
        return None

    doomed = wait_until(killed, 30, f"requests run on {replica.name}")
    replica.start()
    return doomed


def kill_engine(replica, replicas, load):
    former = wait_until(replica.server.engine_pid, 30, f"{replica.name} has an engine")
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: replica.server.engine_pid() not in (None, former), 30, f"{replica.name} has another engine")
    return 0


EVENTS = {"drain": drain, "kill the engine": kill_engine, "restart": restart, "kill": kill}


@dataclass
class Period:
    """An event, the number of requests that it may have lost, and the requests that ended before the next event."""

    event: str
    doomed: int
    outcomes: list

    @property
    def failures(self):
        return [outcome for outcome in self.outcomes if outcome.failed]


def periods(replicas, load, seconds):
    """One event after the other, every ten seconds, each kind in turn and on each replica in turn."""
    begun, number = time.monotonic(), 0
    load.take()
    while time.monotonic() - begun < seconds:
        event = list(EVENTS)[number % len(EVENTS)]
        replica = replicas[(number + number // len(EVENTS)) % 2]
        due = time.monotonic() + RHYTHM_SECONDS
        doomed = EVENTS[event](replica, replicas, load)
        replica.wait_ready()
        load.over.wait(max(0, due - time.monotonic()))
        number += 1
        yield Period(event, doomed, load.take())


def table(name, periods):
    """Figures of a run, one line for each kind of event."""
    lines = [f"{name}: {sum(len(period.outcomes) for period in periods)} requests"]
    for event in EVENTS:
        of_kind = [period for period in periods if period.event == event]
        outcomes = [outcome for period in of_kind for outcome in period.outcomes]
        verdicts = Counter(outcome.verdict for outcome in outcomes)
        slowest = max((outcome.seconds for outcome in outcomes), default=0)
        doomed = sum(period.doomed for period in of_kind)
        lines.append(f"  {len(of_kind)} x {event}: {dict(verdicts)}, {doomed} in flight at the moment, slowest {slowest:.1f} s")
    return "\n".join(lines)
