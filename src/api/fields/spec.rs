//! Specs of request fields: a field's name, the values that it may have, its default and its description, each stated
//! once.
//!
//! A reader reads a field by its spec (`fields.get(&TOP_P)?`), and `/openapi.json` and `docs/API.md` are made from the
//! same constants. Each spec stands beside the reader that uses it; this file contains no field of any route.

use super::{FieldError, Fields};
use serde_json::Value;
use std::fmt::Debug;

/// The effect of a field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// The field has the effect that its specification describes.
    Works,
    /// The field has the effect that its specification describes; the API that the route follows does not have it.
    Extra,
    /// The field is accepted and without effect by its nature: it cannot change the answer.
    Accepted,
    /// The field is refused by name, because ignoring it would change the answer; values without effect are accepted.
    Refused,
}

/// A field of a request body.
#[derive(Debug, Clone, Copy)]
pub struct FieldSpec<V> {
    /// The field's key.
    pub name: &'static str,
    /// The effect of the field.
    pub support: Support,
    /// An example, as JSON text: a valid value that shows the effect, or for a refused field a value that is refused.
    pub example: &'static str,
    /// A description of one sentence.
    pub about: &'static str,
    /// The values that the field may have.
    pub values: V,
}

/// The values that a field may have. `null` always equals absence and is none of them.
pub trait Values: Debug + Copy + Sync {
    /// The type of a value that was read.
    type Value;
    /// The result of a read: a value, or an option of one if the field has no default.
    type Read;

    /// Reads the value that was sent, if one was; `name` stands in the error.
    ///
    /// # Errors
    /// The value that was sent is none of these values.
    fn read(&self, name: &str, sent: Option<Value>) -> Result<Self::Read, FieldError>;

    /// The same values as a JSON Schema.
    fn schema(&self) -> Value;

    /// The reason given when a value that would change the answer is refused.
    #[cfg(test)]
    fn refusal(&self) -> Option<&'static str> {
        None
    }
}

/// A spec without its type of values, so that one list can hold all specs of a route.
pub trait AnySpec: Debug + Sync {
    /// The field's key.
    fn name(&self) -> &'static str;
    /// The effect of the field.
    fn support(&self) -> Support;
    /// [`FieldSpec::example`].
    fn example(&self) -> &'static str;
    /// A description of one sentence.
    fn about(&self) -> &'static str;
    /// [`Values::schema`].
    fn schema(&self) -> Value;
    /// [`Values::refusal`].
    #[cfg(test)]
    fn refusal(&self) -> Option<&'static str>;
    /// Reads the field for its errors alone.
    ///
    /// # Errors
    /// The field's value is not allowed.
    fn check(&self, fields: &mut Fields) -> Result<(), FieldError>;
}

/// The specs of a route, or of a group of fields that several routes read with the same code.
pub type Specs = &'static [&'static dyn AnySpec];

impl Fields {
    /// Reads a field.
    ///
    /// # Errors
    /// The field's value is not one that the spec allows.
    pub fn get<V: Values>(&mut self, spec: &FieldSpec<V>) -> Result<V::Read, FieldError> {
        let sent = self.take(spec.name);
        spec.values.read(spec.name, sent)
    }

    /// Reads a field that must be there.
    ///
    /// # Errors
    /// The field is absent, or its value is not one that the spec allows.
    pub fn require<V, T>(&mut self, spec: &FieldSpec<V>) -> Result<T, FieldError>
    where
        V: Values<Read = Option<T>>,
    {
        self.get(spec)?.ok_or_else(|| FieldError::missing(spec.name))
    }

    /// Reads fields that are refused or have no effect, for their errors alone.
    ///
    /// # Errors
    /// The first field whose value is not allowed.
    pub fn check(&mut self, specs: Specs) -> Result<(), FieldError> {
        specs.iter().try_for_each(|spec| spec.check(self))
    }
}

impl<V: Values> AnySpec for FieldSpec<V> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn support(&self) -> Support {
        self.support
    }

    fn example(&self) -> &'static str {
        self.example
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn schema(&self) -> Value {
        self.values.schema()
    }

    #[cfg(test)]
    fn refusal(&self) -> Option<&'static str> {
        self.values.refusal()
    }

    fn check(&self, fields: &mut Fields) -> Result<(), FieldError> {
        fields.get(self).map(|_| ())
    }
}

impl<V> FieldSpec<V> {
    /// A field without a description yet.
    pub(super) const fn new(name: &'static str, support: Support, values: V) -> Self {
        Self { name, support, example: "\"x\"", about: "", values }
    }

    /// The same field with an example, JSON text.
    #[must_use]
    pub const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// The same field with a description, one sentence.
    #[must_use]
    pub const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// The same field, marked as one that the API of the route has.
    #[must_use]
    pub const fn works(mut self) -> Self {
        self.support = Support::Works;
        self
    }

    /// The same field, marked as one that the API of the route does not have.
    #[must_use]
    pub const fn extra(mut self) -> Self {
        self.support = Support::Extra;
        self
    }

    /// The same field, marked as one without effect by its nature.
    #[must_use]
    pub const fn accepted(mut self) -> Self {
        self.support = Support::Accepted;
        self
    }
}
