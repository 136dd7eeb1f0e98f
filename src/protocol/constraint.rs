//! What a generated text must obey. Compiled to token masks in the engine process, because that needs the vocabulary.

use serde::{Deserialize, Serialize};

/// One rule for the whole of an output. Fails closed: what does not compile is refused, never ignored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// JSON that this schema (itself JSON text) accepts.
    JsonSchema(String),
    /// A match of this regular expression, from the first to the last character.
    Regex(String),
    /// One of these texts; not empty.
    Choice(Vec<String>),
    /// A grammar in Lark's notation as llguidance reads it, or in llama.cpp's GBNF.
    Grammar(String),
}

impl Constraint {
    /// Bytes of all texts in it.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::JsonObject => 0,
            Self::JsonSchema(text) | Self::Regex(text) | Self::Grammar(text) => text.len(),
            Self::Choice(texts) => texts.iter().map(String::len).sum(),
        }
    }
}

/// The reason why a constraint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ConstraintError {
    /// It is at fault, and would be refused again; what is wrong with it, for those who wrote it.
    #[error("{0}")]
    Refused(String),
    /// Nobody could find out for now; what was in the way. It may well be sound.
    #[error("{0}")]
    Busy(String),
}
