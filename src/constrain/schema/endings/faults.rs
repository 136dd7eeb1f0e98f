//! The part of a schema that no value can fulfil although no recursion is to blame.

use super::{FiniteTargets, can_end, items, target_of};
use serde_json::{Map, Value};

/// The place and the reason, if the schema at `at` cannot be fulfilled even if all its references with `true` can.
pub(super) fn find(root: &Value, schema: &Value, at: &str, ends: &FiniteTargets<'_>) -> Option<(String, String)> {
    if can_end(schema, ends) {
        return None;
    }
    let Value::Object(map) = schema else { return Some((at.to_owned(), "the schema 'false' allows nothing".to_owned())) };
    if let Some(target) = map.get("$ref").and_then(Value::as_str).filter(|target| ends.get(target) == Some(&false)) {
        // A place that refers to itself is no fault of this kind, so the search goes on only in other places.
        return if at == target { None } else { find(root, target_of(root, target)?, target, ends) };
    }
    let list = |keyword: &str| map.get(keyword).and_then(Value::as_array);
    let in_all = list("allOf").into_iter().flatten().enumerate();
    if let Some(fault) = in_all.filter_map(|(index, schema)| find(root, schema, &format!("{at}/allOf/{index}"), ends)).next() {
        return Some(fault);
    }
    for keyword in ["anyOf", "oneOf"] {
        if list(keyword).is_some_and(|schemas| !schemas.iter().any(|schema| can_end(schema, ends))) {
            return Some((format!("{at}/{keyword}"), "no value can fulfil any of the alternatives".to_owned()));
        }
    }
    in_object(root, map, at, ends).or_else(|| in_array(root, map, at, ends))
}

fn in_object(root: &Value, map: &Map<String, Value>, at: &str, ends: &FiniteTargets<'_>) -> Option<(String, String)> {
    let names = map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let free = if map.contains_key("patternProperties") { None } else { map.get("additionalProperties") };
    for name in names {
        let own = map.get("properties").and_then(|properties| properties.get(name));
        let Some(schema) = own.or(free).filter(|schema| !can_end(schema, ends)) else { continue };
        let reason = match (own, schema) {
            (None, Value::Bool(false)) => {
                format!("'{name}' is required, but it is not among 'properties' and 'additionalProperties' is false")
            }
            (_, Value::Bool(false)) => format!("'{name}' is required, but its schema is false"),
            (Some(_), schema) => return find(root, schema, &format!("{at}/properties/{name}"), ends),
            (None, schema) => return find(root, schema, &format!("{at}/additionalProperties"), ends),
        };
        return Some((format!("{at}/required"), reason));
    }
    None
}

fn in_array(root: &Value, map: &Map<String, Value>, at: &str, ends: &FiniteTargets<'_>) -> Option<(String, String)> {
    let least = map.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    let fault = items(map, least).find(|schema| !can_end(schema, ends))?;
    match fault {
        Value::Bool(false) => {
            Some((format!("{at}/minItems"), format!("{least} items are required, but the schema of one of them is false")))
        }
        schema => find(root, schema, &format!("{at}/items"), ends),
    }
}
