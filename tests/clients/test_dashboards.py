"""vLLM's dashboards on this server, by a real Prometheus; and metrics that move while requests run."""

import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import prometheus
import pytest
from conftest import connect
from dashboards import DASHBOARDS
from support import MODEL, wait_until

LOAD_SECONDS = 30
TEXT = "The quick brown fox jumps over the lazy dog. " * 8


def each(client, work, until):
    """Does `work` at least once, and again until then."""
    number = 0
    while number == 0 or time.monotonic() < until:
        number += 1
        work(client, number)


def short_stream(client, number):
    messages = [{"role": "user", "content": f"Say {number}."}]
    list(client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8, stream=True))


def several_choices(client, number):
    client.completions.create(model=MODEL, prompt=f"{number}: {TEXT}", max_tokens=8, n=2, extra_body={"ignore_eos": True})


def common_prefix(client, number):
    client.completions.create(model=MODEL, prompt=f"{TEXT} {number}", max_tokens=5)


def leaving(client, number):
    stream = client.completions.create(model=MODEL, prompt=f"{number}", max_tokens=500, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    time.sleep(1)


def mistaken(client, number):
    with pytest.raises(Exception, match="400"):
        client.completions.create(model=MODEL, prompt=f"{number}", max_tokens=1, temperature=-1)
    time.sleep(1)


def put_load_on(server):
    until = time.monotonic() + LOAD_SECONDS
    works = [short_stream, several_choices, common_prefix, leaving, mistaken]
    with connect(server, timeout=200) as client:
        with ThreadPoolExecutor(len(works)) as pool:
            running = [pool.submit(each, client, work, until) for work in works]
        for work in running:
            work.result()


def has_data(values):
    return any(not math.isnan(value) for value in values.values())


@pytest.mark.timeout(400)
def test_every_query_of_vllms_dashboards_has_data_after_half_a_minute_of_mixed_load(serve, tmp_path):
    if reason := prometheus.missing():
        pytest.skip(reason)
    server = serve("--max-num-seqs", "4", "--max-model-len", "2048")
    with prometheus.scraping(tmp_path, server.port) as asked:
        put_load_on(server)

        queries = [(f"{made.__name__}: {panel}", query) for made in DASHBOARDS for panel, query in made(MODEL)]
        answers = [(panel, query, asked.query(query)) for panel, query in queries]

        empty = [f"{panel}\n    {query}\n    {values}" for panel, query, values in answers if not has_data(values)]
        assert len(queries) > 130
        assert not empty, f"{len(empty)} of {len(queries)} have no data:\n" + "\n".join(empty)

        # The first death counts: its series was there before.
        engine = server.engine_pid()
        os.kill(engine, signal.SIGKILL)
        deaths = "sum(increase(llamero:engine_deaths_total[5m]))"
        wait_until(lambda: sum(asked.query(deaths).values()) > 0.5, 30, "the death is seen")


def test_tokens_and_the_first_token_are_counted_while_the_stream_runs(serve):
    server = serve("--max-num-seqs", "2")
    with connect(server, timeout=150) as client:
        stream = client.completions.create(
            model=MODEL, prompt="Count", max_tokens=2000, temperature=0, stream=True, extra_body={"ignore_eos": True}
        )
        chunks = iter(stream)
        for _ in range(20):
            next(chunks)

        counted = server.metric("vllm:generation_tokens_total")
        first_tokens = server.metric("vllm:time_to_first_token_seconds_count")
        ended = server.metric("vllm:e2e_request_latency_seconds_count")

        assert ended == 0, "the stream was over before it was looked at"
        assert counted >= 20
        assert first_tokens == 1
        assert server.metric("vllm:prompt_tokens_total") > 0
        stream.close()
