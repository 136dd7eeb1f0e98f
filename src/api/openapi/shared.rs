//! Fields that several routes read with the same code: how tokens are chosen, and where a text ends.

use super::field::Field;

/// Read by `api::openai::sampling`.
pub(super) const SAMPLING: &[Field] = &[
    Field::works("temperature", r#"{"type":"number","minimum":0,"maximum":2,"default":1}"#, "0.5", "0 takes the likeliest token."),
    Field::works(
        "top_p",
        r#"{"type":"number","minimum":0,"maximum":1,"default":1}"#,
        "0.9",
        "Keep the smallest set of tokens with this probability.",
    ),
    Field::works(
        "presence_penalty",
        r#"{"type":"number","minimum":-2,"maximum":2,"default":0}"#,
        "0.5",
        "Subtracted from logits of tokens generated before.",
    ),
    Field::works(
        "frequency_penalty",
        r#"{"type":"number","minimum":-2,"maximum":2,"default":0}"#,
        "0.5",
        "Subtracted once for each time a token was generated before.",
    ),
    Field::works(
        "logit_bias",
        r#"{"type":"object","maxProperties":300,"additionalProperties":{"type":"number","minimum":-100,"maximum":100}}"#,
        r#"{"5":-100}"#,
        "Token id to what is added to its logit; -100 bans.",
    ),
    Field::works(
        "seed",
        r#"{"type":"integer"}"#,
        "7",
        "Same seed, same answer, on the same model and server version; one is drawn and returned if absent.",
    ),
    Field::extra(
        "top_k",
        r#"{"type":"integer","minimum":-1,"maximum":2147483647,"default":0}"#,
        "40",
        "Keep the likeliest tokens; 0 and -1 keep all (vLLM).",
    ),
    Field::extra(
        "min_p",
        r#"{"type":"number","minimum":0,"maximum":1,"default":0}"#,
        "0.05",
        "Keep tokens at least this share as likely as the likeliest (vLLM).",
    ),
    Field::extra(
        "repetition_penalty",
        r#"{"type":"number","minimum":0.01,"maximum":10,"default":1}"#,
        "1.1",
        "Divides logits of tokens in prompt or output (vLLM).",
    ),
];

/// Read by `api::openai::ending`.
pub(super) const ENDING: &[Field] = &[
    Field::works(
        "stop",
        r#"{"anyOf":[{"type":"string","minLength":1,"maxLength":256},{"type":"array","maxItems":4,"items":{"type":"string","minLength":1,"maxLength":256}}]}"#,
        r#"["\n"]"#,
        "Where the text ends, not included in it; `--max-stop-strings` allows more.",
    ),
    Field::extra(
        "stop_token_ids",
        r#"{"type":"array","maxItems":128,"items":{"type":"integer","minimum":0}}"#,
        "[5]",
        "Tokens that end the text (vLLM).",
    ),
    Field::extra(
        "include_stop_str_in_output",
        r#"{"type":"boolean","default":false}"#,
        "true",
        "Keep the stop string or token in the text (vLLM).",
    ),
    Field::extra(
        "min_tokens",
        r#"{"type":"integer","minimum":0,"maximum":4294967295,"default":0}"#,
        "1",
        "Tokens before the text may end by itself (vLLM).",
    ),
    Field::extra("ignore_eos", r#"{"type":"boolean","default":false}"#, "true", "Go on past the end of generation (vLLM)."),
];
