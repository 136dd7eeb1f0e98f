"""Behind real proxies: what one caller does wrong is that caller's alone, and clients that leave are noticed."""

import http.client
import json
import threading
import time

import proxies
import pytest
from support import MODEL, wait_until

KEY = "sk-right"
LONG_PROMPT = "word " * 160_000


@pytest.fixture(params=["nginx", "haproxy"])
def proxy(request):
    if reason := proxies.missing(request.param):
        pytest.skip(reason)
    return request.param


def post(port, key, prompt, **fields):
    """The status of a completion; what is no answer at all is its error's name."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"model": MODEL, "prompt": prompt, "max_tokens": 1} | fields)
    try:
        connection.request("POST", "/v1/completions", body, {"authorization": f"Bearer {key}", "content-type": "application/json"})
        return connection.getresponse().status
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def test_a_wrong_key_with_long_prompts_harms_nobody_else(serve, proxy, tmp_path):
    server = serve("--api-key", KEY)
    with proxies.running(proxy, tmp_path, server.port) as port:
        bad, good, ended = [], [], threading.Event()

        def misbehave():
            for _ in range(12):
                bad.append(post(port, "sk-wrong", LONG_PROMPT))

        callers = [threading.Thread(target=misbehave) for _ in range(4)]
        for caller in callers:
            caller.start()
        watcher = threading.Thread(target=lambda: ([caller.join() for caller in callers], ended.set()))
        watcher.start()
        while not ended.is_set():
            good.append(post(port, KEY, "Hello"))
        watcher.join()

        assert set(bad) == {401}, bad
        assert set(good) == {200}, good


@pytest.mark.parametrize("size", [3 << 20, 12 << 20])
def test_a_body_over_the_limit_is_a_413_and_the_next_request_is_answered(serve, proxy, tmp_path, size):
    server = serve("--api-key", KEY)
    with proxies.running(proxy, tmp_path, server.port) as port:
        for _ in range(4):
            assert post(port, KEY, "a" * size) == 413
            assert post(port, KEY, "Hello") == 200


@pytest.mark.parametrize("http_1_0", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_the_proxy_is_noticed(serve, proxy, tmp_path, http_1_0, stream):
    if proxy == "haproxy" and (http_1_0 or not stream):
        pytest.skip("HAProxy speaks HTTP/1.1, and tells a server nothing of a client that left until there is an answer to pass on")
    server = serve("--api-key", KEY, "--max-model-len", "8192")
    running = "vllm:num_requests_running"

    def count():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", "/metrics", headers={"authorization": f"Bearer {KEY}"})
        text = connection.getresponse().read().decode()
        connection.close()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(running))

    with proxies.running(proxy, tmp_path, server.port, http_1_0) as port:
        leaving = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        body = json.dumps({"model": MODEL, "prompt": "Hello", "max_tokens": 8000, "ignore_eos": True, "stream": stream})
        leaving.request("POST", "/v1/completions", body, {"authorization": f"Bearer {KEY}"})
        wait_until(lambda: count() == 1, 60, "the request runs")

        leaving.close()
        left = time.monotonic()

        wait_until(lambda: count() == 0, 30, "the request is cancelled")
        assert time.monotonic() - left < 20
