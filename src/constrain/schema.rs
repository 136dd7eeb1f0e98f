//! The check of a JSON schema before it is compiled: its size, and that none of its keywords would be ignored.
//!
//! llguidance refuses keywords that it does not implement, but only those of the schema's draft, and with messages for
//! its developers. Here every keyword that restricts and does not work is refused by name and place, whatever the
//! draft. Names that JSON schema does not define are annotations (core specification 2020-12, 4.3.1) and ignored.

mod bounds;
mod controls;
mod endings;
mod formats;
mod steps;

use super::limits;
use crate::protocol::{
    ConstraintError,
    ConstraintErrorKind::{Invalid, TooLarge},
    ConstraintPlace,
};
pub(super) use controls::need_unicode_escapes;
use serde_json::{Map, Value};
use steps::Steps;

/// Deepest nesting of schemas within schemas.
const MAX_DEPTH: usize = 32;
/// Longest name of a property, bytes.
const MAX_NAME_BYTES: usize = 256;
/// Largest number of definitions in the whole schema.
const MAX_DEFINITIONS: usize = 256;
/// Largest number of values in one `enum`.
const MAX_ENUM: usize = 1_000;
/// Largest number of items, characters or properties that a bound may ask for or permit.
const MAX_COUNT: u64 = 100_000;
/// Largest integer. Beyond it an `f64` misses integers, and llguidance computes in `f64`; beyond 2^63 llguidance
/// negates the least `i64` for ever.
const MAX_INTEGER: u64 = 1 << 53;

/// Keywords that restrict a value and are not implemented. `nullable` is OpenAPI's, `x-guidance` llguidance's own.
pub(super) const REFUSED: [&str; 20] = [
    "not",
    "if",
    "then",
    "else",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "contains",
    "minContains",
    "maxContains",
    "propertyNames",
    "uniqueItems",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "nullable",
    "x-guidance",
];
/// The refused keywords that restrict nothing when they are `false`.
const HARMLESS_WHEN_FALSE: [&str; 3] = ["uniqueItems", "nullable", "$recursiveAnchor"];

/// Parses and checks a schema. Keywords that llguidance does not need any more are removed, and patterns that its
/// formats lack are added.
///
/// # Errors
/// A keyword cannot be used, or a limit is exceeded; the error names the keyword and its place, or the limit.
pub(super) fn prepare(text: &str) -> Result<Value, ConstraintError> {
    let not_json = |error| ConstraintPlace::Schema.predicate(Invalid, format!("is not JSON: {error}"));
    let mut schema: Value = serde_json::from_str(text).map_err(not_json)?;
    if !schema.is_object() {
        return Err(ConstraintPlace::Schema.predicate(Invalid, "is not a JSON object"));
    }
    let mut walk = Walk::default();
    walk.schema(&mut schema, "#", 0)?;
    walk.steps.check()?;
    endings::check(&schema)?;
    controls::check(&schema)?;
    Ok(schema)
}

#[derive(Default)]
struct Walk {
    definitions: usize,
    steps: Steps,
}

impl Walk {
    fn schema(&mut self, schema: &mut Value, at: &str, depth: usize) -> Result<(), ConstraintError> {
        if depth > MAX_DEPTH {
            return Err(ConstraintPlace::Schema.predicate(TooLarge, format!("is nested more than {MAX_DEPTH} deep")));
        }
        let schema = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(schema) => schema,
            _ => return Err(place(at).predicate(Invalid, "is no schema: a schema is an object, true or false")),
        };
        tidy(schema, at)?;
        self.keywords(schema, at, depth)?;
        rules(schema, at)?;
        bounds::restate(schema);
        formats::narrow(schema);
        Ok(())
    }

    /// Checks each keyword by its value.
    fn keywords(&mut self, schema: &mut Map<String, Value>, at: &str, depth: usize) -> Result<(), ConstraintError> {
        for (keyword, value) in schema.iter_mut() {
            let here = format!("{at}/{keyword}");
            match (keyword.as_str(), value) {
                ("$defs" | "definitions", value) => {
                    self.definitions += value.as_object().map_or(0, Map::len);
                    if self.definitions > MAX_DEFINITIONS {
                        let message = format!("has more than {MAX_DEFINITIONS} definitions");
                        return Err(ConstraintPlace::Schema.predicate(TooLarge, message));
                    }
                    self.named(value, &here, depth)?;
                }
                ("properties" | "patternProperties", value) => self.named(value, &here, depth)?,
                ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                    for (index, schema) in schemas.iter_mut().enumerate() {
                        self.schema(schema, &format!("{here}/{index}"), depth + 1)?;
                    }
                }
                ("items" | "additionalItems" | "additionalProperties", value) => self.schema(value, &here, depth + 1)?,
                ("$ref", Value::String(reference)) => check_reference(reference, &here)?,
                ("pattern", Value::String(pattern)) => limits::regex(&place(&here), pattern)?,
                ("$id", _) if depth > 0 => {
                    return Err(place(&here).sentence(Invalid, "a schema with an own '$id' inside another is not supported"));
                }
                ("enum" | "const", value) => exact(value, &here)?,
                ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", value) => exact(value, &here)?,
                ("multipleOf", value) => self.steps.add(value, &here)?,
                ("minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties", value) => count(value, &here)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks the schemas in an object, and their names.
    fn named(&mut self, schemas: &mut Value, at: &str, depth: usize) -> Result<(), ConstraintError> {
        let Value::Object(schemas) = schemas else { return Err(place(at).predicate(Invalid, "is not an object")) };
        for (name, schema) in schemas.iter_mut() {
            check_name(name, at)?;
            if at.ends_with("/patternProperties") {
                limits::regex(&place(at), name)?;
            }
            self.schema(schema, &format!("{at}/{name}"), depth + 1)?;
        }
        Ok(())
    }
}

/// The part of the schema at this JSON pointer.
fn place(pointer: &str) -> ConstraintPlace {
    ConstraintPlace::InSchema(pointer.to_owned())
}

/// Refuses keywords that do not work, and removes those that restrict nothing. The draft that a schema names makes no
/// difference here.
fn tidy(schema: &mut Map<String, Value>, at: &str) -> Result<(), ConstraintError> {
    schema.retain(|keyword, value| {
        let harmless = *value == Value::Bool(false) && HARMLESS_WHEN_FALSE.contains(&keyword.as_str());
        keyword != "$schema" && !harmless
    });
    match REFUSED.iter().find(|keyword| schema.contains_key(**keyword)) {
        Some(keyword) => {
            let message = format!("the keyword '{keyword}' is not supported");
            Err(place(&format!("{at}/{keyword}")).sentence_first(Invalid, message))
        }
        None => Ok(()),
    }
}

/// Makes the checks that concern several keywords of one schema at once.
fn rules(schema: &Map<String, Value>, at: &str) -> Result<(), ConstraintError> {
    let array = |keyword: &str| schema.get(keyword).and_then(Value::as_array);
    let here = |keyword: &str| place(&format!("{at}/{keyword}"));
    if array("enum").is_some_and(|values| values.len() > MAX_ENUM) {
        return Err(here("enum").predicate(TooLarge, format!("has more than {MAX_ENUM} values")));
    }
    for name in array("required").into_iter().flatten().filter_map(Value::as_str) {
        check_name(name, &format!("{at}/required"))?;
    }
    // Only newer drafts know `prefixItems` and only older ones the other two: each draft would understand the
    // combination differently.
    if schema.contains_key("prefixItems") && (schema.contains_key("additionalItems") || array("items").is_some()) {
        let message = "cannot be used together with 'additionalItems' or an array of 'items'";
        return Err(here("prefixItems").predicate(Invalid, message));
    }
    // A model may give two free properties the same name, and then they count as one.
    let least = schema.get("minProperties").and_then(Value::as_u64).unwrap_or(0);
    let required = u64::try_from(array("required").map_or(0, Vec::len)).unwrap_or(u64::MAX);
    let free = schema.get("additionalProperties") != Some(&Value::Bool(false)) || schema.contains_key("patternProperties");
    if free && least > required + 1 {
        let message = "is supported up to one more than the number of required properties";
        return Err(here("minProperties").predicate(Invalid, message));
    }
    Ok(())
}

fn check_name(name: &str, at: &str) -> Result<(), ConstraintError> {
    if name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(place(at).sentence(TooLarge, format!("a name has {} bytes; at most {MAX_NAME_BYTES} are accepted", name.len())))
}

/// Checks that a reference stays inside the schema and is a plain path.
fn check_reference(reference: &str, at: &str) -> Result<(), ConstraintError> {
    let inside = reference == "#" || reference.starts_with("#/");
    if inside && !reference.contains(['~', '%']) {
        return Ok(());
    }
    let shown: String = reference.chars().take(64).collect();
    let message = format!("'{shown}' is not supported; a '$ref' is a path inside the schema, such as '#/$defs/name', without escapes");
    Err(place(at).sentence(Invalid, message))
}

fn count(value: &Value, at: &str) -> Result<(), ConstraintError> {
    match value.as_u64() {
        Some(count) if count <= MAX_COUNT => Ok(()),
        // JSON schema allows 3.0, llguidance does not.
        Some(_) | None => Err(place(at).predicate(Invalid, format!("must be an integer from 0 to {MAX_COUNT}"))),
    }
}

/// Checks that numbers survive `f64`: integers up to 2^53, and numbers with a point or an exponent below it.
/// `serde_json` has already read the latter into an `f64`, so that one of 2^53 may have been another number.
fn exact(value: &Value, at: &str) -> Result<(), ConstraintError> {
    match value {
        Value::Number(number) => {
            let integer = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
            let is_exact = match (integer, number.as_f64()) {
                (Some(magnitude), _) => magnitude <= MAX_INTEGER,
                (None, Some(float)) => float.abs() < MAX_INTEGER as f64,
                (None, None) => false,
            };
            if is_exact {
                return Ok(());
            }
            Err(place(at).sentence(Invalid, format!("{number} is too large; numbers up to 2^53 are supported")))
        }
        Value::Array(values) => values.iter().try_for_each(|value| exact(value, at)),
        Value::Object(values) => values.iter().try_for_each(|(name, value)| check_name(name, at).and_then(|()| exact(value, at))),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}
