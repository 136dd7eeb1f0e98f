"""A server needs no more of its surroundings than it uses, and tells its engine no more than that needs."""

import os

from conftest import connect
from support import MODEL, Server, clean_environment


def complete(running):
    with connect(running) as client:
        return client.completions.create(model=MODEL, prompt="Hello", max_tokens=2, extra_body={"ignore_eos": True})


def test_an_absolute_path_needs_no_home_and_no_variables_at_all(serve, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    running = serve(environment={}, cwd=gone)
    gone.rmdir()

    assert complete(running).usage.completion_tokens == 2


def test_the_engine_is_given_what_it_needs_and_no_secrets(serve):
    secrets = {"DATABASE_URL": "postgres://me:secret@db/x", "LLAMA_API_KEY": "sk-secret", "PGPASSWORD": "secret", "SOME_VARIABLE": "x"}
    needed = {"CUDA_VISIBLE_DEVICES": "0", "OMP_WAIT_POLICY": "passive", "LD_BIND_NOW": "1", "LC_ALL": "C", "TZ": "UTC"}
    running = serve(environment=clean_environment(**secrets, **needed))

    with open(f"/proc/{running.engine_pid()}/environ", "rb") as file:
        pairs = dict(pair.split("=", 1) for pair in os.fsdecode(file.read()).split("\0") if pair)

    assert needed.items() <= pairs.items() and "PATH" in pairs
    assert not secrets.keys() & pairs.keys()
    assert "secret" not in str(pairs)
