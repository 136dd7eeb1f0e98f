//! Control characters in the texts of a schema. JSON can write most of them only as `\u0001`, and llguidance allows
//! that spelling everywhere in an answer or nowhere.

use super::place;
use crate::protocol::{ConstraintError, ConstraintErrorKind::Invalid};
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value};

/// True if some text of a schema has a character that only `\uXXXX` can spell: in a literal, or in a pattern that
/// cannot match without it. Where that spelling is not allowed, llguidance silently leaves the character out of the
/// text.
pub(in crate::constrain) fn need_unicode_escapes(schema: &Value) -> bool {
    let mut is_needed = false;
    visit(schema, "#", &mut |schema, _| is_needed |= schema.iter().any(|(keyword, value)| needs_them(keyword, value)));
    is_needed
}

/// Refuses objects that need closed names in a schema with such characters: where `\uXXXX` is allowed, a free name
/// could repeat the name of a property in another spelling.
///
/// # Errors
/// There is such an object; the error names its place.
pub(super) fn check(schema: &Value) -> Result<(), ConstraintError> {
    if !need_unicode_escapes(schema) {
        return Ok(());
    }
    let mut first = None;
    visit(schema, "#", &mut |schema, at| {
        if first.is_none() {
            let message = |fault| format!("{fault} beside a control character in a text or pattern");
            first = fault(schema).map(|fault| place(at).sentence(Invalid, message(fault)));
        }
    });
    first.map_or(Ok(()), Err)
}

fn fault(schema: &Map<String, Value>) -> Option<&'static str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    let names = properties.into_iter().flat_map(Map::keys).map(String::as_str);
    let mut names = names.chain(required.into_iter().flatten().filter_map(Value::as_str)).peekable();
    let has_patterns = schema.get("patternProperties").and_then(Value::as_object).is_some_and(|patterns| !patterns.is_empty());
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    if !is_closed && (has_patterns || names.peek().is_some()) {
        return Some("'additionalProperties' must be false");
    }
    (has_patterns && names.any(|name| name.contains(is_control)))
        .then_some("names with control characters are not supported beside 'patternProperties'")
}

/// Calls `see` with every schema within this one, itself included, and its place.
fn visit(schema: &Value, at: &str, see: &mut impl FnMut(&Map<String, Value>, &str)) {
    let Value::Object(schema) = schema else { return };
    see(schema, at);
    for (keyword, value) in schema {
        let here = format!("{at}/{keyword}");
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(named)) => {
                named.iter().for_each(|(name, schema)| visit(schema, &format!("{here}/{name}"), see));
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                schemas.iter().enumerate().for_each(|(index, schema)| visit(schema, &format!("{here}/{index}"), see));
            }
            ("items" | "additionalItems" | "additionalProperties", schema) => visit(schema, &here, see),
            _ => {}
        }
    }
}

fn needs_them(keyword: &str, value: &Value) -> bool {
    match (keyword, value) {
        ("const" | "enum", value) => has_unspellable_text(value),
        ("pattern", Value::String(pattern)) => demands_one(pattern),
        ("patternProperties", Value::Object(patterns)) => patterns.keys().any(|pattern| demands_one(pattern)),
        _ => false,
    }
}

/// True if a literal has a text with such a character. Names of its properties do not count: they are literals of the
/// grammar, in JSON's spelling.
fn has_unspellable_text(literal: &Value) -> bool {
    match literal {
        Value::String(text) => text.contains(is_unspellable),
        Value::Array(values) => values.iter().any(has_unspellable_text),
        Value::Object(map) => map.values().any(has_unspellable_text),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// True if some part of a pattern matches nothing but such characters. llguidance refuses a malformed pattern.
fn demands_one(pattern: &str) -> bool {
    regex_syntax::parse(pattern).map_or_else(|_| pattern.contains(is_unspellable), |pattern| hir_demands_one(&pattern))
}

fn hir_demands_one(pattern: &Hir) -> bool {
    match pattern.kind() {
        HirKind::Literal(literal) => String::from_utf8_lossy(&literal.0).contains(is_unspellable),
        HirKind::Class(Class::Unicode(class)) => {
            let mut ranges = class.ranges().iter().peekable();
            ranges.peek().is_some() && ranges.all(|range| (range.start()..=range.end()).all(is_unspellable))
        }
        HirKind::Class(Class::Bytes(_)) | HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Repetition(repetition) => hir_demands_one(&repetition.sub),
        HirKind::Capture(capture) => hir_demands_one(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(hir_demands_one),
    }
}

/// A character that llguidance writes with an escape: JSON's control characters, and U+007F.
fn is_control(c: char) -> bool {
    c < ' ' || c == '\x7f'
}

/// A control character without an escape of two characters.
pub(super) fn is_unspellable(c: char) -> bool {
    is_control(c) && !matches!(c, '\x08' | '\t' | '\n' | '\x0c' | '\r')
}
