"""The promises of /openapi.json hold: the document is valid, and whatever schemathesis makes of it is answered as it says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import openapi_spec_validator
import pytest
from support import MODEL, ROOT, clean_environment, serving

EMBEDDING_MODEL = Path(os.environ.get("LLAMERO_TEST_EMBEDDING_MODEL", ROOT / "models/all-minilm-l6-v2.gguf"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
SEED = 20


def examine(server, model, folder, *arguments):
    """Runs schemathesis, each of whose findings is a failure, and returns how many cases its report counts."""
    report = folder / "report.json"
    command = [
        Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json",
        "--checks", CHECKS, "--seed", SEED, "--generation-deterministic",
        "--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-shrink", "--no-color", "--warnings", "off",
        "--request-timeout", 60, "--suppress-health-check", "all", "--report", "json", "--report-json-path", report, *arguments,
    ]  # fmt: skip
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=clean_environment(SCHEMATHESIS_HOOKS=str(ROOT / "tests/clients/openapi_hooks.py"), LLAMERO_MODEL=model),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr
    return json.loads(report.read_text())["test_cases"]["generated"]


def test_the_document_is_valid(server):
    openapi_spec_validator.validate(server.ask("/openapi.json").json())


@pytest.mark.timeout(900)
def test_two_thousand_requests_are_answered_as_the_document_says(start_server, tmp_path):
    with start_server("--max-model-len", "256", "--max-num-seqs", "8") as server:
        engine = server.engine_pid()

        cases = examine(server, MODEL, tmp_path, "--max-examples", 100, "--workers", 2)

        assert server.engine_pid() == engine, "the engine died"
    print(f"{cases} cases")
    assert cases >= 2000


@pytest.mark.timeout(600)
@pytest.mark.skipif(not EMBEDDING_MODEL.is_file(), reason=f"SKIPPED: no embedding model at {EMBEDDING_MODEL}")
def test_an_embedding_model_answers_as_the_document_says(tmp_path):
    name = "all-minilm-l6-v2"
    with serving(tmp_path / "log", "--model", EMBEDDING_MODEL, "--served-model-name", name) as server:
        engine = server.engine_pid()

        cases = examine(server, name, tmp_path, "--max-examples", 25, "--workers", 2, "--include-path-regex", "embeddings|rerank|score")

        assert server.engine_pid() == engine, "the engine died"
    assert cases >= 100
