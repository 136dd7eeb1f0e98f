//! The cursor's rules, each at its limit and one past it.

use super::*;
use serde_json::json;

fn fields(value: Value) -> Fields {
    match value {
        Value::Object(map) => Fields::new(map),
        other => panic!("{other} is no object"),
    }
}

fn body_error(body: &[u8]) -> String {
    Fields::parse(body).unwrap_err().to_string()
}

fn nested(depth: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

#[test]
fn null_equals_absence() {
    let mut f = fields(json!({"a": null, "b": null, "c": null, "d": null, "e": null}));

    assert_eq!(f.boolean("a"), Ok(None));
    assert_eq!(f.integer("b", 0..=1), Ok(None));
    assert_eq!(f.number("c", 0.0..=1.0), Ok(None));
    assert_eq!(f.string("d"), Ok(None));
    assert_eq!(f.object("e"), Ok(None));
    assert_eq!(f.string("absent"), Ok(None));
    assert_eq!(f.finish(), [""; 0]);
}

#[test]
fn whole_floats_are_integers_and_fractions_booleans_and_strings_are_not() {
    let range = || 0..=1000;
    assert_eq!(integer("x", &json!(100), range()), Ok(100));
    assert_eq!(integer("x", &json!(100.0), range()), Ok(100));
    assert_eq!(integer("x", &json!(1e2), range()), Ok(100));
    assert_eq!(integer("x", &json!(-0.0), range()), Ok(0));
    let rows = [(json!(1.5), "a fraction"), (json!(true), "a boolean"), (json!("1"), "a string"), (json!([1]), "an array")];
    for (value, found) in rows {
        let expected = FieldError { path: "x".into(), fault: FieldFault::WrongType { expected: "an integer", found } };
        assert_eq!(integer("x", &value, range()), Err(expected), "{value}");
    }
}

#[test]
fn integers_are_checked_at_both_ends_of_their_range() {
    assert_eq!(integer("x", &json!(-2), -2..=3), Ok(-2));
    assert_eq!(integer("x", &json!(3), -2..=3), Ok(3));
    for value in [json!(-3), json!(4), json!(u64::MAX), json!(1e300)] {
        let error = integer("x", &value, -2..=3).unwrap_err();
        assert!(matches!(error.fault, FieldFault::OutOfRange { .. }), "{value}: {error}");
    }
    assert_eq!(integer("x", &json!(1e18), 0..=i64::MAX), Ok(1_000_000_000_000_000_000));
    assert_eq!(integer("x", &json!(i64::MIN), i64::MIN..=i64::MAX), Ok(i64::MIN));
    assert_eq!(integer("x", &json!(i64::MAX), i64::MIN..=i64::MAX), Ok(i64::MAX));
    let message = "Invalid 'x': expected a value from -2 to 3, but got 4 instead.";
    assert_eq!(integer("x", &json!(4), -2..=3).unwrap_err().to_string(), message);
}

#[test]
fn numbers_are_checked_at_both_ends_of_their_range() {
    assert_eq!(number("t", &json!(0), 0.0..=2.0), Ok(0.0));
    assert_eq!(number("t", &json!(2), 0.0..=2.0), Ok(2.0));
    for value in [json!(-0.001), json!(2.001), json!(u64::MAX)] {
        let error = number("t", &value, 0.0..=2.0).unwrap_err();
        assert!(matches!(error.fault, FieldFault::OutOfRange { .. }), "{value}: {error}");
    }
    let message = "Invalid type for 't': expected a number, but got a boolean instead.";
    assert_eq!(number("t", &json!(true), 0.0..=2.0).unwrap_err().to_string(), message);
}

#[test]
fn other_types_are_named_in_the_error() {
    let mut f = fields(json!({"a": 1, "b": {}, "c": "x"}));

    assert_eq!(f.boolean("a").unwrap_err().to_string(), "Invalid type for 'a': expected a boolean, but got a number instead.");
    assert_eq!(f.string("b").unwrap_err().to_string(), "Invalid type for 'b': expected a string, but got an object instead.");
    assert_eq!(f.object("c").unwrap_err().to_string(), "Invalid type for 'c': expected an object, but got a string instead.");
}

#[test]
fn what_nobody_read_is_left_over_in_its_order_and_null_is_nothing() {
    let mut f = fields(json!({"z": 1, "known": "x", "a": 2, "b": null}));

    assert_eq!(f.string("known"), Ok(Some("x".to_owned())));

    assert_eq!(f.finish(), ["z", "a"]);
}

#[test]
fn what_nobody_read_inside_a_field_is_left_over_once() {
    let mut f = fields(json!({"z": 1}));

    f.leave("in", fields(json!({"a": 1, "b": null})));
    f.leave("in", fields(json!({"a": 2})));

    assert_eq!(f.finish(), ["z", "in.a"]);
}

#[test]
fn a_body_that_is_no_json_object_is_refused_with_its_fault() {
    let start = "We could not parse the JSON body of your request: ";
    let rows: [(&[u8], &str); 8] = [
        (b"", "it is empty."),
        (b" \n", "it is empty."),
        (b"[1]", "expected an object, but got an array instead."),
        (b"null", "expected an object, but got null instead."),
        (b"{\"a\":}", "expected value at line 1 column 6."),
        (b"{\"a\":1} x", "trailing characters at line 1 column 9."),
        (b"{\"a\":\"\xff\"}", "invalid unicode code point at line 1 column 7."),
        (b"{\"a\":NaN}", "expected value at line 1 column 6."),
    ];
    for (body, fault) in rows {
        assert_eq!(body_error(body), format!("{start}{fault}"), "{}", String::from_utf8_lossy(body));
    }
    assert!(body_error(b"{\"a\":1e999}").contains("number out of range"));
}

#[test]
fn a_body_may_nest_64_deep_and_no_deeper() {
    assert_eq!(Fields::parse(nested(64).as_bytes()).unwrap().finish(), ["a"]);
    assert!(body_error(nested(65).as_bytes()).ends_with("it is nested more than 64 deep."));
    // A long unclosed run is refused before a parser sees it.
    assert!(body_error("[".repeat(1_000_000).as_bytes()).ends_with("it is nested more than 64 deep."));
}

#[test]
fn brackets_in_strings_do_not_nest() {
    let body = format!("{{\"a\":\"\\\"{}\\\\\"}}", "[{".repeat(100));
    let mut f = Fields::parse(body.as_bytes()).unwrap();

    assert_eq!(f.string("a").unwrap().unwrap().len(), 202);
}

#[test]
fn of_a_repeated_key_the_last_value_counts() {
    assert_eq!(Fields::parse(br#"{"a":1,"a":2}"#).unwrap().integer("a", 0..=9), Ok(Some(2)));
}
