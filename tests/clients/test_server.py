"""The rest of the surface: models, legacy routes byte for byte, request ids, probes, and what the server refuses to do."""

import gzip
import json
import re
import socket
import subprocess

import openai
import pytest
from support import BINARY, MODEL, MODEL_FILE, clean_environment


def test_the_model_is_listed_and_found(client):
    [listed] = client.models.list().data

    assert (listed.id, listed.object) == (MODEL, "model")
    assert client.models.retrieve(MODEL) == listed
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("org/other:7b")
    assert caught.value.code == "model_not_found"


def test_generate_answers_text_prompt_and_model(server):
    prompt = "The future of AI is"

    answer = server.ask("/generate", {"prompt": prompt, "max_tokens": 8, "temperature": 0.7, "ignored": True})

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["text", "prompt", "model"]
    assert body["prompt"] == prompt and body["model"] == MODEL
    assert body["text"] and not body["text"].startswith(prompt)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", b'{"detail":[{"type":"missing","loc":["body","prompt"],"msg":"Field required","input":{}}]}'),
        (b"", b'{"detail":[{"type":"missing","loc":["body"],"msg":"Field required","input":null}]}'),
        (
            b'{"prompt":"a","max_tokens":"x"}',
            b'{"detail":[{"type":"int_parsing","loc":["body","max_tokens"],'
            b'"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}]}',
        ),
        (
            b'{"prompt":"a","stop":"x"}',
            b'{"detail":[{"type":"list_type","loc":["body","stop"],"msg":"Input should be a valid list","input":"x"}]}',
        ),
    ],
)
def test_generate_refuses_as_fastapi_does(server, body, expected):
    answer = server.ask("/generate", body, {"content-type": "application/json"})

    assert (answer.status, answer.body) == (422, expected)


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("GET", "/health", 200, b'{"status":"healthy","model_loaded":true}'),
        ("GET", "/nowhere", 404, b'{"detail":"Not Found"}'),
        ("GET", "/generate", 405, b'{"detail":"Method Not Allowed"}'),
    ],
)
def test_legacy_routes_answer_byte_for_byte(server, method, path, status, expected):
    answer = server.ask(path, method=method)

    assert (answer.status, answer.body) == (status, expected)


def test_the_root_names_the_model(server):
    body = server.ask("/").json()

    assert set(body) >= {"message", "model"}
    assert body["model"] == MODEL


def test_a_request_id_is_made_or_taken_over(server, client):
    made = client.completions.create(model=MODEL, prompt="Hello", max_tokens=1)
    taken = server.ask("/v1/models", headers={"x-request-id": "my-trace-42"})

    assert made._request_id
    assert taken.headers["x-request-id"] == "my-trace-42"
    assert server.ask("/nowhere").headers["x-request-id"]


def test_metrics_carry_the_names_that_dashboards_know(server, client):
    client.completions.create(model=MODEL, prompt="Hello there", max_tokens=2, temperature=0, extra_body={"ignore_eos": True})

    assert server.metric("vllm:num_requests_running") == 0
    assert server.metric("vllm:num_requests_waiting") == 0
    assert server.metric("vllm:generation_tokens_total") >= 2
    assert server.metric("vllm:prompt_tokens_total") >= 2
    assert server.metric("vllm:time_to_first_token_seconds_count") >= 1


def run(*arguments):
    """Runs `llamero` to its end; it must come soon."""
    return subprocess.run(
        [str(BINARY), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=clean_environment()
    )


def test_an_open_address_without_keys_is_refused_with_the_remedy():
    ended = run("serve", "--model", MODEL_FILE, "--host", "0.0.0.0", "--port", "0")

    assert ended.returncode != 0
    assert "--api-key" in ended.stderr


def test_every_problem_of_the_configuration_is_reported_at_once():
    ended = run("serve", "--model", MODEL_FILE, "--port", "banana", "--max-num-seqs", "0")

    assert ended.returncode != 0
    assert "banana" in ended.stderr and re.search("max.num.seqs", ended.stderr), ended.stderr


def test_a_file_that_is_no_model_is_refused_before_it_is_loaded(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 100)

    ended = run("serve", "--model", broken, "--port", "0")

    assert ended.returncode != 0
    assert str(broken) in ended.stderr


def test_the_version_names_the_engine():
    ended = run("--version")

    assert ended.returncode == 0
    assert ended.stdout.startswith("llamero ") and "llama-cpp-2" in ended.stdout


@pytest.mark.parametrize("path", ["/", "/health", "/livez", "/readyz"])
def test_health_checks_of_balancers_and_clients_are_answered(server, path):
    """HAProxy sends OPTIONS with HTTP/1.0 and without a host; wget and Claude Code send HEAD."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"OPTIONS {path} HTTP/1.0\r\n\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == b"200"
    head = server.ask(path, method="HEAD", headers={"host": "any.example"})
    assert (head.status, head.body) == (200, b"")


def test_a_compressed_body_is_read(server):
    body = gzip.compress(json.dumps({"model": MODEL, "prompt": "Hello", "max_tokens": 1}).encode())
    answer = server.ask("/v1/completions", body, {"content-type": "application/json", "content-encoding": "gzip"})

    assert answer.json()["usage"]["completion_tokens"] == 1


def test_the_example_of_the_documents_can_be_sent_as_it_is(server):
    document = server.ask("/openapi.json").json()
    operation = document["paths"]["/v1/completions"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    answer = server.ask("/completions", json.dumps(example).encode(), {"content-type": "application/json"})

    assert (answer.status, example["model"]) == (200, MODEL)
