"""LangChain: chat, streams, batches, tools, structured output, plain completions and embeddings."""

import os
from pathlib import Path
from typing import Literal

import pydantic
import pytest
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from support import MODEL, ROOT, serving

QUESTION = "What is the capital of France? Answer in one sentence."
EMBEDDING_MODEL = Path(os.environ.get("LLAMERO_TEST_EMBEDDING_MODEL", ROOT / "models/all-minilm-l6-v2.gguf"))


class Verdict(pydantic.BaseModel):
    """What somebody thinks of something."""

    # A small model adds properties without end where a schema does not forbid them.
    model_config = pydantic.ConfigDict(extra="forbid")

    sentiment: Literal["good", "bad"]
    certain: bool


@tool
def get_weather(city: Literal["Paris", "Rome"], unit: Literal["C", "F"]) -> str:
    """The weather in a city."""
    return f"Sunny in {city}, 20 degrees {unit}."


@pytest.fixture
def chat(server):
    return ChatOpenAI(model=MODEL, base_url=server.base_url, api_key="EMPTY", temperature=0, max_tokens=64, max_retries=0)


def test_a_question_is_answered(chat):
    answer = chat.invoke([SystemMessage("You are helpful."), HumanMessage(QUESTION)])

    assert "Paris" in answer.content
    assert answer.response_metadata["finish_reason"] in ("stop", "length")
    assert answer.usage_metadata["total_tokens"] == answer.usage_metadata["input_tokens"] + answer.usage_metadata["output_tokens"]


def test_a_stream_has_its_usage_and_adds_up(chat):
    pieces = list(chat.stream(QUESTION, stream_usage=True))

    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert len(pieces) > 3
    assert "Paris" in whole.content
    assert whole.usage_metadata["output_tokens"] > 3


def test_a_batch_is_answered_in_order(chat):
    answers = chat.batch([QUESTION, "What is the capital of Italy? Answer in one sentence."])

    assert "Paris" in answers[0].content and "Rome" in answers[1].content


def test_a_chain_of_prompt_and_model_runs(chat):
    chain = ChatPromptTemplate.from_messages([("user", "What is the capital of {country}? Answer in one sentence.")]) | chat

    assert "Paris" in chain.invoke({"country": "France"}).content


@pytest.mark.parametrize("choice", ["required", "get_weather"])
def test_a_tool_is_called_and_its_result_goes_back(chat, choice):
    caller = chat.bind_tools([get_weather], tool_choice=choice, strict=True, parallel_tool_calls=False).bind(max_tokens=128)
    question = HumanMessage("What is the weather in Paris?")

    answer = caller.invoke([question])

    [call] = answer.tool_calls
    assert call["name"] == "get_weather"
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    assert chat.bind_tools([get_weather], tool_choice="none").invoke([question, answer, result]).content


def test_a_tools_call_is_put_together_from_a_stream(chat):
    whole = None
    for piece in chat.bind_tools([get_weather], tool_choice="required", strict=True, parallel_tool_calls=False).stream("Weather?"):
        whole = piece if whole is None else whole + piece

    assert whole.tool_calls[0]["args"]["unit"] in ("C", "F")


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_answer_has_the_structure_that_was_asked_for(chat, method):
    judge = chat.model_copy(update={"max_tokens": 128}).with_structured_output(Verdict, method=method)

    assert isinstance(judge.invoke("I love it! What do I think?"), Verdict)


def test_plain_completions_go_on_with_the_text(server):
    model = OpenAI(model=MODEL, base_url=server.base_url, api_key="EMPTY", temperature=0, max_tokens=16, max_retries=0)

    assert "Paris" in model.invoke("The capital of France is")
    assert "Paris" in "".join(model.stream("The capital of France is"))


@pytest.mark.skipif(not EMBEDDING_MODEL.is_file(), reason=f"SKIPPED: no embedding model at {EMBEDDING_MODEL}")
def test_embeddings_of_documents_and_of_a_query_match(tmp_path):
    arguments = ("--model", EMBEDDING_MODEL, "--served-model-name", "all-minilm-l6-v2")
    with serving(tmp_path / "log", *arguments) as embedder:
        # With the check of lengths on, LangChain fetches OpenAI's vocabulary to count by.
        embeddings = OpenAIEmbeddings(
            model="all-minilm-l6-v2", base_url=embedder.base_url, api_key="EMPTY", check_embedding_ctx_length=False, max_retries=0
        )

        documents = embeddings.embed_documents(["A man is eating food.", "The stock market fell."])
        query = embeddings.embed_query("Someone has a meal.")

    likeness = [sum(a * b for a, b in zip(document, query, strict=True)) for document in documents]
    assert likeness[0] > likeness[1] + 0.2
