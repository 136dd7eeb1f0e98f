//! The style in which JSON must be written: its white space and its escapes.

use super::schema;
use serde_json::{Value, json};

/// White space between two parts of JSON: nothing, a space, or a new line with its indentation (llama.cpp's rule). It
/// is bounded, because small models that do not know how to continue would otherwise emit white space for ever.
const WHITESPACE: &str = r" |\n[ \t]{0,20}";
/// Escapes in JSON strings: all except `\uXXXX`, so that a property has one spelling and a free name cannot repeat it.
const ESCAPES: &str = r#"nrbtf\""#;
/// The same escapes and `\uXXXX`, for schemas with texts that nothing else can spell (`schema/controls.rs`). In the
/// values of properties it stands for control characters, in free names for any character.
const ESCAPES_OF_CONTROLS: &str = r#"nrbtf\"u"#;

/// Adds the style in which JSON must be written to a prepared schema.
pub(super) fn with_options(mut schema: Value) -> Value {
    let escapes = if schema::need_unicode_escapes(&schema) { ESCAPES_OF_CONTROLS } else { ESCAPES };
    schema["x-guidance"] = json!({"whitespace_pattern": WHITESPACE, "json_allowed_escapes": escapes});
    schema
}
