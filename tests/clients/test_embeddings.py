"""Embeddings, rerank and score through the real `openai` package and plain HTTP, with all-MiniLM-L6-v2.

The model is LLAMERO_TEST_EMBEDDING_MODEL, or models/all-minilm-l6-v2.gguf, which scripts/minilm.py makes. What it should
compute is tests/fixtures/minilm.json, by the same script.
"""

import base64
import json
import math
import os
import struct
import threading
from pathlib import Path

import openai
import pytest
from conftest import connect
from support import MODEL, ROOT, serving, wait_until

MODEL_FILE = Path(os.environ.get("LLAMERO_TEST_EMBEDDING_MODEL", ROOT / "models/all-minilm-l6-v2.gguf"))
NAME = "all-minilm-l6-v2"
KNOWN = json.loads((ROOT / "tests/fixtures/minilm.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.skipif(
    not MODEL_FILE.is_file(), reason=f"SKIPPED: no embedding model at {MODEL_FILE}: scripts/minilm.py convert {MODEL_FILE}"
)
# The shared server takes arguments after its own, and the last of a kind counts.
EMBEDDER = ("--model", MODEL_FILE, "--served-model-name", NAME)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("embedder") / "log", *EMBEDDER) as running:
        yield running


@pytest.fixture
def client(embedder):
    with connect(embedder) as made:
        yield made


def cosine(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True))


def vectors(response):
    assert [entry.index for entry in response.data] == list(range(len(response.data)))
    return [entry.embedding for entry in response.data]


def test_vectors_are_those_of_an_independent_calculation(client):
    response = client.embeddings.create(model=NAME, input=[known["text"] for known in KNOWN])

    for vector, known in zip(vectors(response), KNOWN, strict=True):
        assert math.isclose(cosine(vector, vector), 1, abs_tol=1e-5)
        assert cosine(vector, known["embedding"]) > 0.9995, known["text"]
    tokens = sum(len(known["tokens"]) for known in KNOWN)
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (tokens, tokens)


def test_what_the_sdk_asks_for_by_default_is_what_it_gets_when_it_asks_for_floats(embedder, client):
    # By default the SDK asks for base64 and unpacks it.
    default = vectors(client.embeddings.create(model=NAME, input="A man is eating food."))
    floats = vectors(client.embeddings.create(model=NAME, input="A man is eating food.", encoding_format="float"))
    raw = embedder.ask("/v1/embeddings", {"model": NAME, "input": "A man is eating food.", "encoding_format": "base64"}).json()
    packed = base64.b64decode(raw["data"][0]["embedding"])

    assert len(packed) == 4 * 384
    assert cosine(default[0], floats[0]) > 0.999999
    assert cosine(struct.unpack("<384f", packed), floats[0]) > 0.999999


def test_token_ids_give_the_vectors_of_their_text(client):
    by_tokens = vectors(client.embeddings.create(model=NAME, input=[known["tokens"] for known in KNOWN]))
    one = vectors(client.embeddings.create(model=NAME, input=KNOWN[0]["tokens"]))

    for vector, known in zip(by_tokens, KNOWN, strict=True):
        assert cosine(vector, known["embedding"]) > 0.9995
    assert cosine(one[0], KNOWN[0]["embedding"]) > 0.9995


def test_fewer_dimensions_are_the_first_ones_normalised_again(client):
    (short,) = vectors(client.embeddings.create(model=NAME, input="A man is eating food.", dimensions=64))

    expected = KNOWN[0]["embedding"][:64]
    length = math.sqrt(cosine(expected, expected))
    assert len(short) == 64
    assert cosine(short, [number / length for number in expected]) > 0.999


def test_a_full_request_is_answered_in_order(client):
    texts = [f"{index} {KNOWN[index % 10]['text']}" for index in range(2048)]

    response = client.with_options(timeout=300).embeddings.create(model=NAME, input=texts)

    many = vectors(response)
    alone = vectors(client.embeddings.create(model=NAME, input=[texts[7], texts[2047]]))
    assert cosine(many[7], alone[0]) > 0.9999 and cosine(many[2047], alone[1]) > 0.9999


def test_a_name_that_is_not_served_is_answered_unless_the_request_is_strict(client):
    asked = {"model": "text-embedding-3-small", "input": "a"}

    answer = client.embeddings.with_raw_response.create(**asked)

    assert "text-embedding-3-small is not served here" in answer.headers["x-llamero-warnings"]
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(**asked, extra_headers={"x-llamero-strict": "1"})


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("input", {"input": ""}),
        ("input", {"input": []}),
        ("input[1]", {"input": ["a", ""]}),
        ("input", {"input": [30522]}),
        ("input", {"input": ["a"] * 2049}),
        ("input", {"input": "word " * 511}),
        ("dimensions", {"input": "a", "dimensions": 385}),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(client, param, fields):
    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(**{"model": NAME} | fields)

    assert caught.value.status_code in (400, 404)
    assert caught.value.param == param


def test_the_longest_input_is_embedded_and_a_longer_one_only_when_cut(embedder, client):
    assert client.embeddings.create(model=NAME, input="word " * 510).usage.prompt_tokens == 512

    cut = client.embeddings.with_raw_response.create(model=NAME, input="word " * 600, extra_body={"truncate_prompt_tokens": -1})
    assert cut.parse().usage.prompt_tokens == 512
    assert "truncated to 512 tokens" in cut.headers["x-llamero-warnings"]


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
def test_documents_are_ranked(embedder, path):
    documents = [known["text"] for known in KNOWN[1:]]

    answer = embedder.ask(path, {"model": NAME, "query": KNOWN[0]["text"], "documents": documents, "top_n": 3})

    body = answer.json()
    assert answer.status == 200, body
    assert [result["index"] for result in body["results"]][0] == 0
    assert body["results"][0]["document"]["text"] == "Someone is having a meal."
    scores = [result["relevance_score"] for result in body["results"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 3
    expected = cosine(KNOWN[0]["embedding"], KNOWN[1]["embedding"])
    assert math.isclose(scores[0], expected, abs_tol=0.01)


def test_scores_are_of_pairs(embedder):
    body = {"model": NAME, "text_1": KNOWN[3]["text"], "text_2": [KNOWN[4]["text"], KNOWN[5]["text"]]}

    scores = [entry["score"] for entry in embedder.ask("/v1/score", body).json()["data"]]

    for score, index in zip(scores, (4, 5), strict=True):
        assert math.isclose(score, cosine(KNOWN[3]["embedding"], KNOWN[index]["embedding"]), abs_tol=0.01)


def test_each_kind_of_model_refuses_what_the_other_is_for(embedder, server, client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=NAME, prompt="Hello")
    assert caught.value.code == "model_not_supported" and "generation model" in caught.value.message

    with connect(server) as generator, pytest.raises(openai.BadRequestError) as caught:
        generator.embeddings.create(model=MODEL, input="Hello")
    assert caught.value.code == "model_not_supported" and "embedding" in caught.value.message


def test_an_engine_that_is_killed_does_not_lose_a_request(serve):
    running = serve(*EMBEDDER)
    outcome = {}

    def embed():
        with connect(running, timeout=300) as client:
            outcome["response"] = client.embeddings.create(model=NAME, input=["word " * 400] * 20)

    steps = "llamero:engine_steps_total"
    thread = threading.Thread(target=embed)
    thread.start()
    wait_until(lambda: running.metric(steps) >= 1, 120, "the request is being computed")
    os.kill(running.engine_pid(), 9)
    thread.join(300)

    assert len(outcome["response"].data) == 20
    assert running.metric("llamero:engine_deaths_total") == 1


def test_a_client_that_goes_away_stops_the_work(serve):
    running = serve(*EMBEDDER)

    with connect(running, timeout=0.5) as client, pytest.raises(openai.APITimeoutError):
        client.embeddings.create(model=NAME, input=["word " * 400] * 500, encoding_format="base64")

    # Done far sooner than five hundred batches are.
    wait_until(lambda: "client_gone" in running.log.read_text(), 10, "the request is given up")
    with connect(running) as client:
        client.embeddings.create(model=NAME, input="Hello")
    assert running.metric("llamero:engine_steps_total") < 250
