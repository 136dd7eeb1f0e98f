//! Constraints over a vocabulary of single bytes, where the texts that can be generated are exactly the language.

mod corpora;
mod coverage;
mod patterns;
mod ranges;
mod reworded;

use super::{Compiled, Compiler, Matcher, Piece, Vocabulary, Words};
use crate::protocol::{Constraint, ConstraintErrorKind, ConstraintPlace, OBJECTS_ARE_CLOSED, Token};
use std::sync::{Arc, OnceLock};

/// The token that ends a text. The next one is a control token.
const END: Token = Token(256);
const CONTROL: Token = Token(257);
/// The token with the text ` the`.
const WORD: Token = Token(258);

fn compiler() -> &'static Compiler {
    static COMPILER: OnceLock<Compiler> = OnceLock::new();
    COMPILER.get_or_init(|| {
        let bytes: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
        let long = "a".repeat(5000);
        let piece = |token: Token| match token {
            END => Piece::End(b"</s>"),
            CONTROL => Piece::Special(b"<|control|>"),
            WORD => Piece::Text(b" the"),
            Token(259) => Piece::Text(long.as_bytes()),
            Token(id) => Piece::Text(&bytes[id as usize]),
        };
        let spell = |text: &str| text.bytes().map(|byte| Token(byte.into())).collect();
        Compiler::new(Vocabulary::new(&Words::new(260, piece).unwrap(), Arc::new(spell)).unwrap())
    })
}

/// A constraint as an automaton that accepts or rejects texts, byte by byte.
#[derive(Debug)]
pub(in crate::constrain) struct Automaton(Compiled);

impl Automaton {
    pub(in crate::constrain) fn new(constraint: &Constraint) -> Result<Self, String> {
        compiler().compile(constraint).map(Self).map_err(|error| error.to_string())
    }

    /// True if exactly this text can be generated.
    pub(in crate::constrain) fn accepts(&self, text: &str) -> bool {
        let mut matcher = self.0.matcher();
        text.bytes().all(|byte| push(&mut matcher, Token(byte.into()))) && may_end(&mut matcher)
    }

    /// True if a text can begin like this.
    fn begins(&self, text: &str) -> bool {
        let mut matcher = self.0.matcher();
        text.bytes().all(|byte| push(&mut matcher, Token(byte.into())))
    }
}

fn may(matcher: &mut Matcher, token: Token) -> bool {
    let (word, bit) = (token.0 as usize / 32, token.0 % 32);
    matcher.allowed().is_ok_and(|allowed| allowed[word] >> bit & 1 == 1)
}

/// Advances if the token is allowed. Returns whether it was.
fn push(matcher: &mut Matcher, token: Token) -> bool {
    !matcher.is_finished() && may(matcher, token) && matcher.advance(token).is_ok()
}

fn may_end(matcher: &mut Matcher) -> bool {
    matcher.is_finished() || may(matcher, END)
}

/// The schema with the meaning that it has in JSON Schema, where objects are open.
fn schema(text: &str) -> Result<Automaton, String> {
    Automaton::new(&Constraint::JsonSchema(left_open(text)))
}

/// The schema with the mark that leaves its objects open.
pub(in crate::constrain) fn left_open(text: &str) -> String {
    match text.strip_prefix('{') {
        Some(rest) if rest.trim_start().starts_with('}') => format!(r#"{{"x-llamero-open":true{rest}"#),
        Some(rest) => format!(r#"{{"x-llamero-open":true,{rest}"#),
        None => text.to_owned(),
    }
}

/// The schema as the server understands it.
fn closed_schema(text: &str) -> Automaton {
    Automaton::new(&Constraint::JsonSchema(text.to_owned())).unwrap()
}

#[test]
fn objects_have_no_other_properties_where_the_schema_does_not_allow_them() {
    let named = r#"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"object","properties":{"c":{"const":1}}}}"#;
    let (closed, open) = (closed_schema(&format!("{named}}}")), closed_schema(&format!(r#"{named},"additionalProperties":true}}"#)));

    assert!(closed.accepts(r#"{"a":1,"b":{"c":1}}"#) && open.accepts(r#"{"a":1,"b":{"c":1},"d":2}"#));
    assert!(!closed.accepts(r#"{"a":1,"d":2}"#) && !closed.accepts(r#"{"b":{"d":1}}"#) && !open.accepts(r#"{"b":{"d":1}}"#));
    assert!(closed_schema(r#"{"type":"object"}"#).accepts(r#"{"a":1}"#));
    assert!(!closed_schema(r#"{"type":"object","properties":{}}"#).accepts(r#"{"a":1}"#));
    let both = r##"{"allOf":[{"$ref":"#/$defs/x"},{"properties":{"b":{}},"required":["b"]}],"$defs":{"x":{"type":"object","properties":{"a":{}},"required":["a"]}}}"##;
    assert!(closed_schema(both).accepts(r#"{"a":1,"b":2}"#));
}

#[test]
fn the_note_on_closed_objects_comes_once_and_only_where_one_was_closed() {
    let notes = |text: &str| compiler().compile(&Constraint::JsonSchema(text.to_owned())).unwrap().notes().to_vec();

    assert_eq!(notes(r#"{"properties":{"a":{"properties":{"b":{}}}}}"#), [OBJECTS_ARE_CLOSED]);
    assert_eq!(notes(r#"{"properties":{"a":{}},"additionalProperties":true}"#), [""; 0]);
}

/// In 7 of 8 seeds `\d{4}` was 🯸🯸🯸🯸.
#[test]
fn shorthand_classes_are_ascii_everywhere() {
    let years = [
        regex(r"\d{2}\w\s").unwrap(),
        grammar("start: A\nA: /\\d{2}\\w\\s/").unwrap(),
        schema(r#"{"type":"string","pattern":"^\\d{2}\\w\\s$"}"#).unwrap(),
    ];
    for (index, automaton) in years.iter().enumerate() {
        let text = |text: &str| if index == 2 { format!("\"{text}\"") } else { text.to_owned() };
        assert!(automaton.accepts(&text("12a ")), "{index}");
        for other in ["🯸🯸a ", "١٢a ", "12é "] {
            assert!(!automaton.accepts(&text(other)), "{index} {other}");
        }
        // The white space of a schema's pattern is ECMAScript's, as JSON Schema says.
        assert_eq!(automaton.accepts(&text("12a\u{a0}")), index == 2);
    }
    let names = schema(r#"{"type":"object","patternProperties":{"^\\d$":{}},"additionalProperties":false}"#).unwrap();
    assert!(names.accepts(r#"{"1":1}"#) && !names.accepts(r#"{"١":1}"#));
    let others = regex(r"[^\d]\D\S").unwrap();
    assert!(others.accepts("١éé") && !others.accepts("1éé") && !others.accepts("é1é") && !others.accepts("éé "));
}

fn regex(text: &str) -> Result<Automaton, String> {
    Automaton::new(&Constraint::Regex(text.to_owned()))
}

fn grammar(text: &str) -> Result<Automaton, String> {
    Automaton::new(&Constraint::Grammar(text.to_owned()))
}

fn choice(texts: &[&str]) -> Result<Automaton, String> {
    Automaton::new(&Constraint::Choice(texts.iter().map(|text| (*text).to_owned()).collect()))
}

#[test]
fn a_regex_matches_from_the_first_to_the_last_character() {
    for text in [r"[ab]+\d{2}", r"^[ab]+\d{2}$", r"^[ab]+\d{2}", r"[ab]+\d{2}$"] {
        let automaton = regex(text).unwrap();
        assert!(automaton.accepts("ab12") && automaton.accepts("b99"), "{text}");
        assert!(!automaton.accepts("xab12") && !automaton.accepts("ab12x") && !automaton.accepts("ab1"), "{text}");
    }
    let dollar = regex(r"a/b\$").unwrap();
    assert!(dollar.accepts("a/b$") && !dollar.accepts("a/b"));
    assert!(regex("日本|é+").unwrap().accepts("éé"));
}

#[test]
fn a_regex_that_cannot_be_followed_is_refused() {
    for text in ["", "^$", "(", "[z-a]", r"(?=a)b", r"\bword", "a^b", "a\\"] {
        let refused = regex(text).unwrap_err();
        assert!(!refused.is_empty() && !refused.contains('\u{0}'), "{text}: {refused}");
    }
}

#[test]
fn a_choice_is_one_of_its_texts_whole() {
    let texts = ["a", "ab", "with \"quotes\" \\ and\nlines\t\u{7f}\u{1}", "日本", " the end", "1e5"];
    let automaton = choice(&texts).unwrap();
    for text in texts {
        assert!(automaton.accepts(text), "{text:?}");
    }
    for text in ["", "b", "abc", "日", " the"] {
        assert!(!automaton.accepts(text), "{text:?}");
    }
}

#[test]
fn an_empty_text_is_a_text() {
    for automaton in [choice(&["", "a"]).unwrap(), regex("a?").unwrap(), grammar("start: A\nA: /a?/\n").unwrap()] {
        assert!(automaton.accepts("") && automaton.accepts("a") && !automaton.accepts("aa"));
    }
    assert!(choice(&[""]).unwrap().accepts(""));
}

#[test]
fn a_text_ends_by_itself_where_nothing_may_follow() {
    let mut matcher = choice(&["yes", "no"]).unwrap().0.matcher();
    for byte in b"yes" {
        assert!(!matcher.is_finished());
        matcher.advance(Token(u32::from(*byte))).unwrap();
    }
    assert!(matcher.is_finished());
    assert!(may(&mut matcher, END) && !may(&mut matcher, Token(b's'.into())));
}

#[test]
fn json_objects_are_objects_of_any_kind() {
    let automaton = Automaton::new(&Constraint::JsonObject).unwrap();
    assert!(automaton.accepts(r#"{"a":[1,{"b":null}], "c": "the"}"#) && automaton.accepts("{}"));
    assert!(!automaton.accepts("[]") && !automaton.accepts(r#"{"a":1"#) && !automaton.accepts(r#"{"a":1}x"#));
}

#[test]
fn white_space_between_parts_of_json_is_bounded() {
    let automaton =
        schema(r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}"#).unwrap();
    for text in [r#"{"a":1}"#, r#"{"a": 1}"#, "{\n  \"a\": 1\n}", "{\n\t\t\"a\": 1\n}"] {
        assert!(automaton.accepts(text), "{text:?}");
    }
    for text in ["{  ", "{\n\n", "{ \n", &format!("{{\n{}", " ".repeat(21)), " {", "\n{"] {
        assert!(!automaton.begins(text), "{text:?}");
    }
}

#[test]
fn a_property_has_one_spelling_so_that_free_names_cannot_repeat_it() {
    let automaton = schema(r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#).unwrap();
    assert!(automaton.accepts(r#"{"a":1,"b":"x"}"#));
    assert!(!automaton.begins(r#"{"a":1,"a":"#) && !automaton.begins(r#"{"\u"#));
}

#[test]
fn an_end_is_allowed_exactly_where_the_text_is_complete_and_control_tokens_never() {
    let mut matcher = schema(r#"{"type":"integer","minimum":10,"maximum":99}"#).unwrap().0.matcher();
    assert!(!may(&mut matcher, END));
    assert!(push(&mut matcher, Token(b'4'.into())));
    assert!(!may(&mut matcher, END) && !may(&mut matcher, CONTROL));
    assert!(push(&mut matcher, Token(b'2'.into())));
    assert!(may_end(&mut matcher));

    let mut anything = regex("(?s).*").unwrap().0.matcher();
    assert!(may(&mut anything, END) && may(&mut anything, WORD) && !may(&mut anything, CONTROL));
    assert!(!may(&mut anything, Token(0xFF)), "no UTF-8 begins with this byte");
    assert!(!may(&mut anything, Token(259)), "too long for the trie");
    anything.advance(END).unwrap();
    assert!(anything.is_finished());
}

#[test]
fn a_token_that_was_not_allowed_is_an_error_and_so_is_everything_after_it() {
    let mut matcher = choice(&["yes"]).unwrap().0.matcher();

    assert!(matcher.advance(Token(b'n'.into())).is_err());

    assert!(matcher.allowed().is_err() && matcher.advance(Token(b'y'.into())).is_err());
    assert!(!matcher.is_finished());
}

#[test]
fn texts_of_one_constraint_do_not_disturb_each_other() {
    let compiled = regex("[a-z]{3,40}x").unwrap().0;
    let (mut one, mut other) = (compiled.matcher(), compiled.matcher());

    for _ in 0..30 {
        assert!(push(&mut one, Token(b'q'.into())));
    }
    assert!(one.advance(END).is_err());

    assert!(push(&mut other, Token(b'a'.into())));
}

#[test]
fn lark_grammars_work() {
    let automaton = grammar("start: expr\nexpr: NUMBER | \"(\" expr \"+\" expr \")\"\nNUMBER: /[0-9]+/\n").unwrap();
    assert!(automaton.accepts("12") && automaton.accepts("(1+(2+33))"));
    assert!(!automaton.accepts("(1+2") && !automaton.accepts("1+2"));
    let refused = grammar("start: missing\n").unwrap_err();
    assert!(refused.contains("missing"), "{refused}");
}

#[test]
fn alternatives_that_overlap_are_refused_with_a_way_out() {
    let refused = schema(r#"{"oneOf":[{"type":"integer"},{"type":"number"}]}"#).unwrap_err();
    assert!(refused.contains("'oneOf'") && refused.contains("'anyOf'"), "{refused}");
}

#[test]
fn limits_are_named_with_what_came() {
    let long = |n: usize| "x".repeat(n);
    let cases = [
        (Constraint::JsonSchema(long(300_000)), "300000 bytes; at most 262144"),
        (Constraint::Regex(long(9_000)), "9000 bytes; at most 8192"),
        (Constraint::Grammar(long(70_000)), "70000 bytes; at most 65536"),
        (Constraint::Choice(vec![long(5_000)]), "5000 bytes; at most 4096"),
        (Constraint::Choice(vec![String::new(); 1_001]), "1001 texts; at most 1000"),
        (Constraint::Choice(Vec::new()), "empty"),
        (Constraint::JsonSchema("[]".to_owned()), "not a JSON object"),
        (Constraint::JsonSchema("{".to_owned()), "not JSON"),
        (Constraint::JsonSchema(format!(r#"{{"properties":{{"{}":{{}}}}}}"#, long(257))), "257 bytes; at most 256"),
        (Constraint::JsonSchema(format!(r#"{{"required":["{}"]}}"#, long(257))), "257 bytes; at most 256"),
        (Constraint::JsonSchema(format!(r#"{{"pattern":"{}"}}"#, long(9_000))), "#/pattern has 9000 bytes"),
        (Constraint::JsonSchema(format!(r#"{{"enum":[{}0]}}"#, "0,".repeat(1_000))), "more than 1000 values"),
        (Constraint::JsonSchema(r#"{"maxLength":100001}"#.to_owned()), "#/maxLength must be an integer from 0 to 100000"),
        (Constraint::JsonSchema(r#"{"const":9007199254740993}"#.to_owned()), "2^53"),
        (Constraint::JsonSchema(r#"{"const":-1e19}"#.to_owned()), "#/const: -1e+19 is too large"),
        (Constraint::JsonSchema(r#"{"minProperties":2}"#.to_owned()), "#/minProperties"),
        (Constraint::JsonSchema(r#"{"properties":{"a":{"$id":"x"}}}"#.to_owned()), "#/properties/a/$id"),
        (Constraint::JsonSchema(r#"{"$ref":"https://example.org/x"}"#.to_owned()), "path inside the schema"),
        (Constraint::JsonSchema(r##"{"$ref":"#/$defs/none"}"##.to_owned()), "does not exist"),
        (Constraint::JsonSchema(r#"{"items":[{}],"prefixItems":[{}]}"#.to_owned()), "#/prefixItems"),
        (Constraint::JsonSchema(r#"{"items":3}"#.to_owned()), "#/items is no schema"),
        (Constraint::JsonSchema(r#"{"properties":3}"#.to_owned()), "#/properties is not an object"),
    ];
    for (constraint, expected) in cases {
        let refused = Automaton::new(&constraint).unwrap_err();
        assert!(refused.contains(expected), "{refused:?} does not say {expected:?}");
    }
}

#[test]
fn a_reason_to_refuse_has_a_kind_and_a_place() {
    use ConstraintErrorKind::{Impossible, Invalid, TooLarge};
    let schema = |text: &str| Constraint::JsonSchema(text.to_owned());
    let in_schema = |pointer: &str| Some(ConstraintPlace::InSchema(pointer.to_owned()));
    for (constraint, kind, at) in [
        (schema("{"), Invalid, Some(ConstraintPlace::Schema)),
        (schema(r#"{"items":{"maxLength":-1}}"#), Invalid, in_schema("#/items/maxLength")),
        (schema(r#"{"properties":{"a":{"not":{}}}}"#), Invalid, in_schema("#/properties/a/not")),
        (schema(r##"{"$ref":"#"}"##), Impossible, None),
        (Constraint::Regex("(".repeat(101)), TooLarge, Some(ConstraintPlace::Regex)),
        (Constraint::Choice(Vec::new()), Invalid, Some(ConstraintPlace::Choice)),
        (Constraint::Choice(vec!["x".repeat(5_000)]), TooLarge, Some(ConstraintPlace::ChoiceText)),
        (Constraint::Grammar("root ::= missing".to_owned()), Invalid, Some(ConstraintPlace::Grammar)),
        (Constraint::Grammar("root ::= \"a\"\nroot ::= (".to_owned()), Invalid, Some(ConstraintPlace::GrammarLine(2))),
    ] {
        let refused = compiler().compile(&constraint).unwrap_err();
        assert_eq!((refused.kind, &refused.at), (kind, &at), "{constraint:?}: {refused}");
    }
}

#[test]
fn numbers_beyond_what_is_exact_are_refused_wherever_they_stand_and_however_they_are_written() {
    let numbers = [
        "9007199254740993",
        "-9007199254740993",
        "9007199254740993.0",
        "-1e19",
        "1e308",
        "-1e308",
        "-9223372036854775809",
        "1e16",
        "18446744073709551616",
    ];
    for number in numbers {
        for (text, place) in [
            (r#"{"const":N}"#, "#/const"),
            (r#"{"enum":[1,[{"a":N}]]}"#, "#/enum"),
            (r#"{"type":"integer","minimum":N}"#, "#/minimum"),
            (r#"{"type":"number","maximum":N}"#, "#/maximum"),
            (r#"{"type":"number","exclusiveMinimum":N}"#, "#/exclusiveMinimum"),
            (r#"{"type":"integer","exclusiveMaximum":N}"#, "#/exclusiveMaximum"),
            (r#"{"type":"integer","minimum":N,"maximum":N}"#, "#/minimum"),
            (r#"{"type":"number","multipleOf":N}"#, "#/multipleOf"),
            (r#"{"properties":{"a":{"items":{"const":N}}}}"#, "#/properties/a/items/const"),
            (r##"{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"minimum":N}]}}}"##, "#/$defs/a/anyOf/0/minimum"),
        ] {
            let refused = schema(&text.replace('N', number)).unwrap_err();
            assert!(refused.starts_with(place), "{number} in {text}: {refused}");
        }
    }
    assert!(schema(r#"{"const":1e400}"#).unwrap_err().contains("number out of range at line 1"));
    for number in ["9007199254740992", "-9007199254740992", "9007199254740991.0", "1e15", "-0.5", "1e-7"] {
        let automaton = schema(&format!(r#"{{"type":"number","minimum":{number},"maximum":{number}}}"#)).unwrap();
        let value: f64 = number.parse().unwrap();
        assert!(automaton.accepts(&value.to_string()), "{number}");
    }
}

#[test]
fn control_characters_in_a_schema_arrive_as_they_are() {
    let cases = [
        (r#"{"const":"e\u0001f"}"#, r#""e\u0001f""#, r#""ef""#),
        (r#"{"const":"\u0000"}"#, r#""\u0000""#, r#""""#),
        (r#"{"enum":["\u007f","a"]}"#, r#""\u007f""#, r#""""#),
        (r#"{"const":{"k":["\u001b[0m"]}}"#, r#"{"k":["\u001b[0m"]}"#, r#"{"k":["[0m"]}"#),
        (r#"{"type":"string","pattern":"^e\\x01f$"}"#, r#""e\u0001f""#, r#""ef""#),
        (r#"{"type":"string","pattern":"^e\u0001f$"}"#, r#""e\u0001f""#, r#""ef""#),
        (
            r#"{"type":"object","patternProperties":{"^e\u0001f$":{"const":1}},"minProperties":1,"additionalProperties":false}"#,
            r#"{"e\u0001f":1}"#,
            r#"{"ef":1}"#,
        ),
        (r#"{"type":"object","properties":{"e\u0001f":{"const":1}},"required":["e\u0001f"]}"#, r#"{"e\u0001f":1}"#, r#"{"ef":1}"#),
    ];
    for (text, valid, invalid) in cases {
        let automaton = schema(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(automaton.accepts(valid), "{text}: {valid}");
        assert!(!automaton.accepts(invalid), "{text}: {invalid}");
    }
}

#[test]
fn a_property_cannot_be_repeated_in_another_spelling() {
    let names = r#"{"type":"object","properties":{"a\nb":{"const":1}}}"#;
    assert!(!schema(names).unwrap().begins(r#"{"a\u000ab""#));
    let open = r#"{"type":"object","properties":{"a":{"const":"\u0001"}}}"#;
    let patterns = r#"{"properties":{"a\nb":{"const":"\u0001"}},"patternProperties":{"^x":{}},"additionalProperties":false}"#;
    for text in [open, r#"{"anyOf":[{"const":"\u0001"},{"required":["a"]}]}"#] {
        let refused = schema(text).unwrap_err();
        assert!(refused.contains("'additionalProperties' must be false beside a control character"), "{refused}");
    }
    assert!(schema(patterns).unwrap_err().contains("names with control characters"));

    let closed =
        schema(r#"{"type":"object","properties":{"a":{"const":"\u0001"}},"required":["a"],"additionalProperties":false}"#).unwrap();
    assert!(closed.accepts(r#"{"a":"\u0001"}"#));
    assert!(!closed.begins(r#"{"\u0061"#) && !closed.begins(r#"{"a":"\u0001","#));
}

#[test]
fn a_property_or_definition_may_be_called_as_a_keyword_is() {
    for name in ["required", "const", "default", "patternProperties", "description"] {
        let text = format!(
            r##"{{"$ref":"#/$defs/{name}","$defs":{{"{name}":{{"properties":{{"{name}":{{"const":"\u0001"}}}},"required":["{name}"],"additionalProperties":false}}}}}}"##
        );
        let automaton = schema(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(automaton.accepts(&format!(r#"{{"{name}":"\u0001"}}"#)), "{text}");
        assert!(!automaton.accepts(&format!(r#"{{"{name}":""}}"#)), "{text}");
    }
}

#[test]
fn free_texts_have_no_unicode_escapes_unless_the_schema_needs_them() {
    for text in [
        r#"{"type":"string","description":"\u001b"}"#,
        r#"{"type":"string","pattern":"^[a-z\\n\\d]+$"}"#,
        r#"{"anyOf":[{"type":"string"},{"type":"string","pattern":"^\\p{L}[\\u4e00-\\u9fff\\x00-\\x1f]\\x41$"}]}"#,
    ] {
        assert!(!schema(text).unwrap().begins(r#""\u"#), "{text}");
    }
}

#[test]
fn impossible_constraints_are_refused() {
    let impossible = [
        r#"{"type":"integer","minimum":5,"maximum":4}"#,
        r#"{"type":"string","minLength":3,"maxLength":2}"#,
        r#"{"type":"string","pattern":"^a$","minLength":2}"#,
        r#"{"type":"array","minItems":3,"maxItems":2}"#,
        r#"{"allOf":[{"type":"string"},{"type":"integer"}]}"#,
        r#"{"type":"object","properties":{"a":false},"required":["a"]}"#,
        r#"{"type":"object","required":["a"],"additionalProperties":false}"#,
        r#"{"type":"object","properties":{"a":{"type":"array","minItems":1,"items":false}},"required":["a"]}"#,
        r#"{"enum":[]}"#,
        r#"{"type":[]}"#,
        r##"{"$ref":"#"}"##,
        r##"{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}"##,
        r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##,
        r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"array","prefixItems":[{"$ref":"#/$defs/a"}],"minItems":1}}}"##,
        r##"{"anyOf":[{"$ref":"#"},{"type":"object","required":["x"],"additionalProperties":{"$ref":"#"}}]}"##,
        r#"{"not":{}}"#,
        r#"{"type":"number","multipleOf":0}"#,
    ];
    let accepted: Vec<&str> = impossible.into_iter().filter(|text| schema(text).is_ok()).collect();
    assert_eq!(accepted, Vec::<&str>::new());
}

/// The forced text after `text`.
fn forced_after(constraint: &Constraint, text: &str) -> String {
    let mut matcher = compiler().compile(constraint).unwrap().matcher();
    assert!(text.bytes().all(|byte| push(&mut matcher, Token(byte.into()))), "{text}");
    let forced = matcher.forced().into_iter().map(|Token(id)| char::from(u8::try_from(id).unwrap())).collect();
    assert!(matcher.is_finished() || matcher.allowed().is_ok_and(|allowed| allowed.iter().any(|word| *word != 0)), "{forced}");
    forced
}

#[test]
fn tokens_that_a_constraint_forces_are_known_up_to_the_next_choice() {
    let schema = Constraint::JsonSchema(
        r#"{"type":"object","properties":{"temperature":{"enum":["hot","cold"]}},"required":["temperature"],"additionalProperties":false}"#
            .to_owned(),
    );

    assert_eq!(forced_after(&schema, ""), "{");
    assert_eq!(forced_after(&schema, "{\""), "temperature\"");
    assert_eq!(forced_after(&schema, "{\"temperature\":\"h"), "ot\"");
    assert_eq!(forced_after(&Constraint::Choice(vec!["yes, please".to_owned(), "no".to_owned()]), "y"), "es, please");
    assert_eq!(forced_after(&Constraint::Regex("[a-z]+".to_owned()), "a"), "");
}

#[test]
fn a_choice_with_a_character_that_no_token_can_write_is_refused() {
    let bytes: Vec<[u8; 1]> = (0..128).map(|byte| [byte]).collect();
    let piece = |token: Token| if token.0 == 128 { Piece::End(b"</s>") } else { Piece::Text(&bytes[token.0 as usize]) };
    let spell = |text: &str| text.bytes().map(|byte| Token(byte.into())).collect();
    let ascii = Compiler::new(Vocabulary::new(&Words::new(129, piece).unwrap(), Arc::new(spell)).unwrap());
    let choice = |text: &str| Constraint::Choice(vec!["plain".to_owned(), text.to_owned()]);

    let refused = ascii.compile(&choice("caf\u{e9}")).unwrap_err().to_string();

    assert!(refused.contains("U+00E9"), "{refused}");
    assert!(ascii.compile(&choice("coffee")).is_ok());
}
