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

/// The marked parts of a schema that any object is to fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::constrain) enum Loosen {
    /// Those that the error names a place in.
    AtFault,
    /// One of several, by its index.
    One(usize),
    /// All of them.
    All,
}

/// The text of a schema in which any object fulfils these parts, with a note of the error that is the reason; `None` if
/// there are no such parts.
pub(in crate::constrain) fn without_loose_parts(text: &str, error: &ConstraintError, which: Loosen) -> Option<(String, Notes)> {
    if !text.contains(MARK) {
        return None;
    }
    let mut schema: Value = serde_json::from_str(text).ok()?;
    let mut parts = Vec::new();
    find(&schema, "", &mut parts);
    match which {
        Loosen::AtFault => parts.retain(|part| is_within(error, part)),
        Loosen::One(_) if parts.len() < 2 => parts.clear(),
        Loosen::One(index) => parts = parts.into_iter().skip(index).take(1).collect(),
        Loosen::All => {}
    }
    let mut notes = Notes::default();
    for part in parts {
        *schema.pointer_mut(&part)? = json!({"type": "object"});
        notes.add(&format!("#{part} is not enforced: {error}"));
    }
    (notes != Notes::default()).then(|| (schema.to_string(), notes))
}

/// True if the error names a place within the part.
fn is_within(error: &ConstraintError, part: &str) -> bool {
    let Some(ConstraintPlace::InSchema(place)) = &error.at else { return false };
    let rest = place.strip_prefix('#').and_then(|pointer| pointer.strip_prefix(part));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
