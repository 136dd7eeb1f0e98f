"""Every query of the dashboards, asked of a real Prometheus that scrapes a live server under load.

Uses the server and the Prometheus of tests/clients (conftest.py has its path).
"""

import json
import math
import re
import threading
import time
import urllib.error
from contextlib import contextmanager
from pathlib import Path

import prometheus
import pytest
import support

DASHBOARDS = sorted((Path(__file__).resolve().parents[3] / "deploy" / "grafana" / "dashboards").glob("*.json"))
# As Grafana replaces them when everything is chosen. The interval is longer than the load.
VARIABLES = {
    "$__rate_interval": "2m",
    "$__range": "5m",
    "$job": f"({prometheus.JOB})",
    "$instance": r"(127\\.0\\.0\\.1:{port})",
    "$model_name": f"({support.MODEL})",
}
# Queries that may have no data here, with the reason.
MAY_BE_EMPTY = {
    r"DCGM_": "no dcgm-exporter here",
    r"accepted_tokens_total.*/.*draft_tokens_total": "a share of guessed tokens, and the server guesses none where that does not pay",
}
LONGEST_LOAD_SECONDS = 90
TEXT = "The quick brown fox jumps over the lazy dog. " * 8


def panels():
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            if panel["type"] != "row":
                yield file.stem, panel


def substituted(text, port):
    for name, value in VARIABLES.items():
        text = text.replace(name, value.replace("{port}", str(port)))
    assert "$" not in text, text
    return text


def queries(port):
    """(dashboard and panel, query as Prometheus gets it) of all panels."""
    return [
        (f"{name}: {panel['title']}", substituted(target["expr"], port)) for name, panel in panels() for target in panel["targets"]
    ]


def chat(server, content, **fields):
    """One request whose answer is read to its end; its status and its headers."""
    body = {"model": server.model, "messages": [{"role": "user", "content": content}], "max_tokens": 16} | fields
    return server.ask("/v1/chat/completions", body, timeout=LONGEST_LOAD_SECONDS)


def stream(server, number):
    answer = chat(server, f"Tell me about the number {number}.", stream=True, ignore_eos=True)
    assert answer.status == 200 and answer.body.rstrip().endswith(b"data: [DONE]"), answer.body


def several_choices(server, number):
    assert chat(server, f"Say {number}.", n=2).status == 200


def cached_prompt(server, number):
    assert chat(server, f"{TEXT} Repeat sentence {number % 3}.", temperature=0).status == 200


def refused(server, number):
    assert chat(server, f"{number}", max_tokens="many").status == 400
    time.sleep(1)


def warned(server, number):
    answer = chat(server, f"{number}", logit_bias={}, no_such_field=1)
    assert answer.status == 200 and answer.headers["x-llamero-warnings"], answer.headers
    time.sleep(1)


@contextmanager
def load(server):
    """Five kinds of requests, one at a time each, until the end of the block. Yields their errors, which fail it."""
    over, errors = threading.Event(), []
    deadline = time.monotonic() + LONGEST_LOAD_SECONDS

    def repeat(work):
        number = 0
        try:
            while not over.is_set() and time.monotonic() < deadline:
                number += 1
                work(server, number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in (stream, several_choices, cached_prompt, refused, warned)]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not errors, errors


@pytest.fixture
def scraped(tmp_path):
    """A server with two places, and a Prometheus that reads its metrics each second."""
    if reason := support.missing() or prometheus.missing():
        pytest.skip(reason)
    with support.serving(tmp_path / "log", "--max-num-seqs", "2", "--max-model-len", "1024") as server:
        with prometheus.scraping(tmp_path, server.port) as asked:
            support.wait_until(lambda: answers_queries(asked), 30, "Prometheus answers queries")
            yield server, asked


def answers_queries(asked):
    """False while Prometheus listens but reads its storage."""
    try:
        return bool(asked.query("vector(1)"))
    except urllib.error.HTTPError:
        return False


def has_data(values):
    return any(not math.isnan(value) for value in values.values())


def reason_to_be_empty(query):
    return next((reason for pattern, reason in MAY_BE_EMPTY.items() if re.search(pattern, query)), None)


def busy(asked):
    """True once Prometheus has seen requests of each kind end between two scrapes, and a cached prompt being found."""
    least = {"vllm:request_success_total": 8, "vllm:prefix_cache_hits_total": 1}
    least |= {"llamero:requests_refused_total": 1, "llamero:request_warnings_total": 1}
    seen = [asked.query(f"sum(increase({name}[2m])) >= {number}") for name, number in least.items()]
    return all(seen)


def test_every_query_of_the_dashboards_has_data_under_load(scraped):
    server, asked = scraped
    with load(server) as errors:
        support.wait_until(lambda: errors or busy(asked), 80, "Prometheus has seen each kind of request")
        assert not errors, errors
        answers = [(panel, query, asked.query(query)) for panel, query in queries(server.port)]

    empty = [(panel, query) for panel, query, values in answers if not has_data(values)]
    unexplained = [f"{panel}\n    {query}" for panel, query in empty if reason_to_be_empty(query) is None]
    print(f"{len(answers)} queries, {len(empty)} without data:", *sorted({panel for panel, _ in empty}), sep="\n  ")
    assert len(answers) > 90
    assert not unexplained, f"{len(unexplained)} of {len(answers)} have no data:\n" + "\n".join(unexplained)

    # Rates of what the load does are more than zero: the rows of a panel are not only there from the start.
    moved = [r"requests_refused_total.*\[2m\]\)\)$", r"request_warnings_total", r"prefix_cache_hits_total", r"by_source_total"]
    moved += [r"engine_process_cpu_seconds_total", r"generation_tokens_total", r"iteration_tokens_total_bucket", r"engine_steps_total"]
    for pattern in moved:
        found = [values for _, query, values in answers if re.search(pattern, query)]
        assert found and all(any(value > 0 for value in values.values()) for values in found), pattern


def test_the_lists_of_jobs_instances_and_models_have_the_server(scraped):
    server, asked = scraped
    wanted = {"job": prometheus.JOB, "instance": f"127.0.0.1:{server.port}", "model_name": support.MODEL}
    for file in DASHBOARDS:
        for variable in json.loads(file.read_text())["templating"]["list"][1:]:
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            assert label == variable["name"]

            def listed():
                rows = asked.query(substituted(selector, server.port))
                return wanted[label] in {json.loads(row)[label] for row in rows}

            support.wait_until(listed, 20, f"{label} of {file.name}")
