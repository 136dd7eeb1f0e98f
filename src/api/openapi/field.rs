//! A request field as the documents describe it: the one table from which `/openapi.json` and `docs/API.md` are made, and
//! against which tests hold the readers.

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It does what its specification says.
    Works,
    /// It does what its specification says, and the API that the route follows does not have it.
    Extra,
    /// Accepted, and without effect by its nature: what it asks for makes no difference to the answer.
    Accepted,
    /// Refused by name, because ignoring it would change the answer; values without effect are accepted.
    Refused,
}

/// A field of a request body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// Its key.
    pub(super) name: &'static str,
    /// What becomes of it.
    pub(super) status: Status,
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
        Self { name, status: Status::Works, schema, example, about }
    }

    /// A field of vLLM's or llama-server's that works.
    pub(super) const fn extra(name: &'static str, schema: &'static str, example: &'static str, about: &'static str) -> Self {
        Self { name, status: Status::Extra, schema, example, about }
    }

    /// A field that may say anything.
    pub(super) const fn accepted(name: &'static str, about: &'static str) -> Self {
        Self { name, status: Status::Accepted, schema: "{}", example: "\"x\"", about }
    }

    /// A field that may say this, which makes no difference.
    pub(super) const fn harmless(name: &'static str, schema: &'static str, example: &'static str, about: &'static str) -> Self {
        Self { name, status: Status::Accepted, schema, example, about }
    }

    /// A field that is refused with this value.
    pub(super) const fn refused(name: &'static str, example: &'static str, about: &'static str) -> Self {
        Self { name, status: Status::Refused, schema: "{}", example, about }
    }
}
