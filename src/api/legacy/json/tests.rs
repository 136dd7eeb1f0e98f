//! The results of CPython 3.11's `json`, case by case (made with `json.loads`), and properties over arbitrary text.

use super::*;
use proptest::prelude::*;

fn syntax(message: &'static str, position: usize) -> Result<Json, JsonError> {
    Err(JsonError::Syntax { message, position })
}

#[test]
fn malformed_text_has_pythons_message_at_pythons_position() {
    let cases = [
        ("", "Expecting value", 0),
        (" \n ", "Expecting value", 3),
        ("nul", "Expecting value", 0),
        ("-", "Expecting value", 0),
        ("+1", "Expecting value", 0),
        ("[1,]", "Expecting value", 3),
        ("[", "Expecting value", 1),
        (r#"{"prompt": }"#, "Expecting value", 11),
        (r#"{"é": }"#, "Expecting value", 6),
        (r#"{"😀😀": x}"#, "Expecting value", 7),
        ("{a:1}", "Expecting property name enclosed in double quotes", 1),
        (r#"{"a":1,}"#, "Expecting property name enclosed in double quotes", 7),
        ("{", "Expecting property name enclosed in double quotes", 1),
        (r#"{"a" 1}"#, "Expecting ':' delimiter", 5),
        (r#"{"a""#, "Expecting ':' delimiter", 4),
        (r#"{"a":1 "b":2}"#, "Expecting ',' delimiter", 7),
        ("[1 2]", "Expecting ',' delimiter", 3),
        ("[01]", "Expecting ',' delimiter", 2),
        ("[1", "Expecting ',' delimiter", 2),
        ("01", "Extra data", 1),
        ("1.", "Extra data", 1),
        ("1e+", "Extra data", 1),
        ("{} x", "Extra data", 3),
        ("\u{a0}1", "Expecting value", 0),
        (r#""abc"#, "Unterminated string starting at", 0),
        (r#"["é", "abc\"#, "Unterminated string starting at", 6),
        ("\"a\nb\"", "Invalid control character at", 2),
        ("\"é\u{1f}\"", "Invalid control character at", 2),
        (r#""a\x""#, r"Invalid \escape", 2),
        (r#""\u12g4""#, r"Invalid \uXXXX escape", 2),
        (r#""\u1234"#, r"Invalid \uXXXX escape", 2),
        (r#""\ud83d\u12""#, r"Invalid \uXXXX escape", 8),
    ];
    for (text, message, position) in cases {
        assert_eq!(parse(text), syntax(message, position), "{text:?}");
    }
}

#[test]
fn sound_text_is_written_back_as_python_writes_it() {
    let cases = [
        (" [ ] ", "[]"),
        (r#"{"b":1,"a":[true,false,null],"b":2}"#, r#"{"b":2,"a":[true,false,null]}"#),
        (r#""\u00e9\ud83d\ude00\n\/\u001f\u007f""#, "\"é😀\\n/\\u001f\u{7f}\""),
        ("[-0,-0.0,1.0,1e2,1E+22,0.1]", "[0,-0.0,1.0,100.0,1e+22,0.1]"),
        ("[1e15,1e16,123456789012345678.5]", "[1000000000000000.0,1e+16,1.2345678901234568e+17]"),
        ("[0.0001,0.00001,1.5e-300]", "[0.0001,1e-05,1.5e-300]"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("[NaN,Infinity,-Infinity,1e400]", r#"["NaN","Infinity","-Infinity","Infinity"]"#),
        (r#"["\ud800","\udc00\ud800","\ud800\ud83d\ude00"]"#, "[\"\u{fffd}\",\"\u{fffd}\u{fffd}\",\"\u{fffd}😀\"]"),
    ];
    for (text, written) in cases {
        assert_eq!(parse(text).unwrap().to_string(), written, "{text}");
    }
}

#[test]
fn nesting_ends_at_64_levels() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));

    assert!(parse(&nested(64)).is_ok());
    assert_eq!(parse(&nested(65)), Err(JsonError::TooBig));
    assert_eq!(parse(&"{\"a\":".repeat(100_000)), Err(JsonError::TooBig));
    let siblings = format!("[{}[]]", "[],".repeat(1000));
    assert!(parse(&siblings).is_ok(), "only depth counts");
}

#[test]
fn integers_end_at_4300_digits_and_floats_do_not() {
    let digits = "1".repeat(4300);

    assert_eq!(parse(&format!("-{digits}")), Ok(Json::Int(format!("-{digits}").into())));
    assert_eq!(parse(&format!("{digits}1")), Err(JsonError::TooBig));
    assert_eq!(parse(&format!("{digits}1.0")), Ok(Json::Float(f64::INFINITY)));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_within_its_length(text in "\\PC*|[\\[\\]{}:,\"\\\\u0-9eE.+\\-dD aNI\n\u{1}é😀]{0,40}") {
        if let Err(JsonError::Syntax { position, .. }) = parse(&text) {
            prop_assert!(position <= text.chars().count());
        }
    }

    #[test]
    fn what_is_written_reads_back(text in "\\PC*", number in any::<f64>().prop_filter("finite", |number| number.is_finite()), int in any::<i64>()) {
        let value = Json::Object(vec![
            (text.clone(), Json::Array(vec![Json::Float(number), Json::Int(int.to_string().into())])),
            ("z".repeat(50), Json::String(text)),
        ]);
        prop_assert_eq!(parse(&value.to_string()), Ok(value));
    }
}
