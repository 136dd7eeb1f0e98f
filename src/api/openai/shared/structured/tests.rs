//! Every way to ask for structured output, and the refusals.

use super::*;
use crate::api::testing::{Setup, TestApp};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::json;

fn read(body: Value) -> Result<Option<Constrained>, FieldError> {
    let Value::Object(map) = body else { panic!("an object") };
    let mut fields = Fields::new(map);
    let constraint = read_constraint(&mut fields)?;
    assert_eq!(fields.finish(), [""; 0], "a field was left");
    Ok(constraint)
}

fn refusal(body: Value) -> (String, String) {
    let error = read(body).unwrap_err();
    (error.param().unwrap_or_default().to_owned(), error.to_string())
}

#[test]
fn each_field_gives_its_constraint_and_its_name() {
    let schema = json!({"type": "object", "properties": {"b": {}, "a": {}}});
    let text = schema.to_string();
    let json_schema = || Constraint::JsonSchema(text.clone());
    let cases = [
        (json!({"response_format": {"type": "json_object"}}), Constraint::JsonObject, "response_format"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema":
                {"name": "A plan: größe", "strict": true, "schema": schema}}}),
            json_schema(),
            "response_format",
        ),
        (json!({"response_format": {"type": "json_object", "schema": schema}}), json_schema(), "response_format"),
        (json!({"response_format": {"type": "json_schema", "schema": schema}}), json_schema(), "response_format"),
        (json!({"structured_outputs": {"json": schema}}), json_schema(), "structured_outputs"),
        (json!({"structured_outputs": {"json": text, "disable_fallback": true}}), json_schema(), "structured_outputs"),
        (json!({"structured_outputs": {"regex": "a+"}}), Constraint::Regex("a+".into()), "structured_outputs"),
        (json!({"structured_outputs": {"choice": ["a", "b"]}}), Constraint::Choice(vec!["a".into(), "b".into()]), "structured_outputs"),
        (json!({"structured_outputs": {"grammar": "start: A"}}), Constraint::Grammar("start: A".into()), "structured_outputs"),
        (json!({"structured_outputs": {"json_object": true}}), Constraint::JsonObject, "structured_outputs"),
        (json!({"guided_json": schema}), json_schema(), "guided_json"),
        (json!({"guided_json": text}), json_schema(), "guided_json"),
        (json!({"guided_regex": "a+"}), Constraint::Regex("a+".into()), "guided_regex"),
        (json!({"guided_choice": ["a"]}), Constraint::Choice(vec!["a".into()]), "guided_choice"),
        (json!({"guided_grammar": "root ::= \"a\""}), Constraint::Grammar("root ::= \"a\"".into()), "guided_grammar"),
        (json!({"json_schema": schema}), json_schema(), "json_schema"),
        (json!({"grammar": "root ::= \"a\""}), Constraint::Grammar("root ::= \"a\"".into()), "grammar"),
        (json!({"regex": "a+"}), Constraint::Regex("a+".into()), "regex"),
        (json!({"ebnf": "root ::= \"a\""}), Constraint::Grammar("root ::= \"a\"".into()), "ebnf"),
        (json!({"json_schema": text}), json_schema(), "json_schema"),
    ];
    for (body, constraint, param) in cases {
        assert_eq!(read(body.clone()), Ok(Some(Constrained { constraint, path: param.into() })), "{body}");
    }
}

#[test]
fn absent_null_and_empty_ones_leave_the_output_free() {
    for body in [
        json!({}),
        json!({"response_format": null, "guided_json": null, "structured_outputs": null, "grammar": null}),
        json!({"response_format": {"type": "text"}}),
        json!({"grammar": ""}),
        json!({"guided_json": "", "guided_regex": "", "guided_choice": [], "guided_grammar": "", "regex": "", "ebnf": "", "json_schema": ""}),
        json!({"structured_outputs": {}}),
        json!({"structured_outputs": {"json": "", "regex": "", "choice": [], "grammar": "", "json_object": false}}),
    ] {
        assert_eq!(read(body.clone()), Ok(None), "{body}");
    }
}

#[test]
fn two_constraints_are_refused_naming_both() {
    let (param, message) = refusal(json!({"guided_regex": "a", "response_format": {"type": "json_object"}}));
    assert_eq!(param, "guided_regex");
    assert!(message.contains("'response_format'"), "{message}");

    let (param, message) = refusal(json!({"structured_outputs": {"regex": "a", "choice": ["a"]}}));
    assert_eq!(param, "structured_outputs.choice");
    assert!(message.contains("'structured_outputs.regex'"), "{message}");
}

/// guidance sends the fields of old and of new servers.
#[test]
fn the_same_constraint_in_two_fields_is_one() {
    let grammar = "root ::= \"a\"";
    let schema = json!({"type": "object", "properties": {"a": {}}});
    let cases = [
        json!({"guided_grammar": grammar, "structured_outputs": {"grammar": grammar}}),
        json!({"guided_json": schema, "structured_outputs": {"json": "{\"properties\": {\"a\": {}}, \"type\": \"object\"}"}}),
        json!({"guided_regex": "a", "regex": "a", "structured_outputs": {"regex": "a"}}),
        json!({"guided_choice": ["a"], "structured_outputs": {"choice": ["a"]}}),
        json!({"guided_grammar": grammar, "ebnf": grammar, "grammar": grammar}),
    ];
    for body in cases {
        assert!(matches!(read(body.clone()), Ok(Some(_))), "{body}");
    }
    let different = json!({"guided_grammar": grammar, "structured_outputs": {"grammar": "start: \"a\""}});
    assert_eq!(refusal(different).0, "guided_grammar");
}

/// Outlines sends the pattern beside a schema.
#[test]
fn options_about_white_space_are_reported() {
    let body =
        json!({"structured_outputs": {"json": {}, "whitespace_pattern": " ?", "disable_any_whitespace": true}, "whitespace_pattern": "x"});
    let Value::Object(map) = body else { panic!("an object") };
    let mut fields = Fields::new(map);

    assert!(read_constraint(&mut fields).unwrap().is_some());

    let reported = ["whitespace_pattern", "structured_outputs.whitespace_pattern", "structured_outputs.disable_any_whitespace"];
    assert_eq!(fields.finish(), reported);
}

#[test]
fn what_has_the_wrong_shape_is_named_by_its_path() {
    let cases = [
        (json!({"response_format": "json"}), "response_format"),
        (json!({"response_format": {}}), "response_format.type"),
        (json!({"response_format": {"type": 1}}), "response_format.type"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type"),
        (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema.schema"),
        (json!({"response_format": {"type": "json_schema", "json_schema": 1}}), "response_format.json_schema"),
        (json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}), "response_format.json_schema.schema"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x".repeat(1025), "schema": {}}}}),
            "response_format.json_schema.name",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"strict": 1, "schema": {}}}}),
            "response_format.json_schema.strict",
        ),
        (json!({"response_format": {"type": "json_schema", "json_schema": {"schema": [1]}}}), "response_format.json_schema.schema"),
        (json!({"structured_outputs": {"regex": 1}}), "structured_outputs.regex"),
        (json!({"structured_outputs": {"choice": [1]}}), "structured_outputs.choice"),
        (json!({"structured_outputs": {"structural_tag": "x", "regex": "a"}}), "structured_outputs.structural_tag"),
        (json!({"guided_json": [1]}), "guided_json"),
        (json!({"guided_regex": {}}), "guided_regex"),
        (json!({"guided_choice": "a"}), "guided_choice"),
        (json!({"guided_choice": ["a", 1]}), "guided_choice"),
        (json!({"json_schema": 1}), "json_schema"),
        (json!({"grammar": 1}), "grammar"),
    ];
    for (body, expected) in cases {
        assert_eq!(refusal(body.clone()).0, expected, "{body}");
    }
}

#[tokio::test]
async fn what_the_engine_refuses_is_a_400_that_names_the_field() {
    let app = TestApp::start(Setup::default()).await;

    let answer = app.post("/v1/completions", r#"{"model":"tiny","prompt":"a","guided_regex":"refuse me"}"#).await;

    let error: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(error["error"]["param"], "guided_regex");
    assert_eq!(error["error"]["code"], "invalid_value");
    assert_eq!(error["error"]["message"], "Invalid 'guided_regex': it is refused.");
    assert!(app.submitted().is_empty());
}

#[tokio::test]
async fn parts_that_are_not_enforced_are_warnings_and_strict_requests_are_refused_for_them() {
    let app = TestApp::start(Setup::default()).await;
    let body = r#"{"model":"tiny","prompt":"a","guided_regex":"in part","max_tokens":1}"#;

    let answer = app.post("/v1/completions", body).await;
    let strict = Request::post("/v1/completions").header("x-llamero-strict", "1").body(Body::from(body)).unwrap();
    let refused = app.send(strict).await;

    assert_eq!((answer.status, answer.header("x-llamero-warnings")), (StatusCode::OK, "guided_regex: a part is not enforced"));
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains(r#""param":"guided_regex""#), "{}", refused.body);
}

#[tokio::test]
async fn what_the_engine_is_too_busy_for_is_a_503_to_be_tried_again() {
    let app = TestApp::start(Setup::default()).await;

    let answer = app.post("/v1/completions", r#"{"model":"tiny","prompt":"a","guided_regex":"not now"}"#).await;

    let error: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "2");
    assert_eq!(error["error"]["code"], "overloaded");
    assert_eq!(error["error"]["message"], "'guided_regex' could not be compiled now: others are compiled.");
    assert!(app.submitted().is_empty());
}

#[tokio::test]
async fn every_choice_carries_the_constraint_to_the_engine() {
    let app = TestApp::start(Setup::default()).await;

    let answer = app.post("/v1/completions", r#"{"model":"tiny","prompt":["a","b"],"n":2,"guided_choice":["x","y"]}"#).await;

    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let submitted = app.submitted();
    assert_eq!(submitted.len(), 4);
    assert!(submitted.iter().all(|request| request.constraint == Some(Constraint::Choice(vec!["x".into(), "y".into()]))));
    assert_eq!(answer.header("x-llamero-warnings"), "");
}
