//! Fields of `POST /v1/completions`, in the order of OpenAI's specification, then vLLM's.

use super::field::Field;
use crate::api::fields::spec::Specs;

const PROMPT: &str = r#"{"anyOf":[{"type":"string"},{"type":"array","minItems":1,"maxItems":32,"items":{"type":"string"}},{"type":"array","minItems":1,"items":{"type":"integer","minimum":0}},{"type":"array","minItems":1,"maxItems":32,"items":{"type":"array","minItems":1,"items":{"type":"integer","minimum":0}}}]}"#;

/// What only this route reads.
pub(super) const COMPLETIONS: Specs = &[
    &Field::works("model", r#"{"type":"string"}"#, "\"tiny\"", "One of the names that `GET /v1/models` lists."),
    &Field::works("prompt", PROMPT, "\"x\"", "A string, strings, token ids, or lists of token ids; 32 prompts at most."),
    &Field::works(
        "best_of",
        r#"{"type":"integer","minimum":0,"maximum":8}"#,
        "2",
        "Candidates of which the `n` with the highest log-probability per token are shown; all are counted in the usage. Not with `stream`.",
    ),
    &Field::works(
        "echo",
        r#"{"type":"boolean","default":false}"#,
        "true",
        "Put the prompt in front; with `logprobs` its tokens are scored too, and a token that ends the text.",
    ),
    &Field::works(
        "logprobs",
        r#"{"type":"integer","minimum":0,"maximum":5}"#,
        "1",
        "Alternatives to report per token; log-probabilities are those before temperature and truncation.",
    ),
    &Field::works(
        "max_tokens",
        r#"{"type":"integer","minimum":0,"default":16}"#,
        "1",
        "Tokens to generate at most; 0 only scores the prompt.",
    ),
    &Field::works("n", r#"{"type":"integer","minimum":1,"maximum":8,"default":1}"#, "2", "Choices per prompt."),
    &Field::works("stream", r#"{"type":"boolean","default":false}"#, "true", "Server-sent events."),
    &Field::works(
        "stream_options",
        r#"{"type":"object","properties":{"include_usage":{"type":["boolean","null"]},"include_obfuscation":{"type":["boolean","null"]}}}"#,
        r#"{"include_usage":true}"#,
        "Only with `stream`; `include_usage` adds a last chunk with the usage.",
    ),
    &Field::works(
        "suffix",
        r#"{"type":"string"}"#,
        "\"\"",
        "What follows the text to be filled in, for models with fill-in-the-middle tokens.",
    ),
    &Field::accepted("user", "Accepted, not used, never logged."),
    &Field::extra(
        "add_special_tokens",
        r#"{"type":"boolean","default":true}"#,
        "false",
        "BOS in front of a text prompt, where the vocabulary wants it (vLLM).",
    ),
    &Field::extra(
        "truncate_prompt_tokens",
        r#"{"type":"integer","minimum":-1}"#,
        "1",
        "Keep the last tokens of a prompt, -1 as many as fit; what is dropped is reported (vLLM).",
    ),
    &Field::extra(
        "prompt_logprobs",
        r#"{"type":"integer","minimum":0,"maximum":5}"#,
        "1",
        "Score the prompt's tokens, in vLLM's shape. Not with `stream`.",
    ),
    &Field::extra("return_token_ids", r#"{"type":"boolean","default":false}"#, "true", "Show the ids of prompt and output (vLLM)."),
    &Field::extra("skip_special_tokens", r#"{"type":"boolean","default":true}"#, "false", "Leave control tokens out of the text (vLLM)."),
    &Field::refused("allowed_token_ids", "[1]", "vLLM's; not supported."),
    &Field::refused("bad_words", "[\"x\"]", "vLLM's; not supported."),
    &Field::refused("logits_processors", "[\"x\"]", "vLLM's; not supported."),
    &Field::refused("prompt_embeds", "\"x\"", "vLLM's; not supported."),
    &Field::refused("use_beam_search", "true", "vLLM's; not supported."),
];
