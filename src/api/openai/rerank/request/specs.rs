//! The fields of `/v1/rerank` (Jina's and Cohere's) and of `/v1/score` (vLLM's).

use super::{MAX_DOCUMENTS, MAX_TEXTS};
use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        values::{Booleans, Integers, Or, Shaped, Strings, boolean, integer, shaped, string},
    },
    openai::{
        embeddings::request::specs::TRUNCATE_PROMPT_TOKENS,
        shared::limits::{MODEL, USER},
    },
};
use serde_json::{Value, json};

pub(in crate::api) const QUERY: FieldSpec<Strings> =
    string("query").not_empty().extra().about("The text that the documents are compared with.");
pub(in crate::api) const DOCUMENTS: FieldSpec<Shaped> = shaped("documents", || {
    let text = json!({"type": "string", "minLength": 1});
    let object = json!({"type": "object", "required": ["text"], "properties": {"text": text}});
    json!({"type": "array", "minItems": 1, "maxItems": MAX_DOCUMENTS, "items": {"anyOf": [text, object]}})
})
.extra()
.example("[\"x\"]")
.about("Texts, or objects with a `text`.");
pub(in crate::api) const TOP_N: FieldSpec<Integers> = integer("top_n", 1..=i64::MAX).extra().example("1").about("Results at most.");
pub(in crate::api) const RETURN_DOCUMENTS: FieldSpec<Or<Booleans>> =
    boolean("return_documents").or(true).extra().example("false").about("Results contain their texts.");

/// All fields of `POST /v1/rerank`, Jina's and Cohere's.
pub(in crate::api) const RERANK: Specs = &[&MODEL, &QUERY, &DOCUMENTS, &TOP_N, &RETURN_DOCUMENTS, &USER, &TRUNCATE_PROMPT_TOKENS];

pub(in crate::api) const TEXT_1: FieldSpec<Shaped> = shaped("text_1", texts).extra().about("One text, or as many as `text_2` has.");
pub(in crate::api) const TEXT_2: FieldSpec<Shaped> = shaped("text_2", texts).extra().about("Texts that it is compared with.");

/// The names of the side that may be one text, the first one in errors. A request has one of them.
pub(in crate::api) const LEFT: [FieldSpec<Shaped>; 3] =
    [TEXT_1, other_name("data_1", "As `text_1` (vLLM)."), other_name("queries", "As `text_1` (vLLM).")];
/// The names of the other side.
pub(in crate::api) const RIGHT: [FieldSpec<Shaped>; 4] = [
    TEXT_2,
    other_name("data_2", "As `text_2` (vLLM)."),
    other_name("documents", "As `text_2` (vLLM)."),
    other_name("items", "As `text_2` (vLLM)."),
];

const fn other_name(name: &'static str, about: &'static str) -> FieldSpec<Shaped> {
    shaped(name, texts).extra().example("\"x\"").about(about)
}

/// All fields of vLLM's `POST /v1/score`.
pub(in crate::api) const SCORE: Specs =
    &[&MODEL, &LEFT[0], &LEFT[1], &LEFT[2], &RIGHT[0], &RIGHT[1], &RIGHT[2], &RIGHT[3], &USER, &TRUNCATE_PROMPT_TOKENS];

fn texts() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    json!({"anyOf": [text, {"type": "array", "minItems": 1, "maxItems": MAX_TEXTS, "items": text}]})
}
