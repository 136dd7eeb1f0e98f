"""The requests: name, method, path, headers, and body. Greedy or seeded, short, and errors of every kind."""

import json

from support import MODEL

COMPLETIONS, CHAT, RESPONSES, MESSAGES = "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages"
USER = [{"role": "user", "content": "Say hello."}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION = {"name": "weather", "description": "The weather", "parameters": PARAMETERS}
TOOL = {"type": "function", "function": FUNCTION}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"], "additionalProperties": False}
DONE = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}],
}

MINIMAL = {
    COMPLETIONS: {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 6, "temperature": 0},
    CHAT: {"model": MODEL, "messages": USER, "max_tokens": 6, "temperature": 0},
    RESPONSES: {"model": MODEL, "input": "Say hello.", "max_output_tokens": 16, "temperature": 0},
    MESSAGES: {"model": MODEL, "messages": USER, "max_tokens": 6, "temperature": 0},
    "/v1/completions/render": {"model": MODEL, "prompt": "The capital of France is"},
    "/v1/chat/completions/render": {"model": MODEL, "messages": USER},
    "/v1/explain": {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 6},
    "/v1/messages/count_tokens": {"model": MODEL, "messages": USER},
    "/v1/embeddings": {"model": MODEL, "input": "Hi"},
    "/v1/rerank": {"model": MODEL, "query": "a", "documents": ["b"]},
    "/v1/score": {"model": MODEL, "text_1": "a", "text_2": "b"},
    "/tokenize": {"content": "Hello <|im_end|>"},
    "/detokenize": {"tokens": [1, 2, 3, 100]},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": 4, "temperature": 0},
    "/completion": {"prompt": "The future is", "n_predict": 6, "temperature": 0},
    "/apply-template": {"messages": USER},
    "/generate": {"prompt": "The future is", "max_tokens": 6, "temperature": 0},
}

# Fields added to the minimal body of a route.
MORE = {
    COMPLETIONS: [
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"n": 2, "temperature": 1, "seed": 7},
        {"logprobs": 2},
        {"logprobs": 2, "stream": True},
        {"echo": True},
        {"echo": True, "logprobs": 1, "max_tokens": 0},
        {"stop": ["Paris"]},
        {"stop": " the"},
        {"best_of": 2, "n": 1, "temperature": 1, "seed": 7},
        {"prompt": ["One", "Two"]},
        {"prompt": [1, 2, 3]},
        {"prompt": [[1, 2], [3]]},
        {"prompt_logprobs": 1},
        {"return_token_ids": True},
        {"min_tokens": 3},
        {"ignore_eos": True},
        {"stop_token_ids": [28]},
        {"suffix": "end"},
        {"top_k": 5, "seed": 1, "temperature": 0.9},
        {"top_p": 0.5, "seed": 1, "temperature": 0.9},
        {"min_p": 0.1, "seed": 1, "temperature": 0.9},
        {"typical_p": 0.5, "seed": 1, "temperature": 0.9},
        {"xtc_probability": 0.5, "seed": 1, "temperature": 0.9},
        {"dry_multiplier": 1.0},
        {"repetition_penalty": 1.3},
        {"frequency_penalty": 1, "presence_penalty": 1},
        {"logit_bias": {"260": 50}},
        {"truncate_prompt_tokens": 2},
        {"response_format": {"type": "json_object"}},
        {"json_schema": SCHEMA},
        {"guided_choice": ["yes", "no"]},
        {"structured_outputs": {"regex": "[ab]{3}"}},
        {"grammar": 'root ::= "a" | "b"'},
        {"user": "me", "metadata": {"a": "b"}},
        {"nonsense": 1},
        {"mirostat": 2},
        {"use_beam_search": True},
    ],
    CHAT: [
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"n": 2, "temperature": 1, "seed": 7},
        {"logprobs": True, "top_logprobs": 2},
        {"logprobs": True, "stream": True},
        {"max_completion_tokens": 4, "max_tokens": None},
        {"stop": ["!"]},
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "required", "max_tokens": 40},
        {"tools": [TOOL], "tool_choice": "required", "max_tokens": 40, "stream": True},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}, "max_tokens": 40},
        {"tools": [TOOL], "tool_choice": "none"},
        {"messages": [*USER, CALLED, DONE], "tools": [TOOL]},
        {"messages": [{"role": "system", "content": "Be brief."}, *USER]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        {"response_format": {"type": "json_object"}, "max_tokens": 20},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, "max_tokens": 20},
        {"chat_template_kwargs": {"x": 1}},
        {"add_generation_prompt": False},
        {"reasoning_effort": "low"},
        {"store": True},
        {"nonsense": 1},
        {"messages": [{"role": "user", "content": "a", "oddity": 2}]},
        {"prediction": {"type": "content", "content": "Hello"}},
        {"parallel_tool_calls": False},
    ],
    RESPONSES: [
        {"stream": True},
        {"instructions": "Be brief."},
        {"input": [{"role": "user", "content": "Hi"}]},
        {"tools": [{"type": "function", **FUNCTION}]},
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
        {"top_logprobs": 2, "include": ["message.output_text.logprobs"]},
        {"tools": [{"type": "function", **FUNCTION}], "tool_choice": "required", "max_output_tokens": 40},
        {"tools": [{"type": "function", **FUNCTION}], "tool_choice": "required", "max_output_tokens": 40, "stream": True},
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}, "max_output_tokens": 20},
        {"metadata": {"a": "b"}},
        {
            "input": [
                {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "x"},
            ]
        },
        {"truncation": "auto"},
        {"store": False},
        {"nonsense": 1},
    ],
    MESSAGES: [
        {"stream": True},
        {"system": "Be brief."},
        {"system": [{"type": "text", "text": "Be brief."}]},
        {"stop_sequences": ["!"]},
        {"top_k": 5, "temperature": 0.9, "seed": 3},
        {"tools": [{"name": "weather", "input_schema": PARAMETERS}]},
        {"tools": [{"name": "weather", "input_schema": PARAMETERS}], "tool_choice": {"type": "any"}, "max_tokens": 40},
        {
            "tools": [{"name": "weather", "input_schema": PARAMETERS}],
            "tool_choice": {"type": "tool", "name": "weather"},
            "max_tokens": 40,
            "stream": True,
        },
        {"messages": [*USER, {"role": "assistant", "content": "Hello"}]},
        {"thinking": {"type": "disabled"}},
        {"metadata": {"user_id": "u"}},
        {"nonsense": 1},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}]},
        {
            "messages": [
                *USER,
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "weather", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
            ]
        },
    ],
    "/v1/explain": [{"prompt": None, "messages": USER}, {"n": 2, "nonsense": 1}],
    "/tokenize": [{"content": None, "messages": USER}, {"with_pieces": True}, {"parse_special": False}, {"return_token_strs": True}],
    "/infill": [{"stream": True}],
    "/completion": [{"stream": True}, {"n_probs": 2}, {"prompt": ["One", [1, "two"]]}, {"temperature": 9}, {"json_schema": SCHEMA}],
    "/generate": [{"top_p": 0.5}, {"stop": ["."]}, {"stream": True}],
}

# The same, and each is refused, or odd.
ODD = {
    COMPLETIONS: [
        {"prompt": None},
        {"prompt": []},
        {"prompt": 5},
        {"prompt": [9_999_999]},
        {"max_tokens": "6"},
        {"max_tokens": -5},
        {"max_tokens": 10**9, "stop": [" "]},
        {"temperature": -1},
        {"temperature": 3},
        {"top_p": 2},
        {"n": 0},
        {"n": 1000},
        {"logprobs": 999},
        {"stop": [f"{n}:" for n in range(65)]},
        {"stop": ""},
        {"best_of": 1, "n": 2},
        {"model": "other"},
        {"seed": "x"},
        {"logit_bias": {"x": 1}},
        {"logit_bias": {"1": 1000}},
        {"stream_options": {"include_usage": True}},
        {"json_schema": {"not": {}}},
        {"grammar": "root ::="},
        {"structured_outputs": {"regex": "("}},
        {"json_schema": {"const": 1e300}},
        {"suffix": "x" * 100_000},
        {"prompt": "word " * 9_000},
    ],
    CHAT: [
        {"messages": None},
        {"messages": []},
        {"messages": "x"},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "judge", "content": "x"}]},
        {"tool_choice": "required"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "messages"}}},
        {"tools": [{"type": "function"}]},
        {"tools": [TOOL, TOOL]},
        {"response_format": {"type": "yaml"}},
        {"top_logprobs": 3},
        {"messages": [DONE]},
        {"max_tokens": 10**9, "stop": [" "]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"if": {}}}}},
    ],
    RESPONSES: [
        {"input": None},
        {"input": []},
        {"input": [{"type": "reasoning"}]},
        {"previous_response_id": "resp_1"},
        {"background": True},
        {"max_output_tokens": 1},
        {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
        {"tools": [{"type": "function", **FUNCTION}], "tool_choice": {"type": "function", "name": "messages"}},
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        {"text": {"format": {"type": "xml"}}},
    ],
    MESSAGES: [
        {"max_tokens": None},
        {"messages": []},
        {"messages": [{"role": "system", "content": "x"}]},
        {"tool_choice": {"type": "tool", "name": "messages"}},
        {"thinking": {"type": "x"}},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {"tools": [{"name": "f"}]},
        {"stop_sequences": "x"},
        {"temperature": 2},
    ],
    "/generate": [{"prompt": None}, {"max_tokens": "x"}, {"temperature": -1}],
    "/tokenize": [{"content": None}, {"content": 5}],
    "/detokenize": [{"tokens": None}, {"tokens": [9_999_999]}, {"tokens": "x"}],
}

GETS = [
    "/",
    "/health",
    "/livez",
    "/readyz",
    "/v1/models",
    f"/v1/models/{MODEL}",
    "/v1/models/other",
    "/tokenizer_info",
    "/props",
    "/slots",
    "/openapi.json",
    "/docs",
    "/nowhere",
    "/v1/nowhere",
]


def requests():
    """All of them, each with a name that says what it is."""
    made = {}

    def add(name, method, path, body=None, **headers):
        assert name not in made, name
        made[name] = (method, path, {key.replace("_", "-"): value for key, value in headers.items()}, body)

    def post(name, path, body, **headers):
        add(name, "POST", path, json.dumps(body).encode(), content_type="application/json", **headers)

    for path in GETS:
        add(f"GET {path}", "GET", path)
    for path, body in MINIMAL.items():
        post(f"{path} minimal", path, body)
        post(f"{path} unknown field, strict", path, body | {"oddity": 1}, x_llamero_strict="1")
        post(f"{path} unknown field, in the body", path, body | {"oddity": 1}, x_llamero_warnings="body")
        add(f"{path} no JSON", "POST", path, b"{", content_type="application/json")
        add(f"{path} a list", "POST", path, b"[]", content_type="application/json")
        add(f"{path} as text", "POST", path, json.dumps(body).encode(), content_type="text/plain")
        add(f"GET {path}", "GET", path)
    for kind, table in (("with", MORE), ("odd", ODD)):
        for path, bodies in table.items():
            for number, more in enumerate(bodies):
                body = {key: value for key, value in (MINIMAL[path] | more).items() if value is not None}
                post(f"{path} {kind} {number}: {json.dumps(more)[:100]}", path, body)
    return made
