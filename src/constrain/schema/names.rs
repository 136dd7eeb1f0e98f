//! Rewrites `propertyNames` with keywords that llguidance knows: `properties` for names that are listed,
//! `patternProperties` for a pattern, a format or a length.

use super::{count, formats, harmless::restricts, place, view::RootSchema};
use crate::protocol::{ConstraintError, ConstraintErrorKind::Invalid};
use serde_json::{Map, Value, json};

/// Bytes of all copies of `additionalProperties`, one for each name.
const MAX_COPIES: usize = 64 << 10;

/// Replaces `propertyNames`, if the schema has it.
///
/// # Errors
/// It cannot be rewritten.
pub(super) fn replace(schema: &mut Map<String, Value>, document: &RootSchema, at: &str) -> Result<(), ConstraintError> {
    let Some(names) = schema.shift_remove("propertyNames") else { return Ok(()) };
    let here = || place(&format!("{at}/propertyNames"));
    let refused = |reason: &str| here().sentence_first(Invalid, format!("the keyword 'propertyNames' is not supported {reason}"));
    let has = |keyword: &str| schema.get(keyword).is_some_and(|value| value.as_object().is_none_or(|map| !map.is_empty()));
    if has("patternProperties") {
        return Err(refused("beside 'patternProperties'"));
    }
    let parts = document.all_parts(&names).map_err(|_| refused("with references that lead nowhere or too far, or without a schema"))?;
    let Some(parts) = parts else {
        schema.insert("maxProperties".to_owned(), json!(0));
        return Ok(());
    };
    let rules: Vec<(&str, &Value)> = parts
        .iter()
        .flat_map(|part| part.iter())
        .map(|(keyword, value)| (keyword.as_str(), value))
        .filter(|(keyword, value)| {
            restricts(keyword) && !matches!(*keyword, "$ref" | "allOf") && !(*keyword == "type" && **value == "string")
        })
        .collect();
    match rules[..] {
        [] => Ok(()),
        [("enum" | "const", _)] => {
            let listed = document.values(&names).ok_or(()).and_then(|names| list(schema, &names));
            listed.map_err(|()| refused("with so many names"))
        }
        _ if has("properties") => Err(refused("with a pattern beside 'properties'")),
        _ => {
            let pattern = pattern(&rules).ok_or_else(|| refused("unless it lists names or has one pattern, a known format or a length"))?;
            let free = schema.shift_remove("additionalProperties").unwrap_or(Value::Bool(true));
            schema.insert("patternProperties".to_owned(), json!({ pattern: free }));
            schema.insert("additionalProperties".to_owned(), Value::Bool(false));
            Ok(())
        }
    }
}

/// Allows these names and no other.
fn list(schema: &mut Map<String, Value>, names: &[&Value]) -> Result<(), ()> {
    let bytes = schema.get("additionalProperties").map_or(0, |free| free.to_string().len());
    if names.len().saturating_mul(bytes) > MAX_COPIES {
        return Err(());
    }
    let free = schema.shift_remove("additionalProperties").unwrap_or(Value::Bool(true));
    let known = schema.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(known) = known {
        let is_listed = |name: &str| names.iter().any(|listed| listed.as_str() == Some(name));
        known.iter_mut().filter(|(name, _)| !is_listed(name)).for_each(|(_, schema)| *schema = Value::Bool(false));
        for name in names.iter().filter_map(|name| name.as_str()) {
            known.entry(name).or_insert_with(|| free.clone());
        }
    }
    schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    Ok(())
}

/// The pattern that says the same as the rules, if there is one.
fn pattern(rules: &[(&str, &Value)]) -> Option<String> {
    match rules {
        [("pattern", Value::String(pattern))] => Some(pattern.clone()),
        [("format", Value::String(name))] => formats::as_pattern(name),
        _ if rules.iter().all(|(keyword, _)| matches!(*keyword, "minLength" | "maxLength")) => {
            let least = lengths(rules, "minLength")?.into_iter().max().unwrap_or(0);
            let most = lengths(rules, "maxLength")?.into_iter().min();
            let most = most.map_or(Some(String::new()), |most| (least <= most).then(|| most.to_string()))?;
            Some(format!("^(?s:.{{{least},{most}}})$"))
        }
        _ => None,
    }
}

/// All lengths that the rules give by this keyword; `None` if one of them is no length.
fn lengths(rules: &[(&str, &Value)], wanted: &str) -> Option<Vec<u64>> {
    let length = |value: &Value| {
        let mut value = value.clone();
        count(&mut value, "#").ok()?;
        value.as_u64()
    };
    rules.iter().filter(|(keyword, _)| *keyword == wanted).map(|(_, value)| length(value)).collect()
}
