"""Hostile requests by kind, each in many places: route, JSON body, and the statuses that are right answers to it."""

import json

from support import MODEL

USER = [{"role": "user", "content": "Hi"}]
# An answer to a request that is refused for what is in it; one that is served; one that a busy server puts off.
REFUSED, SERVED, LATER = {400, 422}, {200}, {503}

COMPLETIONS, CHAT, RESPONSES, MESSAGES = "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages"


def completion(**fields):
    return COMPLETIONS, {"model": MODEL, "prompt": "Hi", "max_tokens": 8} | fields


def chat(**fields):
    return CHAT, {"model": MODEL, "messages": USER, "max_tokens": 8} | fields


def responses(**fields):
    return RESPONSES, {"model": MODEL, "input": "Hi", "max_output_tokens": 16} | fields


def messages(**fields):
    return MESSAGES, {"model": MODEL, "messages": USER, "max_tokens": 8} | fields


def chat_schema(schema):
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})


def function(schema):
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


class Raw(float):
    """A number as it is written here: beyond what `json` would print."""

    def __new__(cls, text):
        self = super().__new__(cls, 0.0)
        self.text = text
        return self


def encode(body):
    """JSON, with each `Raw` number as it is written."""
    raw = []

    def mark(value):
        if isinstance(value, Raw):
            raw.append(value.text)
            return f"\x00{len(raw) - 1}\x00"
        if isinstance(value, dict):
            return {key: mark(item) for key, item in value.items()}
        if isinstance(value, list):
            return [mark(item) for item in value]
        return value

    text = json.dumps(mark(body), separators=(",", ":"))
    for index, number in enumerate(raw):
        text = text.replace(f'"\\u0000{index}\\u0000"', number)
    return text.encode()


# === A number beyond what a grammar can count, in every place that takes a schema ===


def extreme_numbers():
    """Name, request and right statuses of each."""
    low, high = Raw("-1e19"), Raw("1e308")
    integer = {"type": "integer", "const": low}
    required = {"type": "object", "properties": {"a": integer}, "required": ["a"]}
    places = {
        "const": chat_schema(integer),
        "const 1e308": chat_schema({"type": "integer", "const": high}),
        "const below i64": chat_schema({"type": "integer", "const": Raw("-9223372036854775809")}),
        "const beyond u64": chat_schema({"type": "integer", "const": Raw("18446744073709551616")}),
        "enum": chat_schema({"type": "integer", "enum": [1, low]}),
        "minimum is maximum": chat_schema({"type": "integer", "minimum": low, "maximum": low}),
        "exclusive bounds": chat_schema({"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": Raw("-9e18")}),
        "property": chat_schema(required),
        "array": chat_schema({"type": "array", "items": integer, "minItems": 1}),
        "anyOf": chat_schema({"anyOf": [{"type": "null"}, integer]}),
        "$defs": chat_schema({"$ref": "#/$defs/a", "$defs": {"a": integer}}),
        "tool": chat(tools=[function(required)], tool_choice="required"),
        "tool by name": chat(tools=[function(required)], tool_choice={"type": "function", "function": {"name": "f"}}),
        "completions json_schema": completion(json_schema=integer),
        "completions guided_json": completion(guided_json=integer),
        "completions structured_outputs": completion(structured_outputs={"json": integer}),
        "responses": responses(text={"format": {"type": "json_schema", "name": "x", "schema": required}}),
        "responses tool": responses(tools=[{"type": "function", "name": "f", "parameters": required}], tool_choice="required"),
        "messages tool": messages(tools=[{"name": "f", "input_schema": required}], tool_choice={"type": "any"}),
    }
    # A tool that does not ask for `strict` is offered with the parts of its schema that can be held to.
    return [(f"number: {name}", request, REFUSED | (SERVED if "tool" in name else set())) for name, request in places.items()]


# === As many keys as a body can hold, in every object that a client sends ===


def many_keys(count=100_000):
    keys = {f"k{index}": 0 for index in range(count)}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tool = function({"type": "object"})
    called = [*USER, {"role": "assistant", "tool_calls": [call | keys]}, {"role": "tool", "tool_call_id": "c", "content": "1"}]
    places = {
        "completions": completion(**keys),
        "completions stream_options": completion(stream=True, stream_options=keys),
        "completions logit_bias": completion(logit_bias={str(index): 1 for index in range(count)}),
        "chat": chat(**keys),
        "chat message": chat(messages=[USER[0] | keys]),
        "chat content part": chat(messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"} | keys]}]),
        "chat response_format": chat(response_format={"type": "text"} | keys),
        "chat json_schema": chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "null"}} | keys}),
        "chat tools[]": chat(tools=[tool | keys]),
        "chat tools[].function": chat(tools=[{"type": "function", "function": tool["function"] | keys}]),
        "chat tool_calls[]": chat(messages=called, tools=[tool]),
        "chat tool_choice": chat(tools=[tool], tool_choice={"type": "function", "function": {"name": "f"}} | keys),
        "chat metadata": chat(metadata={key: "v" for key in keys}),
        "chat template arguments": chat(chat_template_kwargs=keys),
        "responses": responses(**keys),
        "responses item": responses(input=[{"type": "message", "role": "user", "content": "Hi"} | keys]),
        "responses part": responses(input=[{"role": "user", "content": [{"type": "input_text", "text": "Hi"} | keys]}]),
        "messages": messages(**keys),
        "messages block": messages(messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"} | keys]}]),
        "messages tools[]": messages(tools=[{"name": "f", "input_schema": {"type": "object"}} | keys]),
        "generate": ("/generate", {"prompt": "Hi", "max_tokens": 8} | keys),
        "infill input_extra[]": ("/infill", {"input_prefix": "a", "input_suffix": "b", "n_predict": 4, "input_extra": [{"text": "c"} | keys]}),
        "tokenize": ("/tokenize", {"content": "Hi"} | keys),
        "explain": ("/v1/explain", {"model": MODEL, "prompt": "Hi"} | keys),
    }
    # 404: the default model cannot fill in the middle, and says so.
    return [(f"keys: {name}", request, SERVED | REFUSED | {404, 501}) for name, request in places.items()]


# === Schemas that take long to compile or to follow ===


def slow_schemas():
    def names(count, schema):
        return {f"p{index}": schema for index in range(count)}

    required = {"type": "object", "properties": names(2_000, {}), "required": list(names(2_000, {})), "additionalProperties": False}
    places = {
        "patternProperties": chat_schema({"patternProperties": {f"{index}": {} for index in range(5_900)}}),
        "patternProperties of a tool": chat(tools=[function({"patternProperties": {f"{index}": {} for index in range(5_900)}})], tool_choice="required"),
        "2,000 required": chat_schema(required),
        "alternatives": chat_schema({"anyOf": [{"type": "object", "properties": names(40, {"type": "string"}), "required": [f"p{index}"]} for index in range(60)]}),
        "pattern": chat_schema({"type": "string", "pattern": "(a|b)*a(a|b){60}c"}),
        "lengths": chat_schema({"type": "array", "minItems": 5_000, "items": {"type": "string", "minLength": 5_000}}),
        "regex": completion(structured_outputs={"regex": "(.*a){20}.{200}"}),
        "grammar": completion(grammar='root ::= r0\n' + "".join(f"r{n} ::= r{n + 1} | r{n + 1}\n" for n in range(500)) + 'r500 ::= "a"\n'),
    }
    return [(f"slow: {name}", request, SERVED | REFUSED | LATER) for name, request in places.items()]


# === Texts as long as a body can hold, or as long to tokenize ===


def long_texts(length=1_900_000):
    units = {"words": "word ", "letters": "A", "lines": "\n", "emoji": "🦙", "markers": "a<|im_end|>"}
    # These take the tokenizer many times as long as words. They are still long ones (more than 256 KiB).
    shorter = {"letters": length // 4, "markers": length // 7}
    texts = {name: unit * (shorter.get(name, length) // len(unit.encode())) for name, unit in units.items()}
    tokenize = {f"tokenize {name}": ("/tokenize", {"content": text}) for name, text in texts.items()}
    generate = {
        "completions": completion(prompt=texts["words"]),
        "chat": chat(messages=[{"role": "user", "content": texts["letters"]}]),
        "generate": ("/generate", {"prompt": texts["words"], "max_tokens": 8}),
    }
    # 413: line ends and emoji are longer as JSON writes them.
    return [(f"text: {name}", request, SERVED | REFUSED | LATER | {413, 429}) for name, request in (tokenize | generate).items()]
