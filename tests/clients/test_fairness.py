"""Keys take turns: what one key has sent before does not keep another one waiting."""

import threading

from conftest import connect
from support import MODEL, wait_until

KEYS = ["sk-many", "sk-few"]


def complete(client, prompt, max_tokens):
    client.completions.create(model=MODEL, prompt=prompt, max_tokens=max_tokens, extra_body={"ignore_eos": True})


def test_a_short_request_waits_for_one_long_request_of_another_key_and_not_for_sixteen(serve):
    server = serve("--max-num-seqs", "2", "--api-key", KEYS[0], "--api-key", KEYS[1])
    ended = []

    def waiting():
        page = server.ask("/metrics", headers={"authorization": f"Bearer {KEYS[0]}"}).body.decode()
        return next(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith("vllm:num_requests_waiting{"))

    with connect(server, KEYS[0], timeout=150) as many, connect(server, KEYS[1], timeout=150) as few:

        def long_request(number):
            complete(many, f"Story number {number}", 30)
            ended.append(number)

        threads = [threading.Thread(target=long_request, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        wait_until(lambda: waiting() >= 10, 60, "two run and many wait")

        before = len(ended)
        complete(few, "Hello", 2)
        meanwhile = len(ended) - before

        for thread in threads:
            thread.join()
    assert len(ended) == 16
    assert meanwhile <= 4, f"{meanwhile} long requests ended before the short one"
