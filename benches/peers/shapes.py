"""Models of Llama's architecture with random weights: the speed of a shape does not depend on them. Texts of such a model mean nothing.

`toy`, W5's model, is so small that what is left is the server's own work; the others have the sizes that people run, in Q4_0.
"""

import random
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    rope_base: float
    # Blocks of four-bit numbers; f16 otherwise.
    q4_0: bool = True

    @property
    def head(self):
        return self.width // self.heads


SHAPES = {
    "toy": Shape(2, 64, 128, 4, 2, 32000, 8192, 10000, q4_0=False),
    "llama-1b": Shape(16, 2048, 8192, 32, 8, 128256, 131072, 500000),
    "mistral-7b": Shape(32, 4096, 14336, 32, 8, 32768, 32768, 1000000),
}
# Of `gguf_type` and `ggml_type`.
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_F32, TENSOR_F16, TENSOR_Q4_0 = 0, 1, 2
# A block of Q4_0: numbers, and bytes with its f16 scale.
BLOCK, BLOCK_BYTES = 32, 18
# Blocks that differ; then they come again.
DISTINCT_BLOCKS = 1 << 16
ALIGNMENT = 32


def path(name="toy"):
    """The file, written once per machine: some MB, 0.8 GB, 4 GB."""
    shape = SHAPES[name]
    file = Path(tempfile.gettempdir()) / f"llamero-bench-{name}-{shape.layers}x{shape.width}x{shape.vocabulary}.gguf"
    if not file.exists():
        part = file.with_suffix(".part")
        with open(part, "wb") as out:
            write(out, name, shape)
        part.rename(file)
    return file


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key, kind, data):
    return text(key) + struct.pack("<I", kind) + data


def array(key, kind, items):
    return entry(key, ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items))


def metadata(name, shape):
    pack = lambda form, values: [struct.pack(form, value) for value in values]
    # Three control tokens, the bytes, words of one's own.
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [2, 3, 3] + [6] * 256
    plain = shape.vocabulary - len(words)
    words += ["▁", *(f"▁w{number}" for number in range(plain - 1))]
    numbers = {"llama.context_length": shape.context, "llama.embedding_length": shape.width, "llama.block_count": shape.layers,
               "llama.feed_forward_length": shape.feed_forward, "llama.attention.head_count": shape.heads,
               "llama.attention.head_count_kv": shape.kv_heads, "llama.rope.dimension_count": shape.head,
               "llama.vocab_size": shape.vocabulary, "general.file_type": 2 if shape.q4_0 else 1, "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.bos_token_id": 1,
               "tokenizer.ggml.eos_token_id": 2}
    return [entry("general.architecture", STRING, text("llama")), entry("general.name", STRING, text(f"bench {name}")),
            *(entry(key, U32, struct.pack("<I", number)) for key, number in numbers.items()),
            entry("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5)),
            entry("llama.rope.freq_base", F32, struct.pack("<f", shape.rope_base)),
            entry("tokenizer.ggml.model", STRING, text("llama")), entry("tokenizer.ggml.add_bos_token", BOOL, b"\1"),
            array("tokenizer.ggml.tokens", STRING, [text(word) for word in words]),
            array("tokenizer.ggml.scores", F32, pack("<f", [0] * (shape.vocabulary - plain) + [-number for number in range(plain)])),
            array("tokenizer.ggml.token_type", I32, pack("<i", kinds + [1] * plain))]


def tensors(shape):
    """Names and sizes, the length of a row first."""
    width, feed_forward, kv = shape.width, shape.feed_forward, shape.kv_heads * shape.head
    yield "token_embd.weight", (width, shape.vocabulary)
    yield "output_norm.weight", (width,)
    yield "output.weight", (width, shape.vocabulary)
    for layer in range(shape.layers):
        for part, size in {"attn_norm": (width,), "attn_q": (width, width), "attn_k": (width, kv), "attn_v": (width, kv),
                           "attn_output": (width, width), "ffn_norm": (width,), "ffn_gate": (width, feed_forward),
                           "ffn_up": (width, feed_forward), "ffn_down": (feed_forward, width)}.items():
            yield f"blk.{layer}.{part}.weight", size


def kind_and_bytes(size, shape):
    """The type of a tensor and its length without padding."""
    if len(size) == 1:
        return TENSOR_F32, 4 * size[0]
    numbers = size[0] * size[1]
    return (TENSOR_Q4_0, numbers // BLOCK * BLOCK_BYTES) if shape.q4_0 else (TENSOR_F16, 2 * numbers)


def weights(name, size, shape, rng, blocks):
    """Norms are ones, matrices noise; control tokens and bytes are never the likeliest, so that every token is text."""
    kind, length = kind_and_bytes(size, shape)
    if kind == TENSOR_F32:
        return struct.pack(f"<{size[0]}f", *[1.0] * size[0])
    silent = 259 * size[0] if name == "output.weight" else 0
    if kind == TENSOR_Q4_0:
        noise = blocks * (length // len(blocks)) + blocks[:length % len(blocks)]
        # A scale of 0 makes every number of a block 0.
        return bytes(silent // BLOCK * BLOCK_BYTES) + noise[silent // BLOCK * BLOCK_BYTES:]
    noise = [0.0] * silent + [rng.uniform(-0.1, 0.1) for _ in range(size[0] * size[1] - silent)]
    return struct.pack(f"<{len(noise)}e", *noise)


def padded(data):
    return data + bytes(-len(data) % ALIGNMENT)


def write(out, name, shape):
    """Writes tensor after tensor: a large model would not fit into memory beside a server."""
    rng = random.Random(7)
    blocks = b"".join(struct.pack("<e", rng.uniform(0.001, 0.01)) + rng.randbytes(16) for _ in range(DISTINCT_BLOCKS if shape.q4_0 else 1))
    entries, sizes = metadata(name, shape), list(tensors(shape))
    head, offset = struct.pack("<4sIQQ", b"GGUF", 3, len(sizes), len(entries)) + b"".join(entries), 0
    for tensor, size in sizes:
        kind, length = kind_and_bytes(size, shape)
        head += text(tensor) + struct.pack(f"<I{len(size)}QIQ", len(size), *size, kind, offset)
        offset += length + -length % ALIGNMENT
    out.write(padded(head))
    for tensor, size in sizes:
        out.write(padded(weights(tensor, size, shape, rng, blocks)))
