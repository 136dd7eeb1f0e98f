//! Patterns of JSON strings, which are held against what a JSON text means and not how it is spelled.

use super::{Automaton, Constraint, grammar, schema};
use proptest::prelude::*;
use serde_json::{Value, json};

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
        let text = json!({ "type": "string", "pattern": pattern }).to_string();
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
        let by_pattern = json!({"patternProperties": {pattern: {"const": 1}}});
        let by_names = json!({"propertyNames": {"pattern": pattern}, "additionalProperties": {"const": 1}});
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

/// Characters that JSON escapes, in each of its ways, and others.
const CHARACTERS: [char; 10] = ['"', '\\', '/', '\n', '\t', 'a', 'z', 'é', '🙂', '\u{1f}'];

/// A pattern of one to three classes, characters and alternatives, with repetitions.
fn a_pattern() -> impl Strategy<Value = String> {
    let items = [r#"""#, r"\\", "/", r"\n", r"\t", "a-y", r"\x00-\x1f", r"\x00-\x09", r"\x0b-\x1f", "é-🙂", r"\W", r"\p{Cc}"];
    let class = (prop::bool::ANY, prop::sample::subsequence(items.to_vec(), 1..4))
        .prop_map(|(negated, items)| format!("[{}{}]", if negated { "^" } else { "" }, items.concat()));
    let atom = prop_oneof![4 => class, 1 => Just(r#"""#.to_owned()), 1 => Just("a".to_owned()), 1 => Just(".".to_owned())];
    let either = prop::collection::vec(atom, 1..3).prop_map(|atoms| format!("(?:{})", atoms.join("|")));
    let times = prop::sample::select(vec!["", "?", "*", "+", "{2}"]);
    prop::collection::vec((either, times), 1..4)
        .prop_map(|parts| format!("^{}$", parts.into_iter().map(|(either, times)| either + times).collect::<String>()))
}

proptest! {
    #[test]
    fn a_pattern_allows_what_an_independent_validator_does(
        pattern in a_pattern(),
        texts in prop::collection::vec(prop::collection::vec(prop::sample::select(CHARACTERS.to_vec()), 0..4), 8),
    ) {
        let rules = json!({"type": "string", "pattern": pattern});
        let validator = jsonschema::validator_for(&rules).unwrap();
        let automaton = schema(&rules.to_string());
        for text in texts {
            let text = Value::from(text.into_iter().collect::<String>());
            let is_valid = validator.is_valid(&text);
            // Characters that only `\uXXXX` spells may be left out.
            let may_be_missing = text.to_string().contains("\\u00");
            match &automaton {
                Ok(automaton) if automaton.accepts(&text.to_string()) => prop_assert!(is_valid, "{pattern} excludes {text}"),
                _ => prop_assert!(!is_valid || may_be_missing, "{pattern} allows {text}"),
            }
        }
    }
}
