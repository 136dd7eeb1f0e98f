//! Turns llguidance's errors into errors of a constraint, in words for its author.

use crate::protocol::{
    ConstraintError,
    ConstraintErrorKind::{Invalid, TooCostly},
};

/// Longest message about a constraint, characters.
const MAX_MESSAGE: usize = 600;

/// The fault of a `oneOf` that cannot be compiled.
const OVERLAPPING: &str = "the alternatives of a 'oneOf' must exclude each other by their types or by a required property with different \
     'const' values; otherwise use 'anyOf'";

/// True if a `oneOf` is at fault.
pub(super) fn is_about_one_of(error: &ConstraintError) -> bool {
    error.message == OVERLAPPING
}

/// The error for a message of llguidance, without the parts that are for its developers.
pub(super) fn readable(message: &str) -> ConstraintError {
    let message = message.split("\n<").next().unwrap_or_default().trim();
    if message.contains("oneOf constraints are not supported") {
        return ConstraintError::new(Invalid, OVERLAPPING);
    }
    if let Some(reason) = ["parser error: ", "lexer error: "].iter().find_map(|kind| strip_prefix_of_any_case(message, kind)) {
        return ConstraintError::new(TooCostly, format!("it takes more work for a token than is allowed ({reason})"));
    }
    let message = match message.strip_prefix("panic: ") {
        Some(reason) => format!("the compiler failed on it ({reason})"),
        None => message.to_owned(),
    };
    let message = match message.char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message,
    };
    ConstraintError::new(Invalid, message)
}

fn strip_prefix_of_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}
