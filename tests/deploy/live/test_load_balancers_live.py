"""The load balancers of deploy/, as shipped, before two replicas: under chaos, and one promise of their files after the other.

The chaos is that of real llameros. The promises are held against replicas that answer byte by byte as a test wants.
"""

import http.client
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import balancers
import chaos
import pytest
import stubs
import support
from support import answering, wait_until

# Seconds of chaos with each balancer. vllm-router has fewer because its files promise less.
SECONDS = {"haproxy": 180, "nginx": 180, "vllm-router": 90}
# nginx ends a silent answer after 60 s unless it is told otherwise.
SILENCE_SECONDS = 65
CLAIMED_ADDRESS = "203.0.113.9"
SIZE_OF_A_LONG_PROMPT = 1_900_000


@pytest.fixture(params=balancers.NAMES)
def name(request):
    if reason := balancers.missing(request.param):
        pytest.skip(reason)
    return request.param


@pytest.fixture
def behind(name, tmp_path):
    """Starts the balancer before two stubs that answer so; returns its port and the stubs."""
    with ExitStack() as stack:

        def start(answer=None):
            replicas = [stack.enter_context(answering(stubs.Replica(answer))) for _ in range(2)]
            return stack.enter_context(balancers.running(name, tmp_path, *(replica.port for replica in replicas))), replicas

        yield start


def only(*names):
    """Runs the test with these balancers; the others do not promise it."""
    return pytest.mark.parametrize("name", names, indirect=True)


def request(port, key="sk-1", prompt="Hello", headers=None, **fields):
    """Sends a completion; returns its connection, from which the answer is read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENCE_SECONDS + 30)
    body = json.dumps({"model": "stub", "prompt": prompt, "max_tokens": 1} | fields)
    connection.request(
        "POST", "/v1/completions", body, {"authorization": f"Bearer {key}", "content-type": "application/json"} | (headers or {})
    )
    return connection


def ask(port, **asked):
    """The answer to a completion, with its body read."""
    connection = request(port, **asked)
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


def replicas_that_had(replicas, is_meant):
    """The places of the replicas that got a request of which `is_meant(headers, body)` is true."""
    return {place for place, replica in enumerate(replicas) for received in replica.received if is_meant(*received)}


def test_drains_lose_nothing_and_kills_no_more_than_was_in_flight(name, tmp_path, capsys):
    if reason := support.missing():
        pytest.skip(reason)
    seconds = int(os.environ.get("LLAMERO_TEST_CHAOS_SECONDS", SECONDS[name]))
    replicas = [chaos.Replica(tmp_path, "a"), chaos.Replica(tmp_path, "b")]
    with ExitStack() as stack:
        for replica in replicas:
            replica.start()
            stack.callback(replica.stop)
        for replica in replicas:
            replica.wait_ready()
        port = stack.enter_context(balancers.running(name, tmp_path, *(replica.port for replica in replicas)))
        with chaos.Load(port) as load:
            periods = list(chaos.periods(replicas, load, seconds))
    with capsys.disabled():
        print(f"\n{chaos.table(name, periods)}")

    for number, period in enumerate(periods):
        told = f"{period.event} ({number}): {len(period.failures)} failures: {period.failures[:10]}"
        assert len(period.failures) <= period.doomed, told
        assert not any(outcome.verdict == "wrong" for outcome in period.outcomes), told
        assert len(period.outcomes) - len(period.failures) > chaos.CLIENTS, f"{told}: nobody was served meanwhile"


def test_each_token_is_passed_on_before_the_next_one_comes(behind):
    stream = stubs.Steps(5)
    port, _ = behind(stream)

    connection = request(port, stream=True)
    answer = connection.getresponse()
    events = []
    for line in answer:
        if line.startswith(b"data: "):
            events.append(line)
            stream.arrived.release()
    connection.close()

    assert events == [stubs.EVENT.splitlines(keepends=True)[0]] * 5 + [b"data: [DONE]\n"]


@only("haproxy", "nginx")
def test_requests_of_one_key_go_to_one_replica_and_keys_spread_over_both(behind):
    port, replicas = behind()
    keys = [f"sk-{number}" for number in range(24)]

    for key in keys * 3:
        assert ask(port, key=key).status == 200

    places = [replicas_that_had(replicas, lambda headers, _: headers["authorization"] == f"Bearer {key}") for key in keys]
    assert all(len(places_of_key) == 1 for places_of_key in places), places
    assert all(len(replica.received) >= 3 * 3 for replica in replicas), [len(replica.received) for replica in replicas]


@only("haproxy", "nginx")
@pytest.mark.parametrize("header", ["x-api-key", "api-key"])
def test_a_key_in_another_header_counts_as_well(behind, header):
    port, replicas = behind()
    keys = [f"sk-{number}" for number in range(24)]

    for key in keys * 2:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/v1/completions", json.dumps({"model": "stub", "prompt": "Hello"}), {header: key})
        assert connection.getresponse().status == 200
        connection.close()

    places = [replicas_that_had(replicas, lambda headers, _: headers[header] == key) for key in keys]
    assert all(len(places_of_key) == 1 for places_of_key in places), places
    assert all(replica.received for replica in replicas)


@only("haproxy")
@pytest.mark.parametrize("size", [10, 150_000])
def test_requests_of_one_prompt_cache_key_go_to_one_replica_whatever_their_key(behind, size):
    port, replicas = behind()
    cache_keys = [f"session-{number}" for number in range(12)]

    for key in ("sk-1", "sk-2"):
        for cache_key in cache_keys:
            assert ask(port, key=key, prompt="x" * size, prompt_cache_key=cache_key).status == 200

    places = [replicas_that_had(replicas, lambda _, body: body["prompt_cache_key"] == cache_key) for cache_key in cache_keys]
    assert all(len(places_of_key) == 1 for places_of_key in places), places
    assert all(replica.received for replica in replicas)


@only("haproxy")
def test_a_key_with_many_requests_at_a_time_has_both_replicas(behind):
    port, replicas = behind(stubs.silent(2))

    with ThreadPoolExecutor(20) as pool:
        assert {answer.status for answer in pool.map(lambda _: ask(port), range(20))} == {200}

    # Four go to the key's own replica, and sixteen to any.
    assert all(replica.received for replica in replicas), [len(replica.received) for replica in replicas]


@only("vllm-router")
def test_prompts_that_begin_alike_go_to_one_replica(behind):
    port, replicas = behind(stubs.silent(1))
    beginnings = [f"{number} {number * 7919} " * 200 for number in range(8)]

    for turn in range(3):
        with ThreadPoolExecutor(len(beginnings)) as pool:
            prompts = [beginning + f"turn {turn}" for beginning in beginnings]
            assert {answer.status for answer in pool.map(lambda prompt: ask(port, prompt=prompt), prompts)} == {200}

    places = [replicas_that_had(replicas, lambda _, body: body["prompt"].startswith(beginning)) for beginning in beginnings]
    assert all(len(places_of_beginning) == 1 for places_of_beginning in places), places
    assert all(replica.received for replica in replicas)


def test_a_long_prompt_arrives_whole(behind):
    port, replicas = behind()

    assert ask(port, prompt="x" * SIZE_OF_A_LONG_PROMPT).status == 200

    assert [len(body["prompt"]) for replica in replicas for _, body in replica.received] == [SIZE_OF_A_LONG_PROMPT]


@only("haproxy", "nginx")
def test_the_replica_is_told_the_real_address_and_not_what_the_client_claims(behind):
    port, replicas = behind()

    assert ask(port, headers={"x-forwarded-for": CLAIMED_ADDRESS}).status == 200

    (headers,) = [headers for replica in replicas for headers, _ in replica.received]
    assert headers.get_all("x-forwarded-for") == ["127.0.0.1"]


@only("vllm-router")
def test_vllm_router_passes_on_what_the_client_claims_of_its_address(behind):
    port, replicas = behind()

    assert ask(port, headers={"x-forwarded-for": CLAIMED_ADDRESS}).status == 200

    (headers,) = [headers for replica in replicas for headers, _ in replica.received]
    assert headers.get_all("x-forwarded-for") == [CLAIMED_ADDRESS]


def test_a_client_hears_that_everybody_is_busy_and_when_to_come_back(behind):
    port, _ = behind(stubs.busy)

    answer = ask(port)

    assert (answer.status, answer.headers["retry-after"]) == (503, "7")


@only("haproxy", "nginx")
def test_a_request_that_a_busy_replica_refuses_is_answered_by_the_other_one(behind):
    answers = iter([stubs.busy, stubs.whole])
    port, replicas = behind(lambda handler: next(answers)(handler))

    assert ask(port).status == 200

    assert [len(replica.received) for replica in replicas] == [1, 1]


@only("haproxy")
def test_a_request_whose_replica_died_over_it_is_an_error_and_is_not_repeated(behind):
    port, replicas = behind(stubs.crash)

    answer = ask(port)

    assert answer.status == 502
    assert sum(len(replica.received) for replica in replicas) == 1


@only("nginx")
def test_a_request_whose_replica_died_over_it_is_repeated_once(behind):
    port, replicas = behind(stubs.crash)

    answer = ask(port)

    assert answer.status == 502
    assert [len(replica.received) for replica in replicas] == [1, 1]


@pytest.mark.parametrize("stream", [False, True])
def test_the_replica_notices_that_a_client_has_left(behind, stream):
    waiting = stubs.UntilItLeaves()
    port, _ = behind(waiting)
    connection = request(port, stream=stream)
    assert waiting.asked.wait(30), "the request arrives"

    connection.close()

    assert waiting.left.wait(10), "the replica still believes in the client"


def test_a_silence_of_more_than_a_minute_is_not_cut(tmp_path):
    """All balancers at a time, because this takes its time."""
    present = [name for name in balancers.NAMES if not balancers.missing(name)]
    with ExitStack() as stack:
        replicas = [stack.enter_context(answering(stubs.Replica(stubs.silent(SILENCE_SECONDS)))) for _ in range(2)]
        ports = [replica.port for replica in replicas]
        fronts = [stack.enter_context(balancers.running(name, tmp_path, *ports)) for name in present]
        pool = stack.enter_context(ThreadPoolExecutor())
        answers = list(pool.map(lambda front: ask(front), fronts))

    assert {name: answer.status for name, answer in zip(present, answers)} == dict.fromkeys(present, 200)
    assert sum(len(replica.received) for replica in replicas) == len(present), "nothing was sent twice"
    for reason in filter(None, map(balancers.missing, balancers.NAMES)):
        pytest.skip(reason)
