//! JSON as Python's `json` module reads and writes it, for the legacy routes.
//!
//! `serde_json` does not suffice here: FastAPI answers malformed JSON with the message and the character position of
//! CPython's scanner (`Modules/_json.c`, 3.11), takes `NaN`, `Infinity` and integers of any size, and echoes the body.
//! The scanner recurses at most [`MAX_DEPTH`] deep. A lone surrogate escape, which Python keeps, becomes U+FFFD.

mod scanner;
mod writer;

pub(super) use scanner::parse;
pub(super) use writer::quoted;

/// The maximum nesting of arrays and objects. Python gives up near 1000.
pub(super) const MAX_DEPTH: usize = 64;
/// The maximum number of digits of an integer: `sys.int_info.default_max_str_digits` of Python.
pub(super) const MAX_INT_DIGITS: usize = 4300;

/// A value as Python holds it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    /// Python's `None`.
    Null,
    /// Python's `bool`.
    Bool(bool),
    /// `int`, of any size, as its decimal digits with an optional `-`; never `-0`.
    Int(Box<str>),
    /// `float`, also one that is not finite.
    Float(f64),
    /// Python's `str`.
    String(String),
    /// Python's `list`.
    Array(Vec<Self>),
    /// `dict`: each key once, at the place where it came first and with the value that came last.
    Object(Vec<(String, Self)>),
}

/// The reason why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JsonError {
    /// Python's `json.JSONDecodeError`.
    Syntax {
        /// Python's message.
        message: &'static str,
        /// The position of the error, characters from 0.
        position: usize,
    },
    /// The text exceeds [`MAX_DEPTH`] or [`MAX_INT_DIGITS`]. Python raises an error on it too (`RecursionError`,
    /// `ValueError`), or would at a greater depth.
    TooBig,
}

#[cfg(test)]
mod tests;
