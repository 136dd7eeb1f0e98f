"""W5's model: Llama's architecture, 2 layers of 64, 32,000 words, random weights. So small that what is left is the server's own work."""

import random
import struct
import tempfile
from pathlib import Path

LAYERS, WIDTH, FEED_FORWARD, HEADS, KV_HEADS, VOCABULARY = 2, 64, 128, 4, 2, 32000
HEAD = WIDTH // HEADS
# Of `gguf_type` and `ggml_type`.
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_F32, TENSOR_F16 = 0, 1
ALIGNMENT = 32


def path():
    """The file, written once per machine."""
    file = Path(tempfile.gettempdir()) / f"llamero-bench-toy-{LAYERS}x{WIDTH}x{VOCABULARY}.gguf"
    if not file.exists():
        part = file.with_suffix(".part")
        part.write_bytes(model())
        part.rename(file)
    return file


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key, kind, data):
    return text(key) + struct.pack("<I", kind) + data


def array(key, kind, items):
    return entry(key, ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items))


def metadata():
    pack = lambda form, values: [struct.pack(form, value) for value in values]
    # Three control tokens, the bytes, words of one's own.
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [2, 3, 3] + [6] * 256
    plain = VOCABULARY - len(words)
    words += ["▁", *(f"▁w{number}" for number in range(plain - 1))]
    numbers = {"llama.context_length": 8192, "llama.embedding_length": WIDTH, "llama.block_count": LAYERS,
               "llama.feed_forward_length": FEED_FORWARD, "llama.attention.head_count": HEADS,
               "llama.attention.head_count_kv": KV_HEADS, "llama.rope.dimension_count": HEAD, "llama.vocab_size": VOCABULARY,
               "general.file_type": 1, "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.bos_token_id": 1,
               "tokenizer.ggml.eos_token_id": 2}
    return [entry("general.architecture", STRING, text("llama")), entry("general.name", STRING, text("bench toy")),
            *(entry(key, U32, struct.pack("<I", number)) for key, number in numbers.items()),
            entry("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5)),
            entry("llama.rope.freq_base", F32, struct.pack("<f", 10000)),
            entry("tokenizer.ggml.model", STRING, text("llama")), entry("tokenizer.ggml.add_bos_token", BOOL, b"\1"),
            array("tokenizer.ggml.tokens", STRING, [text(word) for word in words]),
            array("tokenizer.ggml.scores", F32, pack("<f", [0] * (VOCABULARY - plain) + [-number for number in range(plain)])),
            array("tokenizer.ggml.token_type", I32, pack("<i", kinds + [1] * plain))]


def tensors():
    """Names and shapes, the length of a row first."""
    kv = KV_HEADS * HEAD
    yield "token_embd.weight", (WIDTH, VOCABULARY)
    yield "output_norm.weight", (WIDTH,)
    yield "output.weight", (WIDTH, VOCABULARY)
    for layer in range(LAYERS):
        for part, shape in {"attn_norm": (WIDTH,), "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, kv), "attn_v": (WIDTH, kv),
                            "attn_output": (WIDTH, WIDTH), "ffn_norm": (WIDTH,), "ffn_gate": (WIDTH, FEED_FORWARD),
                            "ffn_up": (WIDTH, FEED_FORWARD), "ffn_down": (FEED_FORWARD, WIDTH)}.items():
            yield f"blk.{layer}.{part}.weight", shape


def weights(name, shape, rng):
    """Norms are ones, matrices noise; control tokens and bytes are never the likeliest, so that every token is text."""
    if len(shape) == 1:
        return struct.pack(f"<{shape[0]}f", *[1.0] * shape[0])
    columns, rows = shape
    noise = [rng.uniform(-0.1, 0.1) for _ in range(columns * rows)]
    if name == "output.weight":
        noise[:259 * columns] = [0.0] * (259 * columns)
    return struct.pack(f"<{len(noise)}e", *noise)


def padded(data):
    return data + bytes(-len(data) % ALIGNMENT)


def model():
    rng = random.Random(7)
    entries = metadata()
    parts = [(name, shape, padded(weights(name, shape, rng))) for name, shape in tensors()]
    head, offset = struct.pack("<4sIQQ", b"GGUF", 3, len(parts), len(entries)) + b"".join(entries), 0
    for name, shape, data in parts:
        kind = TENSOR_F32 if len(shape) == 1 else TENSOR_F16
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        offset += len(data)
    return padded(head) + b"".join(data for *_, data in parts)
