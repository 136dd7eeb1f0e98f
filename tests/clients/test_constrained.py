"""Texts that are generated under a constraint obey it, as judged by `jsonschema`, Python's `re` and its parser.

Everything is sampled at temperature 1 from a small model that would say something else, with seeds. Texts are bounded by
their constraints, so each must end by itself within its budget.
"""

import ast
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from jsonschema import Draft202012Validator
from schemas import Generator
from support import MODEL, ROOT

pytestmark = pytest.mark.timeout(900)

SCHEMAS = 100
# Number and seed of the schemas with extremes. Each text takes about 60 tokens.
EXTREMES, EXTREMES_SEED = int(os.environ.get("LLAMERO_TEST_SCHEMAS", 60)), os.environ.get("LLAMERO_TEST_SCHEMAS_SEED", "1")
CONCURRENCY = 8
MAX_TOKENS = 1500
PATIENCE = 300

REFUSED = [entry for entry in json.loads((ROOT / "tests/fixtures/json_schema_keywords.json").read_text(encoding="utf-8")) if "refused" in entry]

# Each of the fields that take a schema, on its route.
COMPLETION_FIELDS = [
    lambda schema: {"structured_outputs": {"json": schema}},
    lambda schema: {"json_schema": schema},
    lambda schema: {"guided_json": schema},
]


def chat_field(schema):
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "example", "schema": schema}}}


def complete(server, seed, fields, prompt="An example of the data, as JSON: "):
    body = {"model": MODEL, "prompt": prompt, "max_tokens": MAX_TOKENS, "temperature": 1, "seed": seed} | fields
    return server.ask("/v1/completions", body, timeout=PATIENCE)


def chat(server, seed, fields):
    messages = [{"role": "user", "content": "Invent an example of the data and answer in JSON."}]
    body = {"model": MODEL, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 1, "seed": seed} | fields
    return server.ask("/v1/chat/completions", body, timeout=PATIENCE)


def finished(answer):
    """The text of an answer that ended by itself."""
    assert answer.status == 200, answer.body
    [choice] = answer.json()["choices"]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    assert choice["finish_reason"] == "stop", f"{choice['finish_reason']} after {len(text)} characters: {text!r:.600}"
    return text


def refused_by_name(answer):
    """True if a schema was refused with an error that names its field and a place in it."""
    if answer.status != 400:
        return False
    error = answer.json()["error"]
    names_place = "#" in error["message"] or "nsatisfiable" in error["message"]
    return error["param"] in ("structured_outputs", "structured_outputs.json", "json_schema", "guided_json") and names_place


def judged(answer, schema):
    """None, or what is wrong with an answer under a schema. Numbers are read exactly, and so are the schema's."""
    try:
        value = json.loads(finished(answer), parse_float=Decimal)
        schema = json.loads(json.dumps(schema), parse_float=Decimal)
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
    except Exception as error:  # noqa: BLE001 - a validator that fails on a text is no pass either.
        return f"{type(error).__name__}: {str(error)[:600]}\nschema: {json.dumps(schema, ensure_ascii=False, default=str)}"
    return None


@pytest.mark.parametrize("route", ["completions", "chat"])
def test_a_hundred_random_schemas_are_obeyed(server, route):
    generate = Generator(f"{route} 1").schema
    schemas = [generate() for _ in range(SCHEMAS)]
    for schema in schemas:
        Draft202012Validator.check_schema(schema)

    def run(seed):
        if route == "chat":
            return judged(chat(server, seed, chat_field(schemas[seed])), schemas[seed])
        return judged(complete(server, seed, COMPLETION_FIELDS[seed % len(COMPLETION_FIELDS)](schemas[seed])), schemas[seed])

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        faults = [fault for fault in pool.map(run, range(SCHEMAS)) if fault]

    assert not faults, f"{len(faults)} of {SCHEMAS}:\n" + "\n".join(faults)


@pytest.mark.timeout(EXTREMES * 10)
def test_schemas_with_extremes_are_obeyed_or_refused_by_name(server):
    """Bounds of every kind and size, and control characters. Texts may be cut, where numbers have ever more digits."""
    generator = Generator(f"extremes {EXTREMES_SEED}", extremes=True)
    schemas = [generator.schema() for _ in range(EXTREMES)]

    def run(seed):
        begun = time.monotonic()
        try:
            answer = complete(server, seed, COMPLETION_FIELDS[seed % len(COMPLETION_FIELDS)](schemas[seed]))
        except OSError as error:
            return f"no answer, {error!r} after {time.monotonic() - begun:.0f} s\nschema: {json.dumps(schemas[seed])}"
        if refused_by_name(answer):
            return "refused"
        if answer.status == 200 and answer.json()["choices"][0]["finish_reason"] == "length":
            return "cut"
        return judged(answer, schemas[seed]) or "obeyed"

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        results = list(pool.map(run, range(EXTREMES)))
    counts = {result: results.count(result) for result in ("obeyed", "refused", "cut")}
    faults = [result for result in results if result not in counts]

    print(f"\n{EXTREMES} schemas: {counts}")
    assert not faults, f"{len(faults)} of {EXTREMES}:\n" + "\n".join(faults)
    assert counts["obeyed"] >= 0.9 * EXTREMES, counts


@pytest.mark.parametrize(
    "pattern",
    [
        "[0-9]{3}-[0-9]{4}",
        "(?:yes|no)(?:, (?:sir|madam))?",
        "[A-Z][a-z]{2,8}(?: [A-Z][a-z]{2,8}){1,3}",
        "#[0-9a-fA-F]{6}",
        "(?:[01][0-9]|2[0-3]):[0-5][0-9]",
        "[^0-9\\s]{5}\\.",
        "[äöü]{1,3}|日本{1,3}",
        "(?:a{2}b{0,2}){2,4}",
    ],
)
def test_a_regular_expression_matches_the_whole_text(server, pattern):
    for seed, field in enumerate([{"guided_regex": pattern}, {"structured_outputs": {"regex": pattern}}] * 2):
        text = finished(complete(server, seed, field, prompt="Answer: "))

        assert re.fullmatch(pattern, text), text


@pytest.mark.parametrize("choice", [["yes", "no"], ["red", "reddish", "green"], ["日本", "é", " spaced "], ["only"], [str(number) for number in range(100)]])
def test_a_choice_is_one_of_those_offered(server, choice):
    for seed, field in enumerate([{"guided_choice": choice}, {"structured_outputs": {"choice": choice}}] * 2):
        assert finished(complete(server, seed, field, prompt="Answer: ")) in choice


def is_sum(text):
    return isinstance(ast.parse(text, mode="eval").body, (ast.BinOp, ast.Constant)) and re.fullmatch("[0-9+*() ]+", text)


@pytest.mark.parametrize(
    ("grammar", "obeys"),
    [
        ('root ::= "yes" | "no"', lambda text: text in ("yes", "no")),
        ('root ::= item{2,4}\nitem ::= "- " [a-z]{1,8} "\\n"', lambda text: re.fullmatch("(- [a-z]{1,8}\n){2,4}", text)),
        (
            'root ::= sum\nsum ::= product (" + " product){0,3}\nproduct ::= factor ("*" factor)?\nfactor ::= number | "(" number " + " number ")"\n'
            "number ::= [1-9] [0-9]{0,2}",
            is_sum,
        ),
        ('root ::= [^a-zA-Z0-9]{1,4} ("end" | "END")', lambda text: re.fullmatch("[^a-zA-Z0-9]{1,4}(end|END)", text)),
    ],
    ids=["alternatives", "list", "sum", "classes"],
)
def test_a_gbnf_grammar_is_followed(server, grammar, obeys):
    for seed, field in enumerate([{"grammar": grammar}, {"guided_grammar": grammar}, {"structured_outputs": {"grammar": grammar}}] * 2):
        text = finished(complete(server, seed, field, prompt="Answer: "))

        assert obeys(text), text


def test_the_document_lists_what_is_refused():
    document = (ROOT / "docs/STRUCTURED_OUTPUT.md").read_text(encoding="utf-8")
    table = document.split("### Keywords that are refused")[1]
    names = [name for line in table.splitlines() if line.startswith("| `") for name in re.findall("`([^`]+)`", line.split("|")[1])]

    assert sorted(names) == sorted(entry["keyword"] for entry in REFUSED)


@pytest.mark.parametrize("entry", REFUSED, ids=[entry["keyword"] for entry in REFUSED])
def test_a_keyword_that_is_not_supported_is_refused_by_name(server, entry):
    nested = {"type": "object", "properties": {"inner": {"type": "array", "items": entry["schema"]}}}
    # `then` restricts nothing without `if`, and then that is named.
    named = re.match("'[^']+'", entry["refused"])[0]

    for schema in (entry["schema"], nested):
        answers = [complete(server, 1, field(schema)) for field in COMPLETION_FIELDS] + [chat(server, 1, chat_field(schema))]
        for answer, field in zip(answers, ["structured_outputs", "json_schema", "guided_json", "response_format"], strict=True):
            error = answer.json()["error"]
            assert answer.status == 400, answer.body
            assert named in error["message"], error
            assert error["param"].startswith(field), error


SEEDED = {
    "free": {},
    "schema": chat_field({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
                       "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3}},
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    }),
    "call": {
        "tools": [{"type": "function", "function": {"name": "introduce", "parameters": {
            "type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}}, "required": ["name", "age"]}}}],
        "tool_choice": "required",
    },
}


def written(messages):
    """The content and the arguments of calls in a message, or in the deltas of a stream."""
    content = "".join(message.content or "" for message in messages)
    return content, "".join(call.function.arguments for message in messages for call in message.tool_calls or [])


@pytest.mark.parametrize("kind", SEEDED)
def test_a_seed_gives_the_same_text_cold_cached_and_streamed(client, kind):
    differ = []
    for number in range(6):
        messages = [{"role": "user", "content": f"Case {number} ({kind}): invent a person who likes {'rain' if number % 2 else 'chess'}."}]
        request = {"model": MODEL, "messages": messages, "max_tokens": 40, "temperature": 1, "seed": number} | SEEDED[kind]
        answers = [client.chat.completions.create(**request) for _ in range(2)]
        tokens = [answer.usage.prompt_tokens_details.cached_tokens for answer in answers]
        assert tokens[1] == answers[1].usage.prompt_tokens - 1 > tokens[0], tokens
        cold, cached = (written([answer.choices[0].message]) for answer in answers)
        streamed = written([piece.choices[0].delta for piece in client.chat.completions.create(**request, stream=True) if piece.choices])
        if not cold == cached == streamed:
            differ.append((number, cold, cached, streamed))

    assert not differ, f"{len(differ)} of 6: {differ[:3]}"
