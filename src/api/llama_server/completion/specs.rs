//! The field of `POST /completion` that `/infill` does not share.

use crate::api::fields::{
    spec::{FieldSpec, Specs},
    values::{Shaped, shaped},
};
use serde_json::json;

/// The maximum number of prompts in one request.
pub(super) const MAX_PROMPTS: usize = 32;

pub(in crate::api) const PROMPT: FieldSpec<Shaped> = shaped("prompt", || {
    let text = json!({"type": "string"});
    let id = json!({"type": "integer", "minimum": 0});
    let mixed = json!({"type": "array", "minItems": 1, "items": {"anyOf": [text, id]}});
    let object = json!({"type": "object", "required": ["prompt_string"], "properties": {"prompt_string": text}});
    let one = json!({"anyOf": [text, mixed, object]});
    json!({"anyOf": [text, mixed, object, {"type": "array", "minItems": 1, "maxItems": MAX_PROMPTS, "items": one}]})
})
.about("A text, token ids, or texts and ids mixed; an array of texts or of arrays is several prompts, 32 at most.");

/// The fields with prompts.
pub(in crate::api) const COMPLETION: Specs = &[&PROMPT];
