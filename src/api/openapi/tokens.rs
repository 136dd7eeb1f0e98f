//! Fields of `/tokenize` and `/detokenize`: vLLM's and llama-server's.

use super::field::Field;

const MODEL: Field =
    Field::extra("model", r#"{"type":"string"}"#, "\"tiny\"", "One of the names that `GET /v1/models` lists; the first if absent.");

/// Of `POST /tokenize`.
pub(super) const TOKENIZE: &[Field] = &[
    MODEL,
    Field::extra("content", r#"{"type":"string"}"#, "null", "The text, in llama-server's dialect: without BOS by default."),
    Field::extra(
        "prompt",
        r#"{"type":"string"}"#,
        "\"x\"",
        "The text, in vLLM's dialect: with BOS by default. One of the two is required.",
    ),
    Field::extra("add_special", r#"{"type":"boolean"}"#, "true", "BOS in front where the vocabulary wants it (llama-server)."),
    Field::extra("add_special_tokens", r#"{"type":"boolean"}"#, "true", "Another name of `add_special` (vLLM)."),
    Field::extra(
        "parse_special",
        r#"{"type":"boolean","default":true}"#,
        "false",
        "Control tokens that the text spells become those tokens (llama-server).",
    ),
    Field::extra(
        "with_pieces",
        r#"{"type":"boolean","default":false}"#,
        "true",
        "`tokens` are objects with `id` and `piece`, a string or bytes (llama-server).",
    ),
    Field::extra("return_token_strs", r#"{"type":"boolean","default":false}"#, "true", "`token_strs` has the text of each token (vLLM)."),
    Field::refused("messages", "[]", "vLLM's; not supported yet."),
];

/// Of `POST /detokenize`.
pub(super) const DETOKENIZE: &[Field] =
    &[MODEL, Field::extra("tokens", r#"{"type":"array","items":{"type":"integer","minimum":0}}"#, "[5]", "Token ids.")];
