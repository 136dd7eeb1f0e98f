//! Why a field of a request, or its body as a whole, is refused: the place of the fault, and its kind.
//!
//! Owns the sentences. They are written in OpenAI's spelling of places unless another is asked for, once, where an answer is
//! made; nobody edits them afterwards.

use super::type_name;
use crate::{
    chat::messages::MessageError,
    field_path::{FieldPath, Spelling},
};
use serde_json::Value;
use std::fmt;

/// A field that cannot be accepted. Always the client's fault: 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field; empty for the body as a whole.
    pub path: FieldPath,
    /// The rule that it breaks.
    pub fault: Fault,
}

/// The rule that a field breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The body is no JSON object.
    Body {
        /// What is wrong with it.
        reason: String,
    },
    /// A required field is absent or null.
    Missing,
    /// The value has the wrong JSON type.
    WrongType {
        /// What is accepted, with its article.
        expected: &'static str,
        /// What came, with its article.
        found: &'static str,
    },
    /// A number outside its range.
    OutOfRange {
        /// Lowest accepted value.
        min: String,
        /// Highest accepted value.
        max: String,
        /// What came.
        found: String,
    },
    /// Any other rule.
    Invalid {
        /// The rule, and what came; without a full stop.
        reason: String,
    },
    /// A field of the API that this server does not implement: refused, because ignoring it would change the result.
    Unsupported {
        /// What is not supported, and what is; without a full stop.
        reason: &'static str,
    },
}

impl FieldError {
    /// The body cannot be read.
    #[must_use]
    pub fn body(reason: impl Into<String>) -> Self {
        Self { path: FieldPath::default(), fault: Fault::Body { reason: reason.into() } }
    }

    /// A required field is absent or null.
    #[must_use]
    pub fn missing(path: impl Into<FieldPath>) -> Self {
        Self { path: path.into(), fault: Fault::Missing }
    }

    /// A value of the wrong type.
    #[must_use]
    pub fn wrong_type(path: impl Into<FieldPath>, expected: &'static str, found: &Value) -> Self {
        Self { path: path.into(), fault: Fault::WrongType { expected, found: type_name(found) } }
    }

    /// A rule that is neither type nor range.
    #[must_use]
    pub fn invalid(path: impl Into<FieldPath>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), fault: Fault::Invalid { reason: reason.into() } }
    }

    /// A field that is refused because ignoring it would change the result.
    #[must_use]
    pub fn unsupported(path: impl Into<FieldPath>, reason: &'static str) -> Self {
        Self { path: path.into(), fault: Fault::Unsupported { reason } }
    }

    /// The field at fault, in OpenAI's spelling; `None` for the body as a whole.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        (!self.path.is_empty()).then(|| self.path.as_str())
    }

    /// The same fault of a field inside another: its name with the path to it.
    #[must_use]
    pub fn inside(mut self, outer: impl Into<FieldPath>) -> Self {
        if !matches!(self.fault, Fault::Body { .. }) {
            self.path = outer.into().join(&self.path);
        }
        self
    }

    /// The same fault of another field, for a reader that serves several.
    #[must_use]
    pub fn at(mut self, path: impl Into<FieldPath>) -> Self {
        self.path = path.into();
        self
    }

    /// OpenAI's error code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.fault {
            Fault::Body { .. } => "invalid_json",
            Fault::Missing => "missing_required_parameter",
            Fault::WrongType { .. } => "invalid_type",
            Fault::OutOfRange { .. } | Fault::Invalid { .. } => "invalid_value",
            Fault::Unsupported { .. } => "unsupported_parameter",
        }
    }

    /// The sentence for the client, with the place as `spelling` has it.
    #[must_use]
    pub fn sentence(&self, spelling: Spelling) -> String {
        let param = self.path.spelled(spelling);
        match &self.fault {
            Fault::Body { reason } => format!("We could not parse the JSON body of your request: {reason}."),
            Fault::Missing => format!("Missing required parameter: '{param}'."),
            Fault::WrongType { expected, found } => format!("Invalid type for '{param}': expected {expected}, but got {found} instead."),
            Fault::OutOfRange { min, max, found } => {
                format!("Invalid '{param}': expected a value from {min} to {max}, but got {found} instead.")
            }
            Fault::Invalid { reason } => format!("Invalid '{param}': {reason}."),
            Fault::Unsupported { reason } => format!("Unsupported parameter: '{param}' {reason}."),
        }
    }
}

/// In OpenAI's spelling.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(Spelling::Brackets))
    }
}

impl std::error::Error for FieldError {}

impl From<MessageError> for FieldError {
    fn from(error: MessageError) -> Self {
        Self::invalid(error.path, error.reason)
    }
}
