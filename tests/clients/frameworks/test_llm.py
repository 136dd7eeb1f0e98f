"""The `llm` command with a server of its own in extra-openai-models.yaml: prompts, streams, schemas, conversations."""

import json

import pytest
from click.testing import CliRunner
from llm.cli import cli
from support import MODEL

GREEDY = ("-o", "temperature", "0", "-o", "max_tokens", "32")
QUESTION = "What is the capital of France? Answer in one sentence."


@pytest.fixture
def llm(server, tmp_path):
    """Runs `llm` with settings and logs of its own, and returns what it prints."""
    models = [
        {"model_id": "chat", "model_name": MODEL, "api_base": server.base_url, "supports_schema": True, "supports_tools": True},
        {"model_id": "text", "model_name": MODEL, "api_base": server.base_url, "completion": True},
    ]
    # JSON is YAML too.
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))

    def run(*arguments):
        ended = CliRunner().invoke(cli, arguments, env={"LLM_USER_PATH": str(tmp_path)}, catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        return ended.output

    return run


def test_the_models_are_listed(llm):
    listed = llm("models")

    assert "chat" in listed and "text" in listed


@pytest.mark.parametrize("how", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_a_question_is_answered(llm, how):
    assert "Paris" in llm("-m", "chat", QUESTION, *how, *GREEDY)


def test_a_text_is_gone_on_with(llm):
    assert "Paris" in llm("-m", "text", "The capital of France is", *GREEDY)


def test_a_schema_is_obeyed(llm):
    schema = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"], "additionalProperties": False}

    answer = llm("-m", "chat", "Are you sure?", "--schema", json.dumps(schema), *GREEDY)

    assert set(json.loads(answer)) == {"sure"}


def test_a_conversation_goes_on_and_is_logged_with_its_usage(llm):
    llm("-m", "chat", QUESTION, *GREEDY)
    assert llm("-c", "And of Italy?", *GREEDY).strip()

    logs = json.loads(llm("logs", "--json"))
    assert [entry["prompt"] for entry in logs] == [QUESTION, "And of Italy?"]
    assert all(entry["input_tokens"] and entry["output_tokens"] for entry in logs)
