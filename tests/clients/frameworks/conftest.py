"""Switches that keep the frameworks at home, and a guard that fails a test in which one of them looks outside all the same."""

import os
import sys

import pytest

# Before any framework is imported: prices, traces, plug-ins and usage reports would be fetched or sent.
os.environ |= {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "LLM_LOAD_PLUGINS": "",
}
HOME = ("127.0.0.1", "localhost", "::1")
strayed = []


def stay_at_home(event, arguments):
    """An audit hook: refuses, and notes, names and addresses that are not this machine's."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host is not None and host not in HOME:
        strayed.append(host)
        raise OSError(f"a client of these tests must not talk to {host}")


sys.addaudithook(stay_at_home)


@pytest.fixture(autouse=True)
def nothing_looks_outside():
    """Frameworks swallow a failed connection, so it is told here."""
    strayed.clear()
    yield
    assert not strayed
