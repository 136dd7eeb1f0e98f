//! Each kind of values reads what its schema allows, and nothing else.

use super::*;
use crate::api::fields::Fields;

const NUMBER: FieldSpec<Or<Numbers>> = number("x", 0.0..=1.5).or(1.0);
const INTEGER: FieldSpec<Or<Integers>> = integer("x", -1..=7).or(0);
const WORD: FieldSpec<Or<OneOf>> = one_of("x", &["float", "base64"]).or("float");
const TEXT: FieldSpec<Strings> = string("x").not_empty();

fn fields(value: Value) -> Fields {
    Fields::new([("x".to_owned(), value)].into_iter().collect())
}

fn message<V: Values<Read: Debug>>(spec: &FieldSpec<V>, value: Value) -> String {
    fields(value).get(spec).unwrap_err().to_string()
}

#[test]
fn an_absent_field_and_null_have_the_default() {
    assert_eq!(fields(Value::Null).get(&NUMBER), Ok(1.0));
    assert_eq!(Fields::new(serde_json::Map::new()).get(&INTEGER), Ok(0));
    assert_eq!(fields(Value::Null).get(&WORD), Ok("float"));
    assert_eq!(fields(Value::Null).get(&TEXT), Ok(None));
    assert_eq!(fields(Value::Null).get(&refused("x", "is not supported")), Ok(()));
}

#[test]
fn a_value_is_read_within_its_range_and_refused_past_it() {
    assert_eq!(fields(json!(1.5)).get(&NUMBER), Ok(1.5));
    assert_eq!(message(&NUMBER, json!(1.6)), "Invalid 'x': expected a value from 0 to 1.5, but got 1.6 instead.");
    assert_eq!(fields(json!(7)).get(&INTEGER), Ok(7));
    assert_eq!(message(&INTEGER, json!(8)), "Invalid 'x': expected a value from -1 to 7, but got 8 instead.");
    assert_eq!(message(&INTEGER.within(0..=3), json!(4)), "Invalid 'x': expected a value from 0 to 3, but got 4 instead.");
}

#[test]
fn words_are_read_as_they_are_listed_and_an_error_lists_them() {
    assert_eq!(fields(json!("base64")).get(&WORD), Ok("base64"));
    assert_eq!(message(&WORD, json!("x")), "Invalid 'x': it must be 'float' or 'base64'.");
    assert_eq!(message(&one_of("x", &["a", "b", "c"]), json!("x")), "Invalid 'x': expected one of a, b, c.");
    assert_eq!(message(&one_of("x", &["a"]), json!("x")), "Invalid 'x': expected 'a'.");
}

#[test]
fn a_required_field_is_missing_if_it_is_null_and_a_text_may_have_to_say_something() {
    assert_eq!(fields(Value::Null).require(&TEXT).unwrap_err().to_string(), "Missing required parameter: 'x'.");
    assert_eq!(message(&TEXT, json!("")), "Invalid 'x': it is an empty string.");
    assert_eq!(fields(json!("a")).require(&TEXT), Ok("a".to_owned()));
}

#[test]
fn a_refused_field_is_refused_for_its_reason_unless_its_value_changes_nothing() {
    let list = refused("x", "is not supported").unless(is_empty_array);
    let switch = refused("x", "is not supported").unless(is_off);

    assert_eq!(fields(json!([])).get(&list), Ok(()));
    assert_eq!(message(&list, json!([1])), "Unsupported parameter: 'x' is not supported.");
    assert_eq!(fields(json!(false)).get(&switch), Ok(()));
    assert_eq!(message(&switch, json!(true)), "Unsupported parameter: 'x' is not supported.");
    assert_eq!(message(&switch, json!(1)), "Invalid type for 'x': expected a boolean, but got a number instead.");
}

#[test]
fn schemas_state_range_and_default_and_no_end_that_only_64_bits_set() {
    assert_eq!(NUMBER.values.schema().to_string(), r#"{"type":"number","minimum":0,"maximum":1.5,"default":1}"#);
    assert_eq!(INTEGER.values.schema().to_string(), r#"{"type":"integer","minimum":-1,"maximum":7,"default":0}"#);
    assert_eq!(integer("x", i64::MIN..=i64::MAX).values.schema().to_string(), r#"{"type":"integer"}"#);
    assert_eq!(number("x", 0.01..=f64::INFINITY).values.schema().to_string(), r#"{"type":"number","minimum":0.01}"#);
    assert_eq!(WORD.values.schema().to_string(), r#"{"type":"string","enum":["float","base64"],"default":"float"}"#);
    assert_eq!(TEXT.values.schema().to_string(), r#"{"type":"string","minLength":1}"#);
    assert_eq!(boolean("x").or(true).values.schema().to_string(), r#"{"type":"boolean","default":true}"#);
}
