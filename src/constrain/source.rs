//! A constraint as llguidance's own input: a JSON schema with our options, or a grammar in Lark's notation.

use super::{
    ascii, gbnf,
    json_style::with_options,
    lark,
    literal::quoted,
    schema::{self, Loosen, Notes, Prepared},
};
use crate::protocol::{Constraint, ConstraintError, ConstraintErrorKind::Invalid, ConstraintPlace, without_outer_anchors};
use llguidance::api::TopLevelGrammar;
use serde_json::json;

/// A constraint that can be compiled.
pub(super) struct CompilerInput {
    /// The constraint for llguidance.
    pub(super) grammar: TopLevelGrammar,
    /// The parts of a schema that texts will not be held to.
    pub(super) notes: Notes,
    /// The first `oneOf` whose alternatives are not known to exclude each other.
    pub(super) overlapping: Option<ConstraintPlace>,
}

/// The input of llguidance for a constraint.
///
/// # Errors
/// The constraint cannot be used.
pub(super) fn read(constraint: &Constraint) -> Result<CompilerInput, ConstraintError> {
    let plain = |grammar| CompilerInput { grammar, notes: Notes::default(), overlapping: None };
    match constraint {
        Constraint::JsonObject => Ok(plain(TopLevelGrammar::from_json_schema(with_options(json!({"type": "object"}))))),
        Constraint::JsonSchema(text) => {
            let Prepared { schema, notes, overlapping } = schema::prepare(text)?;
            Ok(CompilerInput { grammar: TopLevelGrammar::from_json_schema(with_options(schema)), notes, overlapping })
        }
        Constraint::Regex(text) => regex(text).map(plain),
        Constraint::Choice(texts) => Ok(plain(TopLevelGrammar::from_lark(choice(texts)))),
        Constraint::Grammar(text) if gbnf::is_gbnf(text) => gbnf::to_lark(text).map(TopLevelGrammar::from_lark).map(plain),
        Constraint::Grammar(text) => {
            let (text, notes) = lark::prepare(text)?;
            Ok(CompilerInput { grammar: TopLevelGrammar::from_lark(text), notes, overlapping: None })
        }
    }
}

/// The same constraint without these loose parts of its schema, and a note of the error that is the reason; `None` if
/// it has no such parts.
pub(super) fn loosened(constraint: &Constraint, error: &ConstraintError, which: Loosen) -> Option<(Constraint, Notes)> {
    let Constraint::JsonSchema(text) = constraint else { return None };
    let (text, notes) = schema::without_loose_parts(text, error, which)?;
    Some((Constraint::JsonSchema(text), notes))
}

/// The grammar of a regular expression. The whole text must match, so anchors at its very ends change nothing;
/// llguidance refuses them anywhere else.
fn regex(text: &str) -> Result<TopLevelGrammar, ConstraintError> {
    let text = without_outer_anchors(text);
    if text.is_empty() {
        return Err(ConstraintPlace::Regex.predicate(Invalid, "is empty"));
    }
    Ok(TopLevelGrammar::from_regex(&ascii::shorthands(text)))
}

fn choice(texts: &[String]) -> String {
    let alternatives: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("start: CHOICE\nCHOICE: {}\n", alternatives.join(" | "))
}
