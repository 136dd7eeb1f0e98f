"""A small model that behaves like an agent's: it calls an offered tool, reads the result and answers, always in the same words.

Its vocabulary is that of the default model, so that a prompt has as many tokens as with a real one, and some tokens more: the
pieces of its answers. It has one layer that computes nothing. A token's embedding is one of a few directions, and the output
layer reads from a direction which token is next, so that a text is a chain of tokens that each occur once in it. The chat
template decides which chain begins: the last token of a prompt is a mark, one for each tool that the model knows how to call.

A file has 25 MB; a prompt of 20,000 tokens takes seconds.
"""

import json
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, KV_HEADS = 128, 2, 1
TRAINED = 131_072  # Positions, more than any agent's prompt.

# Arguments of the toy's call, by tool name. They fit the agent's schema and change nothing. If several tools are offered, the
# toy calls the first of this table.
CALLS = {
    "exec_command": {"cmd": "echo hello from exec_command"},
    "shell": {"command": ["echo", "hello from shell"]},
    "shell_command": {"command": "echo hello from shell_command"},
    "Bash": {"command": "echo hello from Bash", "description": "Says hello"},
    "bash": {"command": "echo hello from bash", "description": "Says hello"},
    "run_shell_command": {"command": "echo hello from run_shell_command", "is_background": False},
    "list_directory": {"path": "."},
    "List": {"dirpath": "."},
    "get_weather": {"city": "Paris"},
}
# Calls made after a tool's result, if such a tool is offered: libraries ask for their result by such a tool.
RESULTS = {
    "final_result": {"mood": "good", "certain": True},
    "Verdict": {"mood": "good", "certain": False},
}
ANSWER = ["I have", " looked at", " it, and", " that is all."]

TEMPLATE = """\
{%- set state = namespace(called=false, mark='') %}
{%- if tools %}
{{- '<|im_start|>system\\n# Tools\\nYou may call functions to assist with the user query. Their signatures:\\n<tools>' }}
{%- for tool in tools %}{{ '\\n' + tool | tojson }}{% endfor %}
{{- '\\n</tools>\\nFor each call, return a JSON object within tags:\\n<tool_call>\\n{"name": <name>, "arguments": <object>}' }}
{{- '\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
{%- if message.role == 'assistant' %}{% set state.called = (message.tool_calls or []) | length > 0 %}{% endif %}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson + '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if tools %}
{%- for name in (RESULTS if state.called else CALLS) %}{% for tool in tools %}{% if not state.mark and tool.function.name == name %}
{%- set state.mark = '<|call ' + name + '|>' %}
{%- endif %}{% endfor %}{% endfor %}
{%- endif %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' + state.mark }}{% endif %}
"""


def spelled(text):
    """A text as byte-level vocabularies store it."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in plain)
    letters = dict(zip(plain, map(chr, plain))) | {byte: chr(256 + at) for at, byte in enumerate(others)}
    return "".join(letters[byte] for byte in text.encode())


def pieces(name, arguments):
    """The text of a call in two pieces, so that a stream has several. A piece belongs to one call, as each token has one text."""
    call = json.dumps({"name": name, "arguments": arguments})
    cut = call.index(", ")
    return [f"<tool_call>\n{call[:cut]}", f"{call[cut:]}\n</tool_call>"]


def write(source, target):
    """Writes the toy with the vocabulary of the model file `source`."""
    fields = gguf.GGUFReader(source).fields

    def value(name):
        return fields[f"tokenizer.ggml.{name}"].contents()

    tokens, types, chains = value("tokens"), value("token_type"), []
    end = value("eos_token_id")

    def new(text, kind):
        tokens.append(text)
        types.append(kind)
        return len(tokens) - 1

    # A chain lists the tokens that follow its first one. The answer's chain has no first token: it follows every token that
    # begins no other chain.
    for name, arguments in (CALLS | RESULTS).items():
        mark = new(f"<|call {name}|>", gguf.TokenType.CONTROL)
        chains.append([mark, *(new(spelled(piece), gguf.TokenType.NORMAL) for piece in pieces(name, arguments)), end])
    answer = [new(spelled(piece), gguf.TokenType.NORMAL) for piece in ANSWER]
    chains.append([None, *answer, end])

    assert len(set(tokens)) == len(tokens), "a token stands twice in the vocabulary"

    embedding = np.zeros((len(tokens), WIDTH), np.float16)
    output = np.zeros((len(tokens), WIDTH), np.float16)
    embedding[:, 0] = 1
    # Where only JSON is allowed, the model should write little: what closes something first, white space last.
    for at, text in enumerate(tokens):
        if not text.strip("\u0120\u010a\u0109\u010d"):
            output[at, 0] = -3
        elif not text.strip('{}[]":,'):
            output[at, 0] = 1 if set(text) & set("[,") else 2
    direction = 1
    for chain in chains:
        for token, following in pairwise(chain):
            at = 0
            if token is not None:
                at, direction = direction, direction + 1
                embedding[token] = 0
                embedding[token, at] = 1
            output[following, at] = 5

    writer = gguf.GGUFWriter(target, "llama")
    writer.add_name("agents' toy")
    writer.add_context_length(TRAINED)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model(value("model"))
    writer.add_tokenizer_pre(value("pre"))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(value("merges"))
    writer.add_bos_token_id(value("bos_token_id"))
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE.replace("CALLS", json.dumps(list(CALLS))).replace("RESULTS", json.dumps(list(RESULTS))))
    ones, square = np.ones(WIDTH, np.float32), np.zeros((WIDTH, WIDTH), np.float16)
    narrow = np.zeros((WIDTH // HEADS * KV_HEADS, WIDTH), np.float16)
    tensors = {"token_embd": embedding, "output_norm": ones, "output": output}
    layer = {"attn_norm": ones, "attn_q": square, "attn_k": narrow, "attn_v": narrow, "attn_output": square}
    layer |= {"ffn_norm": ones, "ffn_gate": square, "ffn_up": square, "ffn_down": square}
    tensors |= {f"blk.0.{name}": values for name, values in layer.items()}
    for name, values in tensors.items():
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(target)


if __name__ == "__main__":
    import sys

    write(*sys.argv[1:])
