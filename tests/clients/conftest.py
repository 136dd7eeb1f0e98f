"""Fixtures: one shared server for most tests, others on demand, and `openai` clients for them."""

import sys
from pathlib import Path

import openai
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import support  # noqa: E402


def pytest_collection_modifyitems(items):
    """Without a binary or a model every test is skipped aloud."""
    if reason := support.missing():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def start_server(tmp_path_factory):
    """Makes context managers, each a server with these arguments that is stopped, and looked after, at the end."""
    return lambda *arguments: support.serving(tmp_path_factory.mktemp("server") / "log", *arguments)


@pytest.fixture(scope="session")
def server(start_server):
    """A server without keys or limits, shared: tests must not harm it."""
    with start_server("--max-num-seqs", "8", "--max-model-len", "4096") as running:
        yield running


@pytest.fixture
def serve(tmp_path):
    """Starts a server of the test's own with these arguments and options of `Server`; all are stopped at its end."""
    started = []

    def start(*arguments, **options):
        running = support.Server(tmp_path / f"log{len(started)}", *arguments, **options).wait_ready()
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()


def connect(running, api_key="EMPTY", **options):
    """A client that does not retry, so that each error is seen."""
    return openai.OpenAI(base_url=running.base_url, api_key=api_key, **{"max_retries": 0, "timeout": 60} | options)


@pytest.fixture
def client(server):
    with connect(server) as made:
        yield made
