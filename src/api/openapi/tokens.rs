//! Fields of `/tokenize` and `/detokenize`: vLLM's and llama-server's.

use super::field::Field;
use crate::api::fields::spec::Specs;

const MODEL: Field =
    Field::extra("model", r#"{"type":"string"}"#, "\"tiny\"", "One of the names that `GET /v1/models` lists; the first if absent.");

/// Of `POST /tokenize`.
pub(super) const TOKENIZE: Specs = &[
    &MODEL,
    &Field::extra("content", r#"{"type":"string"}"#, "null", "The text, in llama-server's dialect: without BOS by default."),
    &Field::extra(
        "prompt",
        r#"{"type":"string"}"#,
        "\"x\"",
        "The text, in vLLM's dialect: with BOS by default. One of the two is required.",
    ),
    &Field::extra("add_special", r#"{"type":"boolean"}"#, "true", "BOS in front where the vocabulary wants it (llama-server)."),
    &Field::extra("add_special_tokens", r#"{"type":"boolean"}"#, "true", "Another name of `add_special` (vLLM)."),
    &Field::extra(
        "parse_special",
        r#"{"type":"boolean","default":true}"#,
        "false",
        "Control tokens that the text spells become those tokens (llama-server).",
    ),
    &WITH_PIECES,
    &RETURN_TOKEN_STRS,
];

const WITH_PIECES: Field = Field::extra(
    "with_pieces",
    r#"{"type":"boolean","default":false}"#,
    "true",
    "`tokens` are objects with `id` and `piece`, a string or bytes (llama-server).",
);
const RETURN_TOKEN_STRS: Field =
    Field::extra("return_token_strs", r#"{"type":"boolean","default":false}"#, "true", "`token_strs` has the text of each token (vLLM).");

/// Of `POST /tokenize` with `messages`.
pub(super) const TOKENIZE_CHAT: Specs = &[
    &MODEL,
    &Field::extra(
        "messages",
        r#"{"type":"array","minItems":1,"items":{"type":"object"}}"#,
        r#"[{"role":"user","content":"x"}]"#,
        "As in `/v1/chat/completions` (vLLM).",
    ),
    &Field::extra(
        "tools",
        r#"{"type":"array","items":{"type":"object"}}"#,
        r#"[{"type":"function","function":{"name":"f"}}]"#,
        "Told to the model's template, reported if it shows none (vLLM).",
    ),
    &Field::extra("add_generation_prompt", r#"{"type":"boolean"}"#, "false", "Whether the prompt ends where the assistant begins (vLLM)."),
    &Field::extra(
        "continue_final_message",
        r#"{"type":"boolean","default":false}"#,
        "false",
        "The prompt ends within the last message (vLLM).",
    ),
    &Field::extra("chat_template_kwargs", r#"{"type":"object"}"#, "{}", "As in `/v1/chat/completions` (vLLM)."),
    &WITH_PIECES,
    &RETURN_TOKEN_STRS,
    &Field::refused("content", "\"x\"", "There are `messages`."),
    &Field::refused("prompt", "\"x\"", "There are `messages`."),
    &Field::refused("chat_template", "\"x\"", "The server's operator chooses the template."),
    &Field::refused("add_special_tokens", "true", "The template writes them."),
];

/// Of `POST /detokenize`.
pub(super) const DETOKENIZE: Specs =
    &[&MODEL, &Field::extra("tokens", r#"{"type":"array","items":{"type":"integer","minimum":0}}"#, "[5]", "Token ids.")];
