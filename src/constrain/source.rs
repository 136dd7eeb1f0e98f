//! A constraint as llguidance's own input: a JSON schema with our options, or a grammar in Lark's notation.

use super::{gbnf, lark, schema};
use crate::protocol::{Constraint, ConstraintError, ConstraintErrorKind::Invalid, ConstraintPlace};
use llguidance::api::TopLevelGrammar;
use serde_json::{Value, json};
use std::fmt::Write;

/// Between two parts of JSON: nothing, a space, or a new line with its indentation (llama.cpp's rule). Bounded, because
/// small models that do not know how to go on would otherwise emit white space for ever.
const WHITESPACE: &str = r" |\n[ \t]{0,20}";
/// Escapes in JSON strings: all but `\uXXXX`, so that a property has one spelling and a free name cannot repeat it.
const ESCAPES: &str = r#"nrbtf\""#;
/// The same with `\uXXXX`, for schemas with texts that nothing else can spell (`schema/controls.rs`). In the values of
/// properties it stands for control characters, in free names for any character.
const ESCAPES_OF_CONTROLS: &str = r#"nrbtf\"u"#;

/// The grammar that llguidance compiles for a constraint.
///
/// # Errors
/// The constraint cannot be used.
pub(super) fn grammar(constraint: &Constraint) -> Result<TopLevelGrammar, ConstraintError> {
    match constraint {
        Constraint::JsonObject => Ok(TopLevelGrammar::from_json_schema(with_options(json!({"type": "object"})))),
        Constraint::JsonSchema(text) => schema::prepare(text).map(with_options).map(TopLevelGrammar::from_json_schema),
        Constraint::Regex(text) => regex(text),
        Constraint::Choice(texts) => Ok(TopLevelGrammar::from_lark(choice(texts))),
        Constraint::Grammar(text) if gbnf::is_gbnf(text) => gbnf::to_lark(text).map(TopLevelGrammar::from_lark),
        Constraint::Grammar(text) => lark::prepare(text).map(TopLevelGrammar::from_lark),
    }
}

/// A prepared schema with how JSON is to be written.
pub(super) fn with_options(mut schema: Value) -> Value {
    let escapes = if schema::need_unicode_escapes(&schema) { ESCAPES_OF_CONTROLS } else { ESCAPES };
    schema["x-guidance"] = json!({"whitespace_pattern": WHITESPACE, "json_allowed_escapes": escapes});
    schema
}

/// The whole text matches, so that anchors at the very ends change nothing; anywhere else llguidance refuses them.
fn regex(text: &str) -> Result<TopLevelGrammar, ConstraintError> {
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = match text.strip_suffix('$') {
        Some(rest) if rest.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0 => rest,
        _ => text,
    };
    if text.is_empty() {
        return Err(ConstraintPlace::Regex.predicate(Invalid, "is empty"));
    }
    Ok(TopLevelGrammar::from_regex(text))
}

fn choice(texts: &[String]) -> String {
    let alternatives: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("start: CHOICE\nCHOICE: {}\n", alternatives.join(" | "))
}

/// A text as Lark's string literal.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Writing to a string cannot fail.
            '\0'..' ' | '\x7f' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
