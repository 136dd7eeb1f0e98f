//! Patterns of JSON strings, which are held against what a JSON text means and not how it is spelled.

use super::{Automaton, Constraint, grammar, schema};

/// Patterns, texts in JSON that they allow, and texts that they exclude. Characters that only `\uXXXX` spells are left
/// out of texts that need none.
const CASES: [(&str, &[&str], &[&str]); 11] = [
    (r#"^[^"]*$"#, &[r#""a\\é\n""#, r#""""#], &[r#""\"""#, r#""a\"b""#]),
    (r"^[^\\]*$", &[r#""a\"é\t""#], &[r#""\\""#, r#""a\\b""#]),
    (r#"^[^"\\]{1,8}$"#, &[r#""a\nb""#], &[r#""\"""#, r#""\\""#]),
    (r#"^[^\n"]+$"#, &[r#""\\\t""#], &[r#""\"""#, r#""\n""#]),
    (r#"^(?:a|[^"])$"#, &[r#""a""#, r#""\\""#], &[r#""\"""#]),
    (r#"(?x)^ [^ " ] $"#, &[r#""a""#, r#""\\""#], &[r#""\"""#]),
    (r"^[\x00-\x1f]{1,3}$", &[r#""\n\t""#], &[r#""\"""#, r#""\\""#]),
    (r"^\p{Cc}$", &[r#""\b""#, "\"\u{80}\""], &[r#""\"""#, r#""\\""#, r#""a""#]),
    (r"^(?:[\x00-\x0f]|[\x10-\x1f])$", &[r#""\f""#], &[r#""\"""#, r#""\\""#]),
    (r"^(?:[\x00-\x0f]|\x10|[\x11-\x1f])$", &[r#""\r""#], &[r#""\"""#, r#""\\""#]),
    // These classes have both characters.
    (r"^[\W]\D\S.[^a]$", &[r#""\"\\\"\\\"""#, r#""\\\"\\\"\\""#], &[r#""\"\\\"\\a""#]),
];

#[test]
fn a_pattern_excludes_quotation_marks_and_backslashes_that_its_classes_lack() {
    for (pattern, allowed, excluded) in CASES {
        let text = serde_json::json!({ "type": "string", "pattern": pattern }).to_string();
        let alone = schema(&text).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let in_grammar = grammar(&format!("start: %json {text}\n")).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        for automaton in [alone, in_grammar] {
            assert_agrees(&automaton, pattern, |text| text.to_owned(), allowed, excluded);
        }
    }
}

#[test]
fn so_does_a_pattern_for_names() {
    for (pattern, allowed, excluded) in CASES {
        let by_pattern = serde_json::json!({"patternProperties": {pattern: {"const": 1}}});
        let by_names = serde_json::json!({"propertyNames": {"pattern": pattern}, "additionalProperties": {"const": 1}});
        for mut rules in [by_pattern, by_names] {
            rules["type"] = "object".into();
            if rules.get("patternProperties").is_some() {
                rules["additionalProperties"] = false.into();
            }
            let automaton = schema(&rules.to_string()).unwrap_or_else(|error| panic!("{rules}: {error}"));
            assert_agrees(&automaton, pattern, |name| format!("{{{name}:1}}"), allowed, excluded);
        }
    }
}

#[test]
fn patterns_that_hold_together_exclude_what_each_of_them_does() {
    let automaton = schema(r#"{"allOf":[{"type":"string","pattern":"^[^\"]*$"},{"pattern":"^[^\\\\]*$","minLength":1,"maxLength":4}]}"#);
    assert_agrees(&automaton.unwrap(), "both", |text| text.to_owned(), &[r#""a\n""#], &[r#""\"""#, r#""\\""#, r#""""#]);
}

fn assert_agrees(automaton: &Automaton, pattern: &str, within: impl Fn(&str) -> String, allowed: &[&str], excluded: &[&str]) {
    for text in allowed {
        assert!(automaton.accepts(&within(text)), "{pattern} allows {text}");
    }
    for text in excluded {
        assert!(!automaton.accepts(&within(text)), "{pattern} excludes {text}");
    }
}

#[test]
fn a_rule_of_a_grammar_is_not_json_and_keeps_its_classes() {
    let automaton = Automaton::new(&Constraint::Regex(r#"[^"]+"#.into())).unwrap();
    assert!(automaton.accepts("\u{1}\\") && !automaton.accepts("\""));
}
