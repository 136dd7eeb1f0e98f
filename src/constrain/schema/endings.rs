//! Refuses recursive schemas that no finite value fulfils, such as `{"next": {"$ref": "#"}}` with a required `next`: a
//! text under it would never be complete.
//!
//! Also names the part of a schema that no value can fulfil because it requires something that it excludes. Other
//! impossible schemas are found when they are compiled.

mod faults;

use super::{DATA, NAMED};
use crate::protocol::{
    ConstraintError,
    ConstraintErrorKind::{Impossible, Invalid, TooLarge},
    ConstraintPlace,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Largest number of places that references point to: the search takes a step for each pair of place and schema.
const MAX_TARGETS: usize = 1_024;

/// For each place that a reference points to, true if a finite value is known to exist.
type FiniteTargets<'a> = BTreeMap<&'a str, bool>;

/// # Errors
/// If no finite value exists, a reference points nowhere, or references point to too many places for the search.
pub(super) fn check(root: &Value) -> Result<(), ConstraintError> {
    let mut ends = FiniteTargets::new();
    collect(root, false, &mut ends)?;
    // At first none is known to end. Each round finds those that end because others do.
    settle(root, &mut ends, true)?;
    if can_end(root, &ends) {
        return Ok(());
    }
    // The other way round: at first all are taken to end. Those that cannot even then are at fault without recursion.
    ends.values_mut().for_each(|ends| *ends = true);
    settle(root, &mut ends, false)?;
    Err(match faults::find(root, &ends) {
        Some((at, reason)) => ConstraintPlace::InSchema(at).sentence(Impossible, reason),
        None => ConstraintError::new(Impossible, "no finite value can fulfil the schema: its '$ref's never come to an end"),
    })
}

/// Sets targets to `found` until no other one follows.
fn settle(root: &Value, ends: &mut FiniteTargets<'_>, found: bool) -> Result<(), ConstraintError> {
    loop {
        let mut has_changed = false;
        let targets: Vec<&str> = ends.iter().filter(|(_, ends)| **ends != found).map(|(target, _)| *target).collect();
        for target in targets {
            let missing = || ConstraintError::new(Invalid, format!("'$ref' points to '{target}', which does not exist"));
            let schema = target_of(root, target).ok_or_else(missing)?;
            if can_end(schema, ends) == found
                && let Some(ends) = ends.get_mut(target)
            {
                *ends = found;
                has_changed = true;
            }
        }
        if !has_changed {
            return Ok(());
        }
    }
}

/// Adds the targets of all references. `are_names`: the value is an object of schemas, and its names are no keywords.
fn collect<'a>(value: &'a Value, are_names: bool, targets: &mut FiniteTargets<'a>) -> Result<(), ConstraintError> {
    match value {
        Value::Object(map) if are_names => map.values().try_for_each(|value| collect(value, false, targets)),
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                targets.insert(target, false);
                if targets.len() > MAX_TARGETS {
                    let message = format!("has '$ref's to more than {MAX_TARGETS} places");
                    return Err(ConstraintPlace::Schema.predicate(TooLarge, message));
                }
            }
            let mut schemas = map.iter().filter(|(keyword, _)| !DATA.contains(&keyword.as_str()));
            schemas.try_for_each(|(keyword, value)| collect(value, NAMED.contains(&keyword.as_str()), targets))
        }
        Value::Array(values) => values.iter().try_for_each(|value| collect(value, false, targets)),
        _ => Ok(()),
    }
}

fn target_of<'a>(root: &'a Value, target: &str) -> Option<&'a Value> {
    root.pointer(target.strip_prefix('#')?)
}

/// True if a finite value of the schema is known to exist.
fn can_end(schema: &Value, ends: &FiniteTargets<'_>) -> bool {
    let Value::Object(schema) = schema else { return *schema != Value::Bool(false) };
    let list = |keyword: &str| schema.get(keyword).and_then(Value::as_array);
    let refers = schema.get("$ref").and_then(Value::as_str).is_none_or(|target| ends.get(target) == Some(&true));
    let all = list("allOf").is_none_or(|schemas| schemas.iter().all(|schema| can_end(schema, ends)));
    let any =
        ["anyOf", "oneOf"].iter().all(|keyword| list(keyword).is_none_or(|schemas| schemas.iter().any(|schema| can_end(schema, ends))));
    refers && all && any && own_type_can_end(schema, ends)
}

/// True if a value of the schema's own type can end: scalars always do, objects and arrays if their required parts do.
fn own_type_can_end(schema: &Map<String, Value>, ends: &FiniteTargets<'_>) -> bool {
    let of_type = |name: &str| match name {
        "object" => required(schema).all(|schema| schema.is_none_or(|schema| can_end(schema, ends))),
        "array" => {
            let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
            items(schema, least).all(|schema| can_end(schema, ends))
        }
        _ => true,
    };
    match schema.get("type") {
        Some(Value::String(name)) => of_type(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(of_type),
        _ => true,
    }
}

/// The schemas of the required properties; `None` for a property that may be anything, or that depends on a pattern.
fn required(schema: &Map<String, Value>) -> impl Iterator<Item = Option<&Value>> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let free = if schema.contains_key("patternProperties") { None } else { schema.get("additionalProperties") };
    names.map(move |name| schema.get("properties").and_then(|properties| properties.get(name)).or(free))
}

/// The schemas of the required items.
fn items(schema: &Map<String, Value>, least: u64) -> impl Iterator<Item = &Value> {
    let least = usize::try_from(least).unwrap_or(usize::MAX);
    let array = |keyword: &str| schema.get(keyword).and_then(Value::as_array);
    let first = array("prefixItems").or(array("items")).map_or(&[][..], Vec::as_slice);
    let others = schema.get("items").filter(|items| !items.is_array()).or(schema.get("additionalItems"));
    first.iter().take(least).chain(others.filter(|_| first.len() < least))
}
