//! Fields of `POST /v1/embeddings`, `/v1/rerank` and `/v1/score`.

use super::field::Field;
use crate::api::fields::spec::Specs;

const INPUT: &str = r#"{"anyOf":[{"type":"string","minLength":1},{"type":"array","minItems":1,"maxItems":2048,"items":{"type":"string","minLength":1}},{"type":"array","minItems":1,"items":{"type":"integer","minimum":0}},{"type":"array","minItems":1,"maxItems":2048,"items":{"type":"array","minItems":1,"items":{"type":"integer","minimum":0}}}]}"#;
const TEXTS: &str =
    r#"{"anyOf":[{"type":"string","minLength":1},{"type":"array","minItems":1,"maxItems":2048,"items":{"type":"string","minLength":1}}]}"#;
const MODEL: Field = Field::works("model", r#"{"type":"string"}"#, "\"tiny\"", "One of the names that `GET /v1/models` lists.");
const USER: Field = Field::accepted("user", "Accepted, not used, never logged.");
const TRUNCATE: Field = Field::extra(
    "truncate_prompt_tokens",
    r#"{"type":"integer","minimum":-1}"#,
    "-1",
    "Cut longer inputs to so many tokens, -1 to what the model takes; what is cut is reported (vLLM).",
);

/// OpenAI's, and vLLM's extras.
pub(super) const EMBEDDINGS: Specs = &[
    &MODEL,
    &Field::works("input", INPUT, "\"x\"", "A string, strings, token ids, or lists of token ids; 2,048 inputs and 300,000 tokens at most."),
    &Field::works(
        "encoding_format",
        r#"{"type":"string","enum":["float","base64"],"default":"float"}"#,
        "\"base64\"",
        "`base64` is of little-endian 32-bit floats.",
    ),
    &Field::works("dimensions", r#"{"type":"integer","minimum":1}"#, "4", "Keep the first so many dimensions, normalised again."),
    &USER,
    &TRUNCATE,
    &Field::extra(
        "add_special_tokens",
        r#"{"type":"boolean","default":true}"#,
        "false",
        "The model's special tokens around a text (vLLM).",
    ),
];

/// Jina's and Cohere's.
pub(super) const RERANK: Specs = &[
    &MODEL,
    &Field::extra("query", r#"{"type":"string","minLength":1}"#, "\"x\"", "What the documents are compared with."),
    &Field::extra(
        "documents",
        r#"{"type":"array","minItems":1,"maxItems":2048,"items":{"anyOf":[{"type":"string","minLength":1},{"type":"object","required":["text"],"properties":{"text":{"type":"string","minLength":1}}}]}}"#,
        "[\"x\"]",
        "Texts, or objects with a `text`.",
    ),
    &Field::extra("top_n", r#"{"type":"integer","minimum":1}"#, "1", "Results at most."),
    &Field::extra("return_documents", r#"{"type":"boolean","default":true}"#, "false", "Whether results have their texts."),
    &USER,
    &TRUNCATE,
];

/// vLLM's.
pub(super) const SCORE: Specs = &[
    &MODEL,
    &Field::extra("text_1", TEXTS, "\"x\"", "One text, or as many as `text_2` has."),
    &Field::extra("text_2", TEXTS, "\"x\"", "Texts that it is compared with."),
    &USER,
    &TRUNCATE,
];
