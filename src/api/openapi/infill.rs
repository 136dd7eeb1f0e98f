//! Fields of `POST /infill`: llama-server's, besides those of sampling.

use super::field::Field;
use crate::api::fields::spec::{Specs, Support};

/// Accepted where it says nothing, and reported where it says something.
const fn without_effect(name: &'static str) -> Field {
    let about = "llama-server's; without effect here, and reported unless `false`, 0, -1 or empty.";
    Field { name, status: Support::Accepted, schema: "{}", example: "0", about }
}

/// See the module.
pub(super) const INFILL: Specs = &[
    &Field::extra("model", r#"{"type":"string"}"#, "\"tiny\"", "One of the names that `GET /v1/models` lists; the first if absent."),
    &Field::extra("input_prefix", r#"{"type":"string"}"#, "\"a\"", "What stands before the line of the cursor."),
    &Field::extra("input_suffix", r#"{"type":"string"}"#, "\"b\"", "What stands behind the cursor."),
    &Field::extra("prompt", r#"{"type":"string"}"#, "\"c\"", "The line up to the cursor; it follows `input_prefix`."),
    &Field::extra(
        "input_extra",
        r#"{"type":"array","maxItems":128,"items":{"type":"object","properties":{"filename":{"type":["string","null"]},"text":{"type":["string","null"]}}}}"#,
        r#"[{"filename":"a.rs","text":"x"}]"#,
        "Other files, the most important last; the first ones are left out where the context is too small.",
    ),
    &Field::extra(
        "n_predict",
        r#"{"type":"integer","minimum":-2,"maximum":4294967295,"default":-1}"#,
        "9",
        "Tokens to generate at most; below 0 until the context is full, 0 computes the prompt for the next request.",
    ),
    &Field::extra(
        "t_max_predict_ms",
        r#"{"type":"integer","minimum":-1,"maximum":4294967295,"default":0}"#,
        "500",
        "End this long after the first token, once a line has ended; 0 and -1 are off.",
    ),
    &Field::extra(
        "samplers",
        r#"{"type":"array","maxItems":64,"items":{"type":"string"}}"#,
        r#"["top_k","top_p"]"#,
        "Which samplers act; their order is always ours, and those that are not here are reported.",
    ),
    &Field::extra(
        "stop",
        r#"{"anyOf":[{"type":"string","minLength":1,"maxLength":256},{"type":"array","maxItems":4,"items":{"type":"string","minLength":1,"maxLength":256}}]}"#,
        r#"["\n"]"#,
        "Where the text ends, not included in it; `--max-stop-strings` allows more.",
    ),
    &Field::extra("ignore_eos", r#"{"type":"boolean","default":false}"#, "true", "Go on past the end of generation."),
    &Field::extra(
        "response_fields",
        r#"{"type":"array","maxItems":64,"items":{"type":"string"}}"#,
        r#"["content","timings/prompt_n"]"#,
        "Keys of the answer; `a/b` reaches into objects.",
    ),
    &Field::extra("return_tokens", r#"{"type":"boolean","default":false}"#, "true", "`tokens` has the ids of the answer."),
    &Field::extra("stream", r#"{"type":"boolean","default":false}"#, "true", "Server-sent events, without `[DONE]`."),
    &Field::extra("cache_prompt", r#"{"type":"boolean","default":true}"#, "true", "What is cached is always used; `false` is reported."),
    &without_effect("n_indent"),
    &without_effect("n_keep"),
    &without_effect("n_cache_reuse"),
    &without_effect("t_max_prompt_ms"),
    &without_effect("timings_per_token"),
    &without_effect("return_progress"),
    &without_effect("id_slot"),
    &without_effect("min_keep"),
    &without_effect("post_sampling_probs"),
    &Field::refused("grammar", "\"root ::= x\"", "llama-server's; not on this route."),
    &Field::refused("json_schema", r#"{"type":"object"}"#, "llama-server's; not on this route."),
    &Field::refused("n_probs", "3", "llama-server's; not on this route."),
    &Field::refused("lora", r#"[{"id":0}]"#, "llama-server's; not on this route."),
    &Field::refused("n_cmpl", "2", "llama-server's; not on this route."),
];
