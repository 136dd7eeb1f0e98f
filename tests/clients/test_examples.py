"""The programs in examples/ run as they are, against a live server."""

import shutil
import subprocess
import sys

import pytest
from support import ROOT, clean_environment

EXAMPLES = ROOT / "examples"


def run(server, *command, stdin=None):
    environment = clean_environment(LLAMERO_URL=server.url, OPENAI_BASE_URL=f"{server.url}/v1", OPENAI_API_KEY="EMPTY")
    ended = subprocess.run([str(word) for word in command], input=stdin or "", capture_output=True, text=True, timeout=120, env=environment)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_completion_py_prints_a_completion(server):
    assert "Paris" in run(server, sys.executable, EXAMPLES / "completion.py")


def test_stream_py_prints_a_stream(server):
    assert "Paris" in run(server, sys.executable, EXAMPLES / "stream.py")


def test_chat_py_holds_a_conversation(server):
    # Without the second sentence the two likeliest first words are as good as equal, and rounding decides between them.
    question = "What is the capital of France? Answer in one sentence."

    out = run(server, sys.executable, EXAMPLES / "chat.py", stdin=f"{question}\nAnd of Italy?\n")

    assert "Paris" in out
    assert out.count("> ") == 3


def test_the_legacy_client_finds_its_server_as_it_left_it(server):
    out = run(server, sys.executable, EXAMPLES / "llm_client.py")

    assert "healthy" in out
    assert "The future of AI is" in out


def test_curl_sh_talks_to_every_route(server):
    out = run(server, "bash", EXAMPLES / "curl.sh")

    assert out.count('"text_completion"') >= 2
    assert "data: [DONE]" in out
    assert '"chat.completion"' in out
    assert '"type":"message"' in out
    assert '"prompt":"The future of AI is"' in out


def test_stream_mjs_prints_a_stream(server):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    assert "Paris" in run(server, node, EXAMPLES / "stream.mjs")
