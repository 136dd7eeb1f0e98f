//! The error that refuses a field of a request, or its body as a whole: the path of the field, and the kind of fault.
//!
//! Owns the sentences. They spell places as OpenAI does unless the caller asks for another style. They are written
//! once, where an answer is made, and not edited afterwards.

use super::type_name;
use crate::{
    chat::messages::MessageError,
    field_path::{FieldPath, PathStyle},
};
use serde_json::Value;
use std::fmt;

/// A field that cannot be accepted. Always the client's fault: 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field; empty for the body as a whole.
    pub path: FieldPath,
    /// The rule that the field breaks.
    pub fault: FieldFault,
}

/// The rule that a field breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldFault {
    /// The body as a whole is no JSON object.
    Body {
        /// The fault of the body; without a full stop.
        reason: String,
    },
    /// A required field is absent or null.
    Missing,
    /// The value has the wrong JSON type.
    WrongType {
        /// The accepted type, with its article.
        expected: &'static str,
        /// The type that was sent, with its article.
        found: &'static str,
    },
    /// A number outside its range.
    OutOfRange {
        /// Lowest accepted value.
        min: String,
        /// Highest accepted value.
        max: String,
        /// The value that was sent.
        found: String,
    },
    /// Any other rule.
    Invalid {
        /// The rule and the value that was sent; without a full stop.
        reason: String,
    },
    /// A field of the API that this server does not implement: refused, because ignoring it would change the result.
    Unsupported {
        /// The unsupported and the supported values; without a full stop.
        reason: &'static str,
    },
}

impl FieldError {
    /// The body cannot be read.
    #[must_use]
    pub fn body(reason: impl Into<String>) -> Self {
        Self { path: FieldPath::default(), fault: FieldFault::Body { reason: reason.into() } }
    }

    /// A required field is absent or null.
    #[must_use]
    pub fn missing(path: impl Into<FieldPath>) -> Self {
        Self { path: path.into(), fault: FieldFault::Missing }
    }

    /// A value of the wrong type.
    #[must_use]
    pub fn wrong_type(path: impl Into<FieldPath>, expected: &'static str, found: &Value) -> Self {
        Self { path: path.into(), fault: FieldFault::WrongType { expected, found: type_name(found) } }
    }

    /// A rule that is neither type nor range.
    #[must_use]
    pub fn invalid(path: impl Into<FieldPath>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), fault: FieldFault::Invalid { reason: reason.into() } }
    }

    /// A field that is refused because ignoring it would change the result.
    #[must_use]
    pub fn unsupported(path: impl Into<FieldPath>, reason: &'static str) -> Self {
        Self { path: path.into(), fault: FieldFault::Unsupported { reason } }
    }

    /// The field at fault, in OpenAI's spelling; `None` for the body as a whole.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        (!self.path.is_empty()).then(|| self.path.as_str())
    }

    /// The same fault of a field inside `outer`: its path begins with that of `outer`.
    #[must_use]
    pub fn inside(mut self, outer: impl Into<FieldPath>) -> Self {
        if !matches!(self.fault, FieldFault::Body { .. }) {
            self.path = outer.into().join(&self.path);
        }
        self
    }

    /// The same fault at another path, for a reader that serves several fields.
    #[must_use]
    pub fn at(mut self, path: impl Into<FieldPath>) -> Self {
        self.path = path.into();
        self
    }

    /// OpenAI's error code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.fault {
            FieldFault::Body { .. } => "invalid_json",
            FieldFault::Missing => "missing_required_parameter",
            FieldFault::WrongType { .. } => "invalid_type",
            FieldFault::OutOfRange { .. } | FieldFault::Invalid { .. } => "invalid_value",
            FieldFault::Unsupported { .. } => "unsupported_parameter",
        }
    }

    /// The sentence for the client, with the place in this style.
    #[must_use]
    pub fn sentence(&self, style: PathStyle) -> String {
        let param = self.path.spelled(style);
        match &self.fault {
            FieldFault::Body { reason } => format!("We could not parse the JSON body of your request: {reason}."),
            FieldFault::Missing => format!("Missing required parameter: '{param}'."),
            FieldFault::WrongType { expected, found } => {
                format!("Invalid type for '{param}': expected {expected}, but got {found} instead.")
            }
            FieldFault::OutOfRange { min, max, found } => {
                format!("Invalid '{param}': expected a value from {min} to {max}, but got {found} instead.")
            }
            FieldFault::Invalid { reason } => format!("Invalid '{param}': {reason}."),
            FieldFault::Unsupported { reason } => format!("Unsupported parameter: '{param}' {reason}."),
        }
    }
}

/// The sentence with paths in OpenAI's spelling.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(PathStyle::Brackets))
    }
}

impl std::error::Error for FieldError {}

impl From<MessageError> for FieldError {
    fn from(error: MessageError) -> Self {
        Self::invalid(error.path, error.reason)
    }
}
