//! Schemas that are obeyed as far as possible, rather than refused: those of tools without `strict`. They are marked by
//! a keyword of our own.
//!
//! Within such a schema, keywords that are not supported have no effect. If it still cannot be compiled, any object
//! fulfils it. Both are noted.

use super::Notes;
use crate::protocol::{ConstraintError, ConstraintPlace};
use serde_json::{Map, Value, json};

/// The keyword that marks a schema as loose, if it is true.
const MARK: &str = "x-llamero-loose";

/// True if the schema is marked.
pub(super) fn is_marked(schema: &Map<String, Value>) -> bool {
    schema.get(MARK) == Some(&Value::Bool(true))
}

/// The text of a schema in which any object fulfils the marked parts, with a note of it; `None` if there are none. If
/// the error names a place within one of the parts, the others stay as they are.
pub(in crate::constrain) fn without_loose_parts(text: &str, error: &ConstraintError) -> Option<(String, Notes)> {
    if !text.contains(MARK) {
        return None;
    }
    let mut schema: Value = serde_json::from_str(text).ok()?;
    let place = match &error.at {
        Some(ConstraintPlace::InSchema(pointer)) => Some(pointer.as_str()),
        _ => None,
    };
    let mut parts = Vec::new();
    find(&schema, "", &mut parts);
    let within = |part: &String| place?.strip_prefix('#')?.strip_prefix(part.as_str());
    let is_at_fault = |part: &String| within(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let at_fault: Vec<String> = parts.iter().filter(|part| is_at_fault(part)).cloned().collect();
    let mut notes = Notes::default();
    for part in if at_fault.is_empty() { parts } else { at_fault } {
        *schema.pointer_mut(&part)? = json!({"type": "object"});
        notes.add(&format!("#{part} is not enforced: {error}"));
    }
    (notes != Notes::default()).then(|| (schema.to_string(), notes))
}

/// The pointers of the outermost marked schemas.
fn find(value: &Value, at: &str, parts: &mut Vec<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) if is_marked(map) => parts.push(at.to_owned()),
        Value::Object(map) => map.iter().for_each(|(name, value)| find(value, &format!("{at}/{}", escaped(name)), parts)),
        Value::Array(values) => values.iter().enumerate().for_each(|(index, value)| find(value, &format!("{at}/{index}"), parts)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
