//! A request field as the documents describe it: the one table from which `/openapi.json` and `docs/API.md` are made, and
//! against which tests hold the readers.

use crate::api::fields::{
    FieldError, Fields,
    spec::{AnySpec, Support},
};
use serde_json::Value;

/// A field of a request body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// Its key.
    pub(super) name: &'static str,
    /// What becomes of it.
    pub(super) status: Support,
    /// What it may be: a JSON Schema as JSON text. `null` always equals absence and is not repeated in it.
    pub(super) schema: &'static str,
    /// A valid value that shows its effect, or for a refused field one that is refused; JSON text.
    pub(super) example: &'static str,
    /// One sentence.
    pub(super) about: &'static str,
}

impl Field {
    /// A field that works as OpenAI specifies it.
    pub(super) const fn works(name: &'static str, schema: &'static str, example: &'static str, about: &'static str) -> Self {
        Self { name, status: Support::Works, schema, example, about }
    }

    /// A field of vLLM's or llama-server's that works.
    pub(super) const fn extra(name: &'static str, schema: &'static str, example: &'static str, about: &'static str) -> Self {
        Self { name, status: Support::Extra, schema, example, about }
    }

    /// A field that may say anything.
    pub(super) const fn accepted(name: &'static str, about: &'static str) -> Self {
        Self { name, status: Support::Accepted, schema: "{}", example: "\"x\"", about }
    }

    /// A field that may say this, which makes no difference.
    pub(super) const fn harmless(name: &'static str, schema: &'static str, example: &'static str, about: &'static str) -> Self {
        Self { name, status: Support::Accepted, schema, example, about }
    }

    /// A field that is refused with this value.
    pub(super) const fn refused(name: &'static str, example: &'static str, about: &'static str) -> Self {
        Self { name, status: Support::Refused, schema: "{}", example, about }
    }
}

impl AnySpec for Field {
    fn name(&self) -> &'static str {
        self.name
    }

    fn support(&self) -> Support {
        self.status
    }

    fn example(&self) -> &'static str {
        self.example
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn schema(&self) -> Value {
        serde_json::from_str(self.schema).expect("a test parses every text of the tables")
    }

    #[cfg(test)]
    fn refusal(&self) -> Option<&'static str> {
        None
    }

    fn check(&self, fields: &mut Fields) -> Result<(), FieldError> {
        fields.take(self.name);
        Ok(())
    }
}
