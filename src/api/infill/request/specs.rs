//! The fields of `POST /infill` with the texts around the cursor.

use super::MAX_EXTRA;
use crate::api::fields::{
    spec::{FieldSpec, Specs},
    values::{Shaped, Strings, shaped, string},
};
use serde_json::json;

pub(in crate::api) const INPUT_PREFIX: FieldSpec<Strings> =
    string("input_prefix").extra().example("\"a\"").about("The text before the line of the cursor.");
pub(in crate::api) const INPUT_SUFFIX: FieldSpec<Strings> =
    string("input_suffix").extra().example("\"b\"").about("The text after the cursor.");
pub(in crate::api) const PROMPT: FieldSpec<Strings> =
    string("prompt").extra().example("\"c\"").about("The line up to the cursor; it follows `input_prefix`.");
pub(in crate::api) const INPUT_EXTRA: FieldSpec<Shaped> = shaped("input_extra", || {
    let text = json!({"type": ["string", "null"]});
    let file = json!({"type": "object", "properties": {FILENAME.name: text, TEXT.name: text}});
    json!({"type": "array", "maxItems": MAX_EXTRA, "items": file})
})
.extra()
.example(r#"[{"filename":"a.rs","text":"x"}]"#)
.about("Other files, the most important last; the first ones are left out where the context is too small.");
/// The field `filename` in an entry of `input_extra`; `text` is beside it.
pub(in crate::api) const FILENAME: FieldSpec<Strings> = string("filename");
pub(in crate::api) const TEXT: FieldSpec<Strings> = string("text");

/// The fields with texts.
pub(in crate::api) const INFILL: Specs = &[&INPUT_PREFIX, &INPUT_SUFFIX, &PROMPT, &INPUT_EXTRA];
