//! Reads a JSON body field by field: each read states the field's name, type and range once.
//!
//! [`Fields`] is a cursor: reading a field removes it, and [`Fields::finish`] returns the names that no reader asked
//! for. JSON `null` equals absence, because clients serialise `None`. This module contains no endpoint's fields. A read
//! takes the same time however many fields there are.

mod error;
pub mod ignored;
pub mod spec;
pub mod token_caps;
pub mod values;

pub use error::{FieldError, FieldFault};

use crate::field_path::FieldPath;
use ignored::Ignored;
use serde_json::{Map, Value};
use std::{borrow::Cow, ops::RangeInclusive};

/// Deepest nesting of arrays and objects in a body. serde_json itself stops at 128.
const MAX_DEPTH: u32 = 64;

/// The fields of an object that no reader has taken yet.
#[derive(Debug, Clone)]
pub struct Fields {
    /// The value of a field that was read is set to null here: removing the field would move every field after it.
    map: Map<String, Value>,
    /// Names of unread fields inside other fields, and the fields that were read otherwise than they were sent.
    unread: Ignored,
    /// Every name that was asked for, for the test that compares the documents with the readers.
    #[cfg(test)]
    asked: AskedNames,
}

/// Names that a reader asked for.
#[cfg(test)]
pub(crate) type AskedNames = std::sync::Arc<std::sync::Mutex<std::collections::BTreeSet<String>>>;

impl Fields {
    /// Reads a body as a JSON object. Of a repeated key the last value counts. Escapes of lone surrogates are read as
    /// U+FFFD, and reported.
    ///
    /// # Errors
    /// `Body` if it is empty, not UTF-8, not JSON, nested more than 64 deep, or no object.
    pub fn parse(body: &[u8]) -> Result<Self, FieldError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(FieldError::body("it is empty"));
        }
        if nesting_exceeds(body, MAX_DEPTH) {
            return Err(FieldError::body(format!("it is nested more than {MAX_DEPTH} deep")));
        }
        let readable = crate::surrogates::without_lone(body);
        match serde_json::from_slice(&readable) {
            Ok(Value::Object(map)) => {
                let mut fields = Self::new(map);
                if matches!(readable, Cow::Owned(_)) {
                    fields.change("", crate::surrogates::REPLACED);
                }
                Ok(fields)
            }
            Ok(other) => Err(FieldError::body(format!("expected an object, but got {} instead", type_name(&other)))),
            Err(error) => Err(FieldError::body(error.to_string())),
        }
    }

    /// The fields of an object inside a body.
    #[must_use]
    pub fn new(map: Map<String, Value>) -> Self {
        Self {
            map,
            unread: Ignored::default(),
            #[cfg(test)]
            asked: AskedNames::default(),
        }
    }

    /// The set of names that readers ask for, shared: it grows while fields are read.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> AskedNames {
        AskedNames::clone(&self.asked)
    }

    /// True if a field is there, and not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.peek(name).is_some()
    }

    /// A field that no reader has taken yet; `None` if it is absent or null.
    #[must_use]
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Takes the fields of these names, for a reader that would read more fields than the route has.
    #[must_use]
    pub fn pick<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(names.into_iter().filter_map(|name| Some((name.to_owned(), self.take(name)?))).collect())
    }

    /// Gives a field that is absent or null this value.
    pub fn set_default(&mut self, name: &str, value: Value) {
        if !self.has(name) {
            self.map.insert(name.to_owned(), value);
        }
    }

    /// Takes a field of any type; `None` if it is absent or null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        #[cfg(test)]
        self.asked.lock().expect("no test panics in here").insert(name.to_owned());
        self.map.get_mut(name).map(Value::take).filter(|value| !value.is_null())
    }

    /// Takes a boolean.
    ///
    /// # Errors
    /// `WrongType`.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, FieldError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(FieldError::wrong_type(name, "a boolean", &other)),
        }
    }

    /// Takes a whole number within a range; JavaScript's `100.0` is one, `true` is not.
    ///
    /// # Errors
    /// `WrongType`, `OutOfRange`.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, FieldError> {
        self.take(name).map(|value| integer(name, &value, range)).transpose()
    }

    /// Takes a number within a range; JSON has no NaN and no infinity.
    ///
    /// # Errors
    /// `WrongType`, `OutOfRange`.
    pub fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, FieldError> {
        self.take(name).map(|value| number(name, &value, range)).transpose()
    }

    /// Takes a string of any length: the body's limit bounds it.
    ///
    /// # Errors
    /// `WrongType`.
    pub fn string(&mut self, name: &str) -> Result<Option<String>, FieldError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(other) => Err(FieldError::wrong_type(name, "a string", &other)),
        }
    }

    /// Takes an object.
    ///
    /// # Errors
    /// `WrongType`.
    pub fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, FieldError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(FieldError::wrong_type(name, "an object", &other)),
        }
    }

    /// Adds the unread fields of `inner`, the object at `name`, to the names that [`Fields::finish`] returns.
    pub fn leave(&mut self, name: &str, inner: Self) {
        self.unread.extend_inside(name, &inner.finish());
    }

    /// Adds a field that was read but has no effect to the names that [`Fields::finish`] returns; once, however often
    /// it is named.
    pub fn report(&mut self, name: &str) {
        self.unread.add(name);
    }

    /// Adds that a field is obeyed only in part, for the warnings; `text` is visible ASCII and spaces. A reader calls
    /// this at most once for each of its fields.
    pub fn change(&mut self, name: &str, text: impl Into<String>) {
        self.unread.change(name, text.into());
    }

    /// The names of unread fields in the order of the body, then of those inside other fields. `null` is no field.
    #[must_use]
    pub fn finish(self) -> Ignored {
        let mut names: Ignored = self.map.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str()).collect();
        names.extend(self.unread);
        names
    }
}

/// A value as a whole number within a range; `path` names it in the error.
///
/// # Errors
/// `WrongType`, `OutOfRange`.
pub fn integer(path: impl Into<FieldPath>, value: &Value, range: RangeInclusive<i64>) -> Result<i64, FieldError> {
    let Value::Number(number) = value else { return Err(FieldError::wrong_type(path, "an integer", value)) };
    let whole = number.as_i64().or_else(|| number.as_f64().and_then(whole));
    match whole {
        Some(whole) if range.contains(&whole) => Ok(whole),
        // A u64 above i64 or a large float is a whole number, only too large a one.
        None if number.as_f64().is_some_and(|float| float.fract() != 0.0) => {
            Err(FieldError { path: path.into(), fault: FieldFault::WrongType { expected: "an integer", found: "a fraction" } })
        }
        Some(_) | None => Err(out_of_range(path, &range, number)),
    }
}

/// A value as a number within a range; `path` names it in the error.
///
/// # Errors
/// `WrongType`, `OutOfRange`.
pub fn number(path: impl Into<FieldPath>, value: &Value, range: RangeInclusive<f64>) -> Result<f64, FieldError> {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if range.contains(&float) => Ok(float),
            Some(_) | None => Err(out_of_range(path, &range, number)),
        },
        other => Err(FieldError::wrong_type(path, "a number", other)),
    }
}

fn out_of_range<T: ToString>(path: impl Into<FieldPath>, range: &RangeInclusive<T>, found: &serde_json::Number) -> FieldError {
    let (min, max) = (range.start().to_string(), range.end().to_string());
    FieldError { path: path.into(), fault: FieldFault::OutOfRange { min, max, found: found.to_string() } }
}

/// A float without a fraction as an integer. Exact: such a float prints as its integer, and there is no `TryFrom<f64>`.
fn whole(float: f64) -> Option<i64> {
    let whole: Option<i64> = (float.fract() == 0.0).then(|| format!("{float:.0}").parse().ok()).flatten();
    // Every JSON integer just below the smallest i64 reads as the float that is equal to it.
    whole.filter(|whole| *whole > i64::MIN)
}

/// The JSON type of a value, with its article.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// True if brackets outside strings nest deeper than `limit`. The result is wrong for text that is no JSON, which the
/// parser refuses anyway.
fn nesting_exceeds(body: &[u8], limit: u32) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests;
