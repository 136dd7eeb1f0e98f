//! The facts about a schema that other rules need: its types, its values if they can be listed, the names that it
//! requires, and whether two schemas exclude each other. References, `allOf` and `anyOf` are followed.
//!
//! All answers err on the safe side: a schema may allow less than is said here, never more. The search takes a bounded
//! number of steps and then knows nothing.

use serde_json::{Map, Value};
use std::{cell::Cell, collections::HashSet};

/// Steps of all searches in one schema together.
const MAX_STEPS: usize = 200_000;
/// References and parts of parts that are followed.
const MAX_DEPTH: usize = 8;
/// Values that are listed at most.
const MAX_VALUES: usize = 1_000;

/// A set of JSON's types. `number` without `integer` stands for numbers with a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    const NONE: Self = Self(0);
    const ALL: Self = Self(0x7F);
    pub(super) const OBJECT: Self = Self(1);
    pub(super) const ARRAY: Self = Self(1 << 1);
    pub(super) const STRING: Self = Self(1 << 2);
    const NAMES: [(&str, Self); 7] = [
        ("object", Self::OBJECT),
        ("array", Self::ARRAY),
        ("string", Self::STRING),
        ("integer", Self(1 << 3)),
        ("number", Self(3 << 3)),
        ("boolean", Self(1 << 5)),
        ("null", Self(1 << 6)),
    ];

    pub(super) fn named(name: &str) -> Self {
        Self::NAMES.iter().find(|(known, _)| *known == name).map_or(Self::NONE, |(_, types)| *types)
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Object(_) => Self::OBJECT,
            Value::Array(_) => Self::ARRAY,
            Value::String(_) => Self::STRING,
            Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => Self::named("integer"),
            Value::Number(_) => Self(1 << 4),
            Value::Bool(_) => Self::named("boolean"),
            Value::Null => Self::named("null"),
        }
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A whole schema, in which references are looked up.
#[derive(Debug)]
pub(super) struct RootSchema {
    root: Value,
    steps: Cell<usize>,
}

/// Schemas that must all be fulfilled: one with its references and `allOf`s. `None` if one of them is `false`.
type Parts<'a> = Option<Vec<&'a Map<String, Value>>>;

/// The schemas that a search has found.
#[derive(Debug, Default)]
struct PartsFound<'a> {
    parts: Vec<&'a Map<String, Value>>,
    /// True if there may be more: a reference points nowhere, something is no schema, or the search was cut off.
    is_incomplete: bool,
}

/// A schema has parts that were not found.
#[derive(Debug)]
pub(super) struct Incomplete;

impl RootSchema {
    pub(super) fn new(root: Value) -> Self {
        Self { root, steps: Cell::new(MAX_STEPS) }
    }

    /// The types that a value of the schema may have.
    pub(super) fn types(&self, schema: &Map<String, Value>) -> Types {
        let mut found = PartsFound::default();
        let parts = self.collect_map(schema, 0, &mut found).then_some(found.parts);
        self.types_of(&parts, 0)
    }

    /// The only values that a schema may allow, each once; `None` if they cannot be listed.
    pub(super) fn values<'a>(&'a self, schema: &'a Value) -> Option<Vec<&'a Value>> {
        self.values_of(&self.parts(schema), 0)
    }

    /// The schema and those that it refers to or that stand in its `allOf`: all that there are.
    ///
    /// # Errors
    /// There may be more.
    pub(super) fn all_parts<'a>(&'a self, schema: &'a Value) -> Result<Parts<'a>, Incomplete> {
        let mut found = PartsFound::default();
        let allows_some = self.collect(schema, 0, &mut found);
        if allows_some && found.is_incomplete { Err(Incomplete) } else { Ok(allows_some.then_some(found.parts)) }
    }

    /// As [`Self::all_parts`], without those that were not found.
    fn parts<'a>(&'a self, schema: &'a Value) -> Parts<'a> {
        let mut found = PartsFound::default();
        self.collect(schema, 0, &mut found).then_some(found.parts)
    }

    /// True if no value that fulfils the schema `beside` can fulfil two of the others. The search takes at most three
    /// quarters of the steps that are left.
    pub(super) fn exclude_each_other(&self, beside: &Map<String, Value>, schemas: &[Value]) -> bool {
        let kept = self.steps.get() / 4;
        self.steps.set(self.steps.get() - kept);
        let with = |schema| {
            let mut found = PartsFound { parts: vec![beside], is_incomplete: false };
            self.collect(schema, 0, &mut found).then_some(found.parts)
        };
        let all: Vec<Parts<'_>> = schemas.iter().map(with).collect();
        let mut pairs = all.iter().enumerate().flat_map(|(at, one)| all[at + 1..].iter().map(move |other| (one, other)));
        let are_exclusive = self.list_different_values(&all) || pairs.all(|(one, other)| self.parts_are_disjoint(one, other, 0));
        self.steps.set(self.steps.get() + kept);
        are_exclusive
    }

    /// True if all schemas list their values, and no value is listed by two of them. Unlike the comparison of pairs,
    /// this takes few steps where there are many schemas.
    fn list_different_values(&self, schemas: &[Parts<'_>]) -> bool {
        let mut known = HashSet::new();
        let mut is_new = |value: &Value| scalar_key(value).is_some_and(|key| known.insert(key));
        schemas.iter().all(|schema| self.values_of(schema, 0).is_some_and(|values| values.into_iter().all(&mut is_new)))
    }

    /// True if some schema of the document has one of these keywords, or some data looks as if.
    pub(super) fn mentions(&self, keywords: &[&str]) -> bool {
        mentions(&self.root, keywords)
    }

    /// `false` if the schema allows nothing.
    fn collect<'a>(&'a self, schema: &'a Value, depth: usize, found: &mut PartsFound<'a>) -> bool {
        match schema {
            Value::Object(schema) => self.collect_map(schema, depth, found),
            Value::Bool(allows_all) => *allows_all,
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                found.is_incomplete = true;
                true
            }
        }
    }

    fn collect_map<'a>(&'a self, schema: &'a Map<String, Value>, depth: usize, found: &mut PartsFound<'a>) -> bool {
        if depth > MAX_DEPTH || !self.step() {
            found.is_incomplete = true;
            return true;
        }
        found.parts.push(schema);
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| self.root.pointer(target.strip_prefix('#')?));
        let all = schema.get("allOf").and_then(Value::as_array);
        found.is_incomplete |= target.is_none() && schema.contains_key("$ref");
        found.is_incomplete |= all.is_none() && schema.contains_key("allOf");
        target.into_iter().chain(all.into_iter().flatten()).all(|schema| self.collect(schema, depth + 1, found))
    }

    fn types_of(&self, parts: &Parts<'_>, depth: usize) -> Types {
        let Some(parts) = parts else { return Types::NONE };
        parts.iter().fold(Types::ALL, |types, part| types.and(self.own_types(part, depth)))
    }

    fn own_types(&self, part: &Map<String, Value>, depth: usize) -> Types {
        if depth > MAX_DEPTH || !self.step() {
            return Types::ALL;
        }
        let mut types = match part.get("type") {
            Some(Value::String(name)) => Types::named(name),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).fold(Types::NONE, |all, name| all.or(Types::named(name))),
            _ => Types::ALL,
        };
        for value in [part.get("const")].into_iter().flatten() {
            types = types.and(Types::of_value(value));
        }
        if let Some(Value::Array(values)) = part.get("enum") {
            if !self.steps_for(values.len()) {
                return Types::ALL;
            }
            types = types.and(values.iter().fold(Types::NONE, |all, value| all.or(Types::of_value(value))));
        }
        for alternatives in alternatives(part) {
            let of_one = |schema: &Value| self.types_of(&self.parts(schema), depth + 1);
            types = types.and(alternatives.iter().fold(Types::NONE, |all, schema| all.or(of_one(schema))));
        }
        types
    }

    fn values_of<'a>(&'a self, parts: &Parts<'a>, depth: usize) -> Option<Vec<&'a Value>> {
        let Some(parts) = parts else { return Some(Vec::new()) };
        let listed = parts.iter().find_map(|part| self.own_values(part, depth))?;
        let types = self.types_of(&Some(parts.clone()), depth);
        let mut values: Vec<&Value> = Vec::new();
        for value in listed.into_iter().filter(|value| Types::of_value(value).is_within(types)) {
            if values.len() >= MAX_VALUES || !self.steps_for(values.len() / 16 + 1) {
                return None;
            }
            if !values.iter().any(|known| are_equal(known, value)) {
                values.push(value);
            }
        }
        Some(values)
    }

    fn own_values<'a>(&'a self, part: &'a Map<String, Value>, depth: usize) -> Option<Vec<&'a Value>> {
        static BOOLEANS: [Value; 2] = [Value::Bool(false), Value::Bool(true)];
        static NULL: Value = Value::Null;
        if depth > MAX_DEPTH || !self.step() {
            return None;
        }
        match (part.get("const"), part.get("enum"), part.get("type")) {
            (Some(value), _, _) => Some(vec![value]),
            (_, Some(Value::Array(values)), _) => Some(values.iter().collect()),
            (_, _, Some(Value::String(name))) if name == "boolean" => Some(BOOLEANS.iter().collect()),
            (_, _, Some(Value::String(name))) if name == "null" => Some(vec![&NULL]),
            _ => alternatives(part).find_map(|alternatives| {
                let lists: Option<Vec<_>> = alternatives.iter().map(|schema| self.values_of(&self.parts(schema), depth + 1)).collect();
                Some(lists?.concat())
            }),
        }
    }

    fn parts_are_disjoint(&self, one: &Parts<'_>, other: &Parts<'_>, depth: usize) -> bool {
        let (Some(a), Some(b)) = (one, other) else { return true };
        if depth > MAX_DEPTH || !self.step() {
            return false;
        }
        let (types, others) = (self.types_of(one, depth), self.types_of(other, depth));
        if !types.has(others) {
            return true;
        }
        if let (Some(values), Some(others)) = (self.values_of(one, depth), self.values_of(other, depth))
            && self.steps_for(values.len().saturating_mul(others.len()) / 16)
            && values.iter().all(|value| !others.iter().any(|other| are_equal(value, other)))
        {
            return true;
        }
        let all_exclude = |parts: &[&Map<String, Value>], other: &Parts<'_>| {
            let mut lists = parts.iter().flat_map(|part| alternatives(part));
            lists.any(|list| list.iter().all(|schema| self.parts_are_disjoint(&self.parts(schema), other, depth + 1)))
        };
        all_exclude(a, other) || all_exclude(b, one) || (types.and(others) == Types::OBJECT && self.names_exclude(a, b, depth))
    }

    /// True if a property that every object of one of them has can have no value that both allow.
    fn names_exclude(&self, a: &[&Map<String, Value>], b: &[&Map<String, Value>], depth: usize) -> bool {
        let required = a.iter().chain(b).filter_map(|part| part.get("required")?.as_array());
        let mut names = required.flatten().filter_map(Value::as_str);
        names.any(|name| self.parts_are_disjoint(&self.property(a, name), &self.property(b, name), depth + 1))
    }

    /// The schemas of a property.
    fn property<'a>(&'a self, parts: &[&'a Map<String, Value>], name: &str) -> Parts<'a> {
        let mut found = PartsFound::default();
        for part in parts {
            let own = part.get("properties").and_then(|properties| properties.get(name));
            let free = if part.contains_key("patternProperties") { None } else { part.get("additionalProperties") };
            if let Some(schema) = own.or(free)
                && !self.collect(schema, 0, &mut found)
            {
                return None;
            }
        }
        Some(found.parts)
    }

    /// False if there are no steps left.
    fn step(&self) -> bool {
        self.steps_for(1)
    }

    fn steps_for(&self, work: usize) -> bool {
        let left = self.steps.get();
        self.steps.set(left.saturating_sub(work));
        left > 0
    }
}

fn mentions(value: &Value, keywords: &[&str]) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(name, value)| keywords.contains(&name.as_str()) || mentions(value, keywords)),
        Value::Array(values) => values.iter().any(|value| mentions(value, keywords)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The lists of schemas of which one must be fulfilled.
fn alternatives(part: &Map<String, Value>) -> impl Iterator<Item = &Vec<Value>> {
    ["anyOf", "oneOf"].into_iter().filter_map(|keyword| part.get(keyword)?.as_array().filter(|list| !list.is_empty()))
}

/// A text that two numbers, texts, booleans or nulls have in common if they are equal; `None` for arrays and objects.
fn scalar_key(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => number.as_f64().map(|number| (number + 0.0).to_string()), // -0 becomes 0.
        Value::Array(_) | Value::Object(_) => None,
        Value::String(_) | Value::Bool(_) | Value::Null => Some(value.to_string()),
    }
}

/// True if JSON schema takes both for the same value: numbers by their value, however they are written.
pub(super) fn are_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| are_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| are_equal(one, other)))
        }
        _ => one == other,
    }
}
