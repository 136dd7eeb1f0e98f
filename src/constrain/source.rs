//! A constraint as llguidance's own input: a JSON schema with our options, or a grammar in Lark's notation.

use super::{gbnf, json_style::with_options, lark, literal::quoted, schema};
use crate::protocol::{Constraint, ConstraintError, ConstraintErrorKind::Invalid, ConstraintPlace};
use llguidance::api::TopLevelGrammar;
use serde_json::json;

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

/// The grammar of a regular expression. The whole text must match, so anchors at its very ends change nothing;
/// llguidance refuses them anywhere else.
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
