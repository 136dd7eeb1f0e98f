//! Rewrites `oneOf` as `anyOf` where both mean the same because no value fulfils two of the alternatives. llguidance
//! finds this out by itself only if the alternatives have no references.

use super::{DATA, NAMED, view::RootSchema};
use crate::protocol::{ConstraintError, ConstraintPlace};
use serde_json::{Map, Value, json};

/// Places of lists of alternatives that were renamed, innermost first.
#[derive(Debug, Default)]
pub(super) struct Renamed(Vec<(String, String)>);

/// True if the alternatives of the schema's `oneOf` exclude each other, or it has none.
pub(super) fn is_exclusive(schema: &mut Map<String, Value>, document: &RootSchema) -> bool {
    let Some(list) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else { return true };
    // Taken out for the moment: as a part of the schema beside them they would be searched again for each pair.
    let alternatives = std::mem::take(list);
    let are_exclusive = document.exclude_each_other(schema, &alternatives);
    schema["oneOf"] = Value::Array(alternatives);
    are_exclusive
}

/// Renames `oneOf` to `anyOf`, or adds it to `allOf` if there is an `anyOf` already.
pub(super) fn rename(schema: &mut Map<String, Value>, at: &str, renamed: &mut Renamed) {
    let has_any_of = schema.contains_key("anyOf");
    // It comes after all that `allOf` has, whichever keyword is first, so that no other place is moved.
    let index = schema.get("allOf").and_then(Value::as_array).map_or(0, Vec::len);
    let old = std::mem::take(schema);
    // The properties of the answer come in the order of the keywords.
    for (keyword, value) in old {
        match (keyword.as_str(), has_any_of) {
            ("oneOf", false) => {
                renamed.0.push((format!("{at}/oneOf"), format!("{at}/anyOf")));
                schema.insert("anyOf".to_owned(), value);
            }
            ("oneOf", true) => {
                if let Value::Array(all) = schema.entry("allOf").or_insert_with(|| json!([])) {
                    renamed.0.push((format!("{at}/oneOf"), format!("{at}/allOf/{index}/anyOf")));
                    all.push(json!({ "anyOf": value }));
                }
            }
            ("allOf", true) => match (schema.entry("allOf").or_insert_with(|| json!([])), value) {
                (Value::Array(all), Value::Array(more)) => all.splice(0..0, more).for_each(drop),
                (entry, value) => *entry = value,
            },
            _ => {
                schema.insert(keyword, value);
            }
        }
    }
}

impl Renamed {
    /// Makes the references of the schema follow the new names.
    pub(super) fn update(&self, schema: &mut Value) {
        self.update_within(schema, false);
    }

    /// `are_names`: the value is an object of schemas, and its names are no keywords.
    fn update_within(&self, value: &mut Value, are_names: bool) {
        match value {
            Value::Object(map) => {
                for (keyword, value) in map {
                    match (keyword.as_str(), &mut *value) {
                        _ if are_names => self.update_within(value, false),
                        ("$ref", Value::String(target)) if target.contains("/oneOf/") => self.follow(target),
                        (keyword, _) if DATA.contains(&keyword) => {}
                        (keyword, _) => self.update_within(value, NAMED.contains(&keyword)),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.update_within(value, false)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The error at the place that its author knows.
    pub(super) fn restore(&self, mut error: ConstraintError) -> ConstraintError {
        if let Some(ConstraintPlace::InSchema(place)) = &mut error.at {
            for (old, new) in self.0.iter().rev() {
                if place.strip_prefix(new.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                    place.replace_range(..new.len(), old);
                }
            }
        }
        error
    }

    fn follow(&self, target: &mut String) {
        for (old, new) in &self.0 {
            if target.strip_prefix(old.as_str()).is_some_and(|rest| rest.starts_with('/')) {
                target.replace_range(..old.len(), new);
            }
        }
    }
}
