//! Constraints: rules that a generated text must obey. Compiled to token masks in the engine process, because that
//! needs the vocabulary.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One rule for the whole of an output. A rule that does not compile is refused, never ignored.
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

/// The note on a schema whose objects were closed: they have no other properties than those that it names.
pub const OBJECTS_ARE_CLOSED: &str =
    "objects have no other properties than those that the schema names, where it says nothing about additionalProperties";

impl Constraint {
    /// The size of all texts in the constraint, bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::JsonObject => 0,
            Self::JsonSchema(text) | Self::Regex(text) | Self::Grammar(text) => text.len(),
            Self::Choice(texts) => texts.iter().map(String::len).sum(),
        }
    }
}

/// Longest grammar that an engine takes, bytes.
pub const MAX_GRAMMAR_BYTES: usize = 64 << 10;
/// Deepest nesting of brackets in regular expressions and grammars that an engine takes: their parsers recurse.
pub const MAX_GRAMMAR_DEPTH: usize = 100;

/// The nesting of brackets that no backslash escapes. Brackets in quotes and classes count too, which matters only for
/// texts that have a hundred more opening than closing brackets.
#[must_use]
pub fn bracket_depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut escaped) = (0_usize, 0, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// A regular expression without anchors at its very ends. The whole text must match, so they change nothing.
#[must_use]
pub fn without_outer_anchors(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    match pattern.strip_suffix('$') {
        Some(rest) if rest.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0 => rest,
        _ => pattern,
    }
}

/// The reason why a constraint cannot be used, for its author. Its `Display` is the sentence that a client reads: the
/// place and the message are put together there and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstraintError {
    /// The group of reasons that this one belongs to.
    pub kind: ConstraintErrorKind,
    /// The part of the constraint that is at fault; `None` if the whole constraint is, or no part can be named.
    pub at: Option<ConstraintPlace>,
    /// The fault, without its place.
    pub message: String,
    form: MessageForm,
}

/// The groups of reasons that a client may want to tell apart. After all but `Busy` the same constraint will be refused
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConstraintErrorKind {
    /// The constraint is malformed, or it asks for something that is not supported. llguidance does not tell these two
    /// apart.
    Invalid,
    /// The constraint exceeds a limit of size, of nesting or of number.
    TooLarge,
    /// The constraint takes more work, memory or CPU time than one constraint may take.
    TooCostly,
    /// No text can fulfil the constraint, or no text that the model's tokens can write, or a text breaks it.
    Impossible,
    /// No constraint can be used with the vocabulary of this model.
    Vocabulary,
    /// The server could not find out for now; the constraint may well be sound.
    Busy,
}

/// A part of a constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConstraintPlace {
    /// The whole schema.
    Schema,
    /// A part of the schema, as a JSON pointer: `#/properties/a`.
    InSchema(String),
    /// The whole regular expression.
    Regex,
    /// The whole list of texts.
    Choice,
    /// One text of the list.
    ChoiceText,
    /// The whole grammar.
    Grammar,
    /// A line of the grammar, counted from 1.
    GrammarLine(usize),
}

/// The form of the sentence that a message and its place make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum MessageForm {
    /// The place is the subject: "#/maxLength must be an integer".
    Predicate,
    /// The message is a sentence of its own and follows the place: "#/const: 1e300 is too large".
    Sentence,
    /// The message is a sentence of its own and comes before the place: "the keyword 'not' is not supported (#/not)".
    SentenceFirst,
}

impl ConstraintError {
    /// An error without a place.
    pub fn new(kind: ConstraintErrorKind, message: impl Into<String>) -> Self {
        Self { kind, at: None, message: message.into(), form: MessageForm::Sentence }
    }

    /// True if the same constraint would be refused again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.kind != ConstraintErrorKind::Busy
    }
}

impl ConstraintPlace {
    /// An error whose sentence has this place as its subject, with a message such as `must be an integer`.
    pub fn predicate(self, kind: ConstraintErrorKind, message: impl Into<String>) -> ConstraintError {
        ConstraintError { kind, at: Some(self), message: message.into(), form: MessageForm::Predicate }
    }

    /// An error whose message is a sentence of its own, written after this place.
    pub fn sentence(self, kind: ConstraintErrorKind, message: impl Into<String>) -> ConstraintError {
        ConstraintError { form: MessageForm::Sentence, ..self.predicate(kind, message) }
    }

    /// An error whose message is a sentence of its own, written before this place.
    pub fn sentence_first(self, kind: ConstraintErrorKind, message: impl Into<String>) -> ConstraintError {
        ConstraintError { form: MessageForm::SentenceFirst, ..self.predicate(kind, message) }
    }
}

impl fmt::Display for ConstraintPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema => f.write_str("the schema"),
            Self::InSchema(pointer) => f.write_str(pointer),
            Self::Regex => f.write_str("the regular expression"),
            Self::Choice => f.write_str("the choice"),
            Self::ChoiceText => f.write_str("a text of the choice"),
            Self::Grammar => f.write_str("the grammar"),
            Self::GrammarLine(line) => write!(f, "line {line} of the grammar"),
        }
    }
}

impl fmt::Display for ConstraintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.message;
        match (&self.at, self.form) {
            (None, _) => f.write_str(message),
            (Some(place), MessageForm::Predicate) => write!(f, "{place} {message}"),
            (Some(place), MessageForm::Sentence) => write!(f, "{place}: {message}"),
            (Some(place), MessageForm::SentenceFirst) => write!(f, "{message} ({place})"),
        }
    }
}

impl std::error::Error for ConstraintError {}

#[cfg(test)]
mod tests {
    use super::{ConstraintErrorKind::Invalid, *};

    #[test]
    fn a_place_and_a_message_make_one_sentence_in_each_form() {
        let pointer = || ConstraintPlace::InSchema("#/a".to_owned());
        for (error, text) in [
            (ConstraintError::new(Invalid, "the compiler failed on it"), "the compiler failed on it"),
            (ConstraintPlace::Grammar.predicate(Invalid, "has no rule 'root'"), "the grammar has no rule 'root'"),
            (pointer().predicate(Invalid, "is no schema"), "#/a is no schema"),
            (pointer().sentence(Invalid, "1e300 is too large"), "#/a: 1e300 is too large"),
            (ConstraintPlace::GrammarLine(2).sentence(Invalid, "expected ')'"), "line 2 of the grammar: expected ')'"),
            (pointer().sentence_first(Invalid, "the keyword 'a' is not supported"), "the keyword 'a' is not supported (#/a)"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn only_a_server_that_is_busy_may_accept_a_constraint_later() {
        assert!(ConstraintError::new(Invalid, "").is_final());
        assert!(!ConstraintError::new(ConstraintErrorKind::Busy, "").is_final());
    }
}
