//! The check of a JSON schema before it is compiled: its size, and that none of its keywords would be ignored.
//!
//! llguidance refuses keywords that it does not implement, but only those of the schema's draft, and with messages for
//! its developers. Here every keyword that restricts and does not work is refused by name and place, whatever the
//! draft. Names that JSON schema does not define are annotations (core specification 2020-12, 4.3.1) and ignored.

mod bounds;
mod closed;
mod controls;
mod endings;
mod formats;
mod harmless;
mod loose;
mod names;
mod notes;
mod one_of;
mod quotes;
mod steps;
mod unique;
mod view;

use super::limits;
use crate::protocol::{
    ConstraintError,
    ConstraintErrorKind::{Invalid, TooLarge},
    ConstraintPlace, OBJECTS_ARE_CLOSED,
};
pub(super) use controls::need_unicode_escapes;
pub(super) use loose::{Loosen, without_loose_parts};
pub(super) use notes::Notes;
use one_of::Renamed;
use serde_json::{Map, Value};
use steps::Steps;
use view::RootSchema;

/// Deepest nesting of schemas within schemas.
const MAX_DEPTH: usize = 40;
/// Longest name of a property, bytes.
const MAX_NAME_BYTES: usize = 256;
/// Largest number of definitions in the whole schema.
const MAX_DEFINITIONS: usize = 1_024;
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

/// Keywords whose value is data and no schema.
const DATA: [&str; 4] = ["const", "enum", "default", "examples"];
/// Keywords whose value is an object of schemas: its names are no keywords.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// A schema that can be compiled.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The schema, rewritten with keywords that llguidance knows.
    pub(super) schema: Value,
    /// The parts of the schema that texts will not be held to.
    pub(super) notes: Notes,
    /// The first `oneOf` whose alternatives are not known to exclude each other.
    pub(super) overlapping: Option<ConstraintPlace>,
}

/// Parses and checks a schema. Keywords that restrict nothing are removed, and those that llguidance lacks or gets
/// wrong are rewritten.
///
/// # Errors
/// A keyword cannot be used, or a limit is exceeded; the error names the keyword and its place, or the limit.
pub(super) fn prepare(text: &str) -> Result<Prepared, ConstraintError> {
    let not_json = |error| ConstraintPlace::Schema.predicate(Invalid, format!("is not JSON: {error}"));
    let mut schema: Value = serde_json::from_str(text).map_err(not_json)?;
    if !schema.is_object() {
        return Err(ConstraintPlace::Schema.predicate(Invalid, "is not a JSON object"));
    }
    let is_closed = closed::close(&mut schema);
    let mut walk = Walk::new(schema.clone());
    if is_closed {
        walk.notes.add(OBJECTS_ARE_CLOSED);
    }
    walk.schema(&mut schema, "#", 0)?;
    walk.steps.check()?;
    walk.renamed.update(&mut schema);
    let checked = endings::check(&schema).and_then(|()| controls::check(&schema));
    checked.map_err(|error| walk.renamed.restore(error))?;
    quotes::exclude(&mut schema);
    Ok(Prepared { schema, notes: walk.notes, overlapping: walk.overlapping })
}

#[derive(Debug)]
struct Walk {
    /// The schema as it came.
    document: RootSchema,
    definitions: usize,
    steps: Steps,
    notes: Notes,
    /// True within a schema that is marked as loose.
    is_loose: bool,
    renamed: Renamed,
    overlapping: Option<ConstraintPlace>,
}

impl Walk {
    fn new(root: Value) -> Self {
        let (steps, notes, renamed) = (Steps::default(), Notes::default(), Renamed::default());
        Self { document: RootSchema::new(root), definitions: 0, steps, notes, is_loose: false, renamed, overlapping: None }
    }

    fn schema(&mut self, schema: &mut Value, at: &str, depth: usize) -> Result<(), ConstraintError> {
        if depth > MAX_DEPTH {
            return Err(ConstraintPlace::Schema.predicate(TooLarge, format!("is nested more than {MAX_DEPTH} deep")));
        }
        let schema = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(schema) => schema,
            _ => return Err(place(at).predicate(Invalid, "is no schema: a schema is an object, true or false")),
        };
        let was_loose = self.is_loose;
        self.is_loose |= loose::is_marked(schema);
        self.reword(schema, at)?;
        self.keywords(schema, at, depth)?;
        rules(schema, at)?;
        self.one_of(schema, at);
        bounds::restate(schema);
        formats::narrow(schema);
        self.is_loose = was_loose;
        Ok(())
    }

    /// Rewrites keywords that do not work with others that do, removes those that restrict nothing, and refuses the
    /// rest.
    fn reword(&mut self, schema: &mut Map<String, Value>, at: &str) -> Result<(), ConstraintError> {
        harmless::remove(schema, &self.document);
        let names = names::replace(schema, &self.document, at);
        self.settle(names)?;
        let unique = unique::replace(schema, &self.document, at);
        self.settle(unique)?;
        for keyword in REFUSED {
            if schema.shift_remove(keyword).is_some() {
                let message = format!("the keyword '{keyword}' is not supported");
                self.settle(Err(place(&format!("{at}/{keyword}")).sentence_first(Invalid, message)))?;
            }
        }
        if let Some(reason) = schema.get("pattern").and_then(Value::as_str).and_then(limits::unsupported_in_regex) {
            let error = place(&format!("{at}/pattern")).sentence(Invalid, reason);
            self.settle(Err(error))?;
            schema.shift_remove("pattern");
        }
        if let Some(name) = formats::take_unknown(schema) {
            self.notes.add(&format!("format '{name}' is not enforced ({at})"));
        }
        Ok(())
    }

    /// Rewrites `oneOf` as `anyOf` if no value can fulfil two of its alternatives.
    fn one_of(&mut self, schema: &mut Map<String, Value>, at: &str) {
        let here = place(&format!("{at}/oneOf"));
        let is_exclusive = one_of::is_exclusive(schema, &self.document);
        if !is_exclusive && self.is_loose {
            self.notes.add(&format!("{here}: the alternatives may overlap, and more than one may be fulfilled"));
        }
        if is_exclusive || self.is_loose {
            one_of::rename(schema, at, &mut self.renamed);
        } else {
            self.overlapping.get_or_insert(here);
        }
    }

    /// Within a loose schema a fault is noted, and its keyword has no effect.
    fn settle(&mut self, result: Result<(), ConstraintError>) -> Result<(), ConstraintError> {
        match result {
            Err(error) if self.is_loose => {
                self.notes.add(&format!("{error}, and not enforced"));
                Ok(())
            }
            result => result,
        }
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

/// Checks a number of items, characters or properties. JSON schema allows 3.0 for 3, llguidance does not.
fn count(value: &mut Value, at: &str) -> Result<(), ConstraintError> {
    if let Some(float) = value.as_f64().filter(|float| value.is_f64() && float.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(float)) {
        // A whole number within the limit, so it stays the same.
        *value = Value::from(float as u64);
    }
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
