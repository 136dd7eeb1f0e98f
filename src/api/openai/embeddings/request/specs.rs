//! The fields of `POST /v1/embeddings`: OpenAI's, and vLLM's extras.

use super::MAX_INPUTS;
use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        values::{Booleans, Integers, OneOf, Or, Shaped, boolean, integer, one_of, shaped},
    },
    openai::shared::limits::{MODEL, USER},
};
use serde_json::json;

pub(in crate::api) const INPUT: FieldSpec<Shaped> = shaped("input", || {
    let text = json!({"type": "string", "minLength": 1});
    let ids = json!({"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}});
    let several = |items| json!({"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": items});
    json!({"anyOf": [text, several(&text), ids, several(&ids)]})
})
.about("A string, strings, token ids, or lists of token ids; 2,048 inputs and 300,000 tokens at most.");
pub(in crate::api) const ENCODING_FORMAT: FieldSpec<Or<OneOf>> =
    one_of("encoding_format", &["float", "base64"]).or("float").example("\"base64\"").about("`base64` is of little-endian 32-bit floats.");
/// The reader narrows the range to the model's dimensions; all are kept if the field is absent.
pub(in crate::api) const DIMENSIONS: FieldSpec<Integers> =
    integer("dimensions", 1..=i64::MAX).example("4").about("Keep the first so many dimensions, normalised again.");
/// The reader narrows the range to the tokens that the model takes in one input.
pub(in crate::api) const TRUNCATE_PROMPT_TOKENS: FieldSpec<Integers> = integer("truncate_prompt_tokens", -1..=i64::MAX)
    .extra()
    .example("-1")
    .about("Cut longer inputs to so many tokens, -1 to what the model takes; what is cut is reported (vLLM).");
pub(in crate::api) const ADD_SPECIAL_TOKENS: FieldSpec<Or<Booleans>> =
    boolean("add_special_tokens").or(true).extra().example("false").about("The model's special tokens around a text (vLLM).");

/// All fields of `POST /v1/embeddings`.
pub(in crate::api) const EMBEDDINGS: Specs =
    &[&MODEL, &INPUT, &ENCODING_FORMAT, &DIMENSIONS, &USER, &TRUNCATE_PROMPT_TOKENS, &ADD_SPECIAL_TOKENS];
