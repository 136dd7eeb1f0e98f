//! Patterns with classes that have every control character but lack `"` or `\`, such as `[^"]`. In JSON llguidance
//! (derivre 0.3.13, `json_quote`) writes all control characters of such a class by any escape, `\"` and `\\` among
//! them, so that texts would have what the pattern excludes. A class that lacks one control character is written right.

use super::{DATA, NAMED, controls::is_unspellable};
use regex_syntax::{
    ast::{self, Ast, Span, Visitor},
    hir::{Class, Hir, HirKind, translate::Translator},
};
use serde_json::{Map, Value};
use std::convert::Infallible;

/// All control characters of JSON strings, as bits.
const ALL: u32 = u32::MAX;

/// Rewrites such patterns in a schema and those within it. They then exclude one control character besides.
pub(super) fn exclude(schema: &mut Value) {
    visit(schema, false);
}

/// `are_names`: the value is an object of schemas, and its names are no keywords.
fn visit(value: &mut Value, are_names: bool) {
    match value {
        Value::Object(schemas) if are_names => schemas.values_mut().for_each(|schema| visit(schema, false)),
        Value::Object(schema) => {
            for (keyword, value) in schema.iter_mut().filter(|(keyword, _)| !DATA.contains(&keyword.as_str())) {
                match (keyword.as_str(), value) {
                    ("pattern", Value::String(pattern)) => *pattern = reworded(pattern),
                    ("patternProperties", Value::Object(patterns)) => {
                        *patterns = renamed(std::mem::take(patterns));
                        patterns.values_mut().for_each(|schema| visit(schema, false));
                    }
                    (keyword, value) => visit(value, NAMED.contains(&keyword)),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| visit(value, false)),
        _ => {}
    }
}

/// The schemas under the reworded patterns. Two patterns that became one stay two, by a group that matches nothing.
fn renamed(schemas: Map<String, Value>) -> Map<String, Value> {
    let mut renamed = Map::with_capacity(schemas.len());
    for (pattern, schema) in schemas {
        let mut pattern = reworded(&pattern);
        while renamed.contains_key(&pattern) {
            pattern.push_str("(?:)");
        }
        renamed.insert(pattern, schema);
    }
    renamed
}

/// The pattern whose classes and characters together do not have all control characters, unless they have `"` and `\`
/// as well. A malformed pattern stays as it is, since llguidance refuses it.
fn reworded(pattern: &str) -> String {
    let parts = parts(pattern);
    let together = parts.iter().fold(0, |all, part| all | part.controls);
    // llguidance unites alternatives before it writes them, so it is not enough to look at each class alone.
    if together | 1 << b'\n' != ALL {
        return pattern.to_owned();
    }
    let uses = |control: u8| parts.iter().filter(|part| part.has(control)).count();
    // One that only `\uXXXX` spells, since few texts have it.
    let unspellable = (0..32).filter(|control| is_unspellable(char::from(*control)));
    let Some(spare) = unspellable.min_by_key(|control| uses(*control)) else { return pattern.to_owned() };
    let mut written = String::with_capacity(pattern.len() + 16 * parts.len());
    let mut copied = 0;
    for PatternPart { span, .. } in parts.iter().filter(|part| part.has(spare)) {
        written.push_str(&pattern[copied..span.start.offset]);
        written.push_str(&format!(r"[{}&&[^\x{spare:02x}]]", &pattern[span.start.offset..span.end.offset]));
        copied = span.end.offset;
    }
    written + &pattern[copied..]
}

/// A class or a character of a pattern that lacks `"` or `\`.
struct PatternPart {
    span: Span,
    /// The control characters that it matches, as bits.
    controls: u32,
}

impl PatternPart {
    fn has(&self, control: u8) -> bool {
        self.controls >> control & 1 == 1
    }
}

/// The parts of a pattern with control characters, in their order.
fn parts(pattern: &str) -> Vec<PatternPart> {
    let Ok(tree) = ast::parse::Parser::new().parse(pattern) else { return Vec::new() };
    match ast::visit(&tree, PartFinder { pattern, found: Vec::new() }) {
        Ok(found) => found,
        Err(never) => match never {},
    }
}

struct PartFinder<'a> {
    pattern: &'a str,
    found: Vec<PatternPart>,
}

impl Visitor for PartFinder<'_> {
    type Output = Vec<PatternPart>;
    type Err = Infallible;

    fn finish(self) -> Result<Self::Output, Infallible> {
        Ok(self.found)
    }

    fn visit_pre(&mut self, part: &Ast) -> Result<(), Infallible> {
        if matches!(part, Ast::Literal(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_))
            && let Ok(meaning) = Translator::new().translate(self.pattern, part)
            && let controls @ 1.. = controls(&meaning)
        {
            self.found.push(PatternPart { span: *part.span(), controls });
        }
        Ok(())
    }
}

/// The control characters that a class or character matches, as bits; 0 if it matches `"` and `\` as well.
fn controls(meaning: &Hir) -> u32 {
    let has = |c: char| match meaning.kind() {
        HirKind::Literal(literal) => literal.0.as_ref() == c.encode_utf8(&mut [0; 4]).as_bytes(),
        // Ranges are sorted, and classes such as `\w` have hundreds.
        HirKind::Class(Class::Unicode(class)) => class.ranges().iter().take_while(|range| range.start() <= c).any(|range| c <= range.end()),
        _ => false,
    };
    if has('"') && has('\\') {
        return 0;
    }
    (0..32_u8).filter(|control| has(char::from(*control))).fold(0, |bits, control| bits | 1 << control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names_of(patterns: &Value) -> Vec<String> {
        let mut schema = json!({"patternProperties": patterns});
        exclude(&mut schema);
        schema["patternProperties"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn two_patterns_for_names_that_become_one_stay_two() {
        let excluded = reworded(r#"[^"]"#);

        let names = names_of(&json!({r#"[^"]"#: {"type": "integer"}, &excluded: {"type": "null"}, "[a-z]": {}}));

        assert_eq!(excluded, r#"[[^"]&&[^\x00]]"#);
        assert_eq!(names, [excluded.clone(), format!("{excluded}(?:)"), "[a-z]".to_owned()]);
    }

    #[test]
    fn only_what_is_a_pattern_is_reworded() {
        let schema = json!({
            "const": {"pattern": r#"[^"]"#},
            "properties": {"pattern": {"pattern": "[a-z]\\n"}, "enum": {"enum": [{"pattern": r#"[^"]"#}]}},
        });
        let mut seen = schema.clone();

        exclude(&mut seen);

        assert_eq!(seen, schema);
        let mut nested = json!({"properties": {"const": {"items": {"pattern": r#"[^"]"#}}}});
        exclude(&mut nested);
        assert_eq!(nested.pointer("/properties/const/items/pattern"), Some(&json!(reworded(r#"[^"]"#))));
    }
}
