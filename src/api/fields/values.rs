//! The kinds of values that fields have: numbers, whole numbers, booleans, texts, words, shapes, and values that are
//! refused.
//!
//! Each kind reads a value and describes itself as a JSON Schema, so that no range stands in two places.

use super::{
    FieldError, FieldFault, Fields, integer as read_integer, number as read_number,
    spec::{FieldSpec, Support, Values},
};
use serde_json::{Map, Value, json};
use std::{fmt::Debug, ops::RangeInclusive};

/// Values with a default for an absent field.
#[derive(Debug, Clone, Copy)]
pub struct Or<V: Values> {
    /// The accepted values.
    pub values: V,
    /// The value of an absent field.
    pub default: V::Value,
}

impl<V, T> Values for Or<V>
where
    V: Values<Value = T, Read = Option<T>>,
    T: Debug + Copy + Sync + Into<Value>,
{
    type Value = T;
    type Read = T;

    fn read(&self, name: &str, sent: Option<Value>) -> Result<T, FieldError> {
        Ok(self.values.read(name, sent)?.unwrap_or(self.default))
    }

    fn schema(&self) -> Value {
        let mut schema = self.values.schema();
        schema["default"] = as_written(self.default.into());
        schema
    }
}

impl<V: Values> FieldSpec<V> {
    /// The same field with a default, the value that an absent field has.
    #[must_use]
    pub const fn or(self, default: V::Value) -> FieldSpec<Or<V>>
    where
        V::Value: Copy,
    {
        let Self { name, support, example, about, values } = self;
        FieldSpec { name, support, example, about, values: Or { values, default } }
    }
}

impl Fields {
    /// Reads a field that has a default as if it had none: `None` if nothing was sent.
    ///
    /// # Errors
    /// The field's value is not one that the spec allows.
    pub fn sent<V, T>(&mut self, spec: &FieldSpec<Or<V>>) -> Result<Option<T>, FieldError>
    where
        V: Values<Value = T, Read = Option<T>>,
    {
        let sent = self.take(spec.name);
        spec.values.values.read(spec.name, sent)
    }
}

impl<V: Values<Value: Copy>> FieldSpec<Or<V>> {
    /// The same field with another default.
    #[must_use]
    pub const fn default_is(mut self, default: V::Value) -> Self {
        self.values.default = default;
        self
    }
}

/// The numbers of a range.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// The minimum.
    pub min: f64,
    /// The maximum; infinite if the range has none.
    pub max: f64,
    /// True if `min` itself is excluded.
    pub open: bool,
}

/// A number within a range.
#[must_use]
pub const fn number(name: &'static str, range: RangeInclusive<f64>) -> FieldSpec<Numbers> {
    FieldSpec::new(name, Support::Works, Numbers { min: *range.start(), max: *range.end(), open: false })
}

impl Values for Numbers {
    type Value = f64;
    type Read = Option<f64>;

    fn read(&self, name: &str, sent: Option<Value>) -> Result<Option<f64>, FieldError> {
        let Some(value) = sent else { return Ok(None) };
        match read_number(name, &value, self.min..=self.max)? {
            number if self.open && number <= self.min => Err(FieldError::invalid(name, format!("it must be above {}", self.min))),
            number => Ok(Some(number)),
        }
    }

    fn schema(&self) -> Value {
        let min = if self.open { "exclusiveMinimum" } else { "minimum" };
        let mut schema = json!({"type": "number", min: as_written(self.min.into())});
        if self.max.is_finite() {
            schema["maximum"] = as_written(self.max.into());
        }
        schema
    }
}

impl FieldSpec<Numbers> {
    /// The same field without the minimum of its range.
    #[must_use]
    pub const fn above_min(mut self) -> Self {
        self.values.open = true;
        self
    }
}

impl FieldSpec<Or<Numbers>> {
    /// The same field with another range.
    #[must_use]
    pub const fn within(mut self, range: RangeInclusive<f64>) -> Self {
        self.values.values = Numbers { min: *range.start(), max: *range.end(), open: false };
        self
    }
}

/// The whole numbers of a range.
#[derive(Debug, Clone, Copy)]
pub struct Integers {
    /// The minimum.
    pub min: i64,
    /// The maximum.
    pub max: i64,
}

/// A whole number within a range.
#[must_use]
pub const fn integer(name: &'static str, range: RangeInclusive<i64>) -> FieldSpec<Integers> {
    FieldSpec::new(name, Support::Works, Integers { min: *range.start(), max: *range.end() })
}

impl Values for Integers {
    type Value = i64;
    type Read = Option<i64>;

    fn read(&self, name: &str, sent: Option<Value>) -> Result<Option<i64>, FieldError> {
        sent.map(|value| read_integer(name, &value, self.min..=self.max)).transpose()
    }

    /// The schema leaves out a bound that is also the bound of 64-bit integers.
    fn schema(&self) -> Value {
        let mut schema = json!({"type": "integer"});
        if self.min > i64::MIN {
            schema["minimum"] = self.min.into();
        }
        if self.max < i64::MAX {
            schema["maximum"] = self.max.into();
        }
        schema
    }
}

impl FieldSpec<Integers> {
    /// The same field with another range, which the model, the operator or the route sets.
    #[must_use]
    pub const fn within(mut self, range: RangeInclusive<i64>) -> Self {
        self.values = Integers { min: *range.start(), max: *range.end() };
        self
    }
}

impl FieldSpec<Or<Integers>> {
    /// The same field with another range, which the model, the operator or the route sets.
    #[must_use]
    pub const fn within(mut self, range: RangeInclusive<i64>) -> Self {
        self.values.values = Integers { min: *range.start(), max: *range.end() };
        self
    }
}

/// The booleans, `true` and `false`.
#[derive(Debug, Clone, Copy)]
pub struct Booleans;

/// A boolean.
#[must_use]
pub const fn boolean(name: &'static str) -> FieldSpec<Booleans> {
    FieldSpec::new(name, Support::Works, Booleans).example("true")
}

impl Values for Booleans {
    type Value = bool;
    type Read = Option<bool>;

    fn read(&self, name: &str, sent: Option<Value>) -> Result<Option<bool>, FieldError> {
        match sent {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(FieldError::wrong_type(name, "a boolean", &other)),
        }
    }

    fn schema(&self) -> Value {
        json!({"type": "boolean"})
    }
}

/// Texts, however long: the limit of the body bounds them.
#[derive(Debug, Clone, Copy)]
pub struct Strings {
    /// True if the empty text is accepted.
    pub may_be_empty: bool,
}

/// A string.
#[must_use]
pub const fn string(name: &'static str) -> FieldSpec<Strings> {
    FieldSpec::new(name, Support::Works, Strings { may_be_empty: true })
}

impl FieldSpec<Strings> {
    /// A text that has at least one character.
    #[must_use]
    pub const fn not_empty(mut self) -> Self {
        self.values.may_be_empty = false;
        self
    }
}

impl Values for Strings {
    type Value = String;
    type Read = Option<String>;

    fn read(&self, name: &str, sent: Option<Value>) -> Result<Option<String>, FieldError> {
        match sent {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() && !self.may_be_empty => Err(FieldError::invalid(name, "it is an empty string")),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(FieldError::wrong_type(name, "a string", &other)),
        }
    }

    fn schema(&self) -> Value {
        if self.may_be_empty { json!({"type": "string"}) } else { json!({"type": "string", "minLength": 1}) }
    }
}

/// A string out of a fixed list.
#[derive(Debug, Clone, Copy)]
pub struct OneOf {
    words: &'static [&'static str],
}

/// One of these words.
#[must_use]
pub const fn one_of(name: &'static str, words: &'static [&'static str]) -> FieldSpec<OneOf> {
    FieldSpec::new(name, Support::Works, OneOf { words })
}

impl Values for OneOf {
    type Value = &'static str;
    type Read = Option<&'static str>;

    fn read(&self, name: &str, sent: Option<Value>) -> Result<Option<&'static str>, FieldError> {
        let word = match sent {
            None => return Ok(None),
            Some(Value::String(word)) => word,
            Some(other) => return Err(FieldError::wrong_type(name, "a string", &other)),
        };
        let known = self.words.iter().find(|known| **known == word);
        known.copied().map(Some).ok_or_else(|| match self.words {
            [only] => FieldError::invalid(name, format!("expected '{only}'")),
            [one, other] => FieldError::invalid(name, format!("it must be '{one}' or '{other}'")),
            words => FieldError::invalid(name, format!("expected one of {}", words.join(", "))),
        })
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "enum": self.words})
    }
}

impl Fields {
    /// Reads one of a list of words, for a field that only advises: another word is reported, and counts as absent.
    ///
    /// # Errors
    /// The field is no string.
    pub fn known_word(&mut self, spec: &FieldSpec<OneOf>) -> Result<Option<&'static str>, FieldError> {
        match self.get(spec) {
            Err(FieldError { fault: FieldFault::Invalid { .. }, .. }) => {
                self.report(spec.name);
                Ok(None)
            }
            read => read,
        }
    }
}

/// Objects, whose entries the field's own reader checks.
#[derive(Debug, Clone, Copy)]
pub struct Objects {
    schema: fn() -> Value,
}

/// An object that the field's own reader parses; this JSON Schema describes it.
#[must_use]
pub const fn object(name: &'static str, schema: fn() -> Value) -> FieldSpec<Objects> {
    FieldSpec::new(name, Support::Works, Objects { schema }).example("{}")
}

impl Values for Objects {
    type Value = Map<String, Value>;
    type Read = Option<Map<String, Value>>;

    fn read(&self, name: &str, sent: Option<Value>) -> Result<Option<Map<String, Value>>, FieldError> {
        match sent {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(FieldError::wrong_type(name, "an object", &other)),
        }
    }

    fn schema(&self) -> Value {
        (self.schema)()
    }
}

/// Values of a shape that the field's own reader checks.
#[derive(Debug, Clone, Copy)]
pub struct Shaped {
    schema: fn() -> Value,
}

/// A value that the field's own reader parses; this JSON Schema describes it.
#[must_use]
pub const fn shaped(name: &'static str, schema: fn() -> Value) -> FieldSpec<Shaped> {
    FieldSpec::new(name, Support::Works, Shaped { schema })
}

impl FieldSpec<Shaped> {
    /// The same field, marked as refused: its own reader refuses a value that would change the answer.
    #[must_use]
    pub const fn refused(mut self) -> Self {
        self.support = Support::Refused;
        self
    }
}

impl Values for Shaped {
    type Value = Value;
    type Read = Option<Value>;

    fn read(&self, _name: &str, sent: Option<Value>) -> Result<Option<Value>, FieldError> {
        Ok(sent)
    }

    fn schema(&self) -> Value {
        (self.schema)()
    }
}

/// Any values, none of which has an effect.
#[derive(Debug, Clone, Copy)]
pub struct Unused;

/// A field that may be anything: nothing is done with it, and it is never logged.
#[must_use]
pub const fn unused(name: &'static str) -> FieldSpec<Unused> {
    FieldSpec::new(name, Support::Accepted, Unused)
}

impl Values for Unused {
    type Value = ();
    type Read = ();

    fn read(&self, _name: &str, _sent: Option<Value>) -> Result<(), FieldError> {
        Ok(())
    }

    fn schema(&self) -> Value {
        json!({})
    }
}

/// Values that change nothing; any other is refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    reason: &'static str,
    changes_nothing: fn(&str, &Value) -> Result<bool, FieldError>,
}

/// A field that is refused. The reason continues a sentence that begins with the field's name: `is not supported`.
#[must_use]
pub const fn refused(name: &'static str, reason: &'static str) -> FieldSpec<Refused> {
    FieldSpec::new(name, Support::Refused, Refused { reason, changes_nothing: |_, _| Ok(false) })
}

impl FieldSpec<Refused> {
    /// The same field, accepted if its value changes nothing. The function gets the field's name, for an error about a
    /// value of a wrong type.
    #[must_use]
    pub const fn unless(mut self, changes_nothing: fn(&str, &Value) -> Result<bool, FieldError>) -> Self {
        self.values.changes_nothing = changes_nothing;
        self
    }
}

impl Values for Refused {
    type Value = ();
    type Read = ();

    fn read(&self, name: &str, sent: Option<Value>) -> Result<(), FieldError> {
        match sent {
            Some(value) if !(self.changes_nothing)(name, &value)? => Err(FieldError::unsupported(name, self.reason)),
            Some(_) | None => Ok(()),
        }
    }

    fn schema(&self) -> Value {
        json!({})
    }

    #[cfg(test)]
    fn refusal(&self) -> Option<&'static str> {
        Some(self.reason)
    }
}

/// For [`FieldSpec::unless`]: true for `false`, where `true` would have an effect.
///
/// # Errors
/// The value is no boolean.
pub fn is_off(name: &str, value: &Value) -> Result<bool, FieldError> {
    match value {
        Value::Bool(value) => Ok(!value),
        other => Err(FieldError::wrong_type(name, "a boolean", other)),
    }
}

/// For [`FieldSpec::unless`]: true for an array without elements.
///
/// # Errors
/// Never; the signature is that of all functions for [`FieldSpec::unless`].
pub fn is_empty_array(_name: &str, value: &Value) -> Result<bool, FieldError> {
    Ok(value.as_array().is_some_and(Vec::is_empty))
}

/// A number as people write it: `1` for 1.0.
fn as_written(value: Value) -> Value {
    match value.as_f64() {
        Some(float) if float.fract() == 0.0 && value.is_f64() => json!(float as i64),
        _ => value,
    }
}

#[cfg(test)]
mod tests;
