//! Limits of the size of a constraint, and of the work that it may cause. Sizes are checked before anything is parsed.

use crate::protocol::{
    Constraint, ConstraintError,
    ConstraintErrorKind::{Invalid, TooLarge},
    ConstraintPlace, MAX_GRAMMAR_BYTES, MAX_GRAMMAR_DEPTH, bracket_depth,
};
use llguidance::api::ParserLimits;
use regex_syntax::ast::ErrorKind;

/// Longest JSON schema, bytes: the schemas of some hundred tools together.
const MAX_SCHEMA_BYTES: usize = 256 << 10;
/// Longest regular expression, bytes; also a schema's `pattern`.
const MAX_REGEX_BYTES: usize = 8 << 10;
/// Largest number of texts in a choice.
const MAX_CHOICES: usize = 1_000;
/// Longest text in a choice, bytes.
const MAX_CHOICE_BYTES: usize = 4 << 10;

/// Sets the bounds of llguidance's work. The numbers are its defaults where no comment gives another reason.
pub(super) fn apply(limits: &mut ParserLimits) {
    limits.max_items_in_row = 2_000;
    limits.initial_lexer_fuel = 1_000_000; // About 20 ms.
    limits.step_lexer_fuel = 200_000; // About 15 ms.
    limits.step_max_items = 25_000; // Not 50,000: each takes up to 3 µs where rules are long, so some 50 ms.
    limits.max_grammar_size = 200_000; // Not 500,000: our schemas have at most 256 KiB.
    limits.max_lexer_states = 50_000; // Not 250,000: each takes 1–2 kB, for each sequence.
    limits.precompute_large_lexemes = true;
    limits.verbose_errors = false; // They contain the text generated so far.
}

/// Checks that a constraint is small enough to be parsed.
///
/// # Errors
/// The constraint exceeds a limit; the error names it.
pub(super) fn check(constraint: &Constraint) -> Result<(), ConstraintError> {
    match constraint {
        Constraint::JsonObject => Ok(()),
        Constraint::JsonSchema(text) => at_most(&ConstraintPlace::Schema, text, MAX_SCHEMA_BYTES),
        Constraint::Regex(text) => regex(&ConstraintPlace::Regex, text),
        Constraint::Choice(texts) => choice(texts),
        Constraint::Grammar(text) => {
            at_most(&ConstraintPlace::Grammar, text, MAX_GRAMMAR_BYTES)?;
            nesting(&ConstraintPlace::Grammar, text)
        }
    }
}

/// Checks a regular expression, wherever it is in a constraint.
///
/// # Errors
/// The expression exceeds a limit, which the error names, or it is cut off.
pub(super) fn regex(at: &ConstraintPlace, text: &str) -> Result<(), ConstraintError> {
    at_most(at, text, MAX_REGEX_BYTES)?;
    // llguidance drops such a backslash.
    if text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1 {
        return Err(at.clone().predicate(Invalid, "ends with a backslash that escapes nothing"));
    }
    nesting(at, text)
}

/// The reason why a regular expression cannot be used although others would read it: look-around or back-references.
pub(super) fn unsupported_in_regex(text: &str) -> Option<String> {
    match regex_syntax::Parser::new().parse(text) {
        Err(regex_syntax::Error::Parse(error)) => match error.kind() {
            kind @ (ErrorKind::UnsupportedLookAround | ErrorKind::UnsupportedBackreference) => Some(kind.to_string()),
            _ => None,
        },
        Ok(_) | Err(_) => None,
    }
}

fn choice(texts: &[String]) -> Result<(), ConstraintError> {
    if texts.is_empty() {
        return Err(ConstraintPlace::Choice.predicate(Invalid, "is empty; at least one text is needed"));
    }
    if texts.len() > MAX_CHOICES {
        let message = format!("has {} texts; at most {MAX_CHOICES} are accepted", texts.len());
        return Err(ConstraintPlace::Choice.predicate(TooLarge, message));
    }
    texts.iter().try_for_each(|text| at_most(&ConstraintPlace::ChoiceText, text, MAX_CHOICE_BYTES))
}

fn at_most(at: &ConstraintPlace, text: &str, max: usize) -> Result<(), ConstraintError> {
    if text.len() <= max {
        return Ok(());
    }
    Err(at.clone().predicate(TooLarge, format!("has {} bytes; at most {max} are accepted", text.len())))
}

/// Checks the nesting of brackets.
fn nesting(at: &ConstraintPlace, text: &str) -> Result<(), ConstraintError> {
    if bracket_depth(text) <= MAX_GRAMMAR_DEPTH {
        return Ok(());
    }
    Err(at.clone().predicate(TooLarge, format!("is nested more than {MAX_GRAMMAR_DEPTH} deep")))
}
