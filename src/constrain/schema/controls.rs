//! Control characters in the texts of a schema. JSON writes most of them as `\u0001` only, and the compiler allows that
//! spelling everywhere in an answer or nowhere.

use serde_json::Value;

/// Whether some text of the schema has a character that only `\uXXXX` can spell: in a literal, or in a regular expression
/// that may mean one. Where it is not allowed, llguidance leaves such a character out of a literal without a word.
pub(in crate::constrain) fn need_unicode_escapes(schema: &Value) -> bool {
    match schema {
        Value::String(text) => text.contains(unspellable),
        Value::Array(values) => values.iter().any(need_unicode_escapes),
        Value::Object(map) => map.iter().any(|(keyword, value)| match (keyword.as_str(), value) {
            // A property's name is a literal of the grammar, in JSON's spelling.
            ("required", _) => false,
            ("pattern", Value::String(pattern)) => may_mean_one(pattern),
            ("patternProperties", Value::Object(patterns)) => {
                patterns.iter().any(|(name, value)| may_mean_one(name) || need_unicode_escapes(value))
            }
            (_, value) => need_unicode_escapes(value),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Refuses a property's name with control characters beside texts that need `\uXXXX`: the name would then have two
/// spellings, and a free name could repeat it in the other.
///
/// # Errors
/// Where that name is.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    match name_with_controls(schema, "#") {
        Some(at) if need_unicode_escapes(schema) => {
            Err(format!("{at}: control characters in a property's name are not supported beside others in texts or patterns"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The place of the first property named so that may stand beside free names.
fn name_with_controls(schema: &Value, at: &str) -> Option<String> {
    match schema {
        Value::Array(values) => values.iter().enumerate().find_map(|(index, value)| name_with_controls(value, &format!("{at}/{index}"))),
        Value::Object(map) => map.iter().find_map(|(keyword, value)| {
            let here = format!("{at}/{keyword}");
            match (keyword.as_str(), value) {
                ("const" | "enum" | "default" | "examples", _) => None,
                ("required", names) => requires_one(names).then_some(here),
                ("properties", Value::Object(named)) if named.keys().any(|name| name.contains(is_control)) => Some(here),
                ("properties" | "patternProperties", Value::Object(named)) => {
                    named.iter().find_map(|(name, value)| name_with_controls(value, &format!("{here}/{name}")))
                }
                (_, value) => name_with_controls(value, &here),
            }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn requires_one(names: &Value) -> bool {
    names.as_array().into_iter().flatten().filter_map(Value::as_str).any(|name| name.contains(is_control))
}

/// Whether a regular expression has a control character, or an escape or class that may stand for one.
fn may_mean_one(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let escapes = bytes
        .windows(2)
        .any(|pair| pair[0] == b'\\' && matches!(pair[1], b'x' | b'u' | b'U' | b'c' | b'p' | b'P' | b'0'..=b'9' | b'a' | b'v'));
    escapes || pattern.contains("[:") || pattern.contains(unspellable)
}

/// What JSON escapes, and llguidance with it: U+0000 to U+001F, and U+007F.
fn is_control(c: char) -> bool {
    c < ' ' || c == '\x7f'
}

/// A control character without an escape of two characters.
fn unspellable(c: char) -> bool {
    is_control(c) && !matches!(c, '\x08' | '\t' | '\n' | '\x0c' | '\r')
}
