//! Request bodies against the answers of real FastAPI (`tests/fixtures/generate.jsonl`), and the deliberate
//! differences.

use super::*;
use axum::http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value, json};

const GOLDEN: &str = include_str!("../../../../tests/fixtures/generate.jsonl");

fn read(content_type: Option<&str>, body: &[u8]) -> Result<GenerateRequest, Refusal> {
    let mut headers = HeaderMap::new();
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(content_type).unwrap());
    }
    GenerateRequest::read(&headers, body, 16)
}

fn read_json(body: &str) -> Result<GenerateRequest, Refusal> {
    read(Some("application/json"), body.as_bytes())
}

/// FastAPI's echo of an accepted request, with the default in place of null.
fn accepted(echo: &Value) -> GenerateRequest {
    let number = |name: &str, default: f64| echo[name].as_f64().unwrap_or(default);
    let stop = echo["stop"].as_array().cloned().unwrap_or_default();
    GenerateRequest {
        prompt: echo["prompt"].as_str().unwrap().to_owned(),
        // A number too large for 64 bits counts as the largest one.
        max_tokens: if echo["max_tokens"].is_null() { 100 } else { echo["max_tokens"].as_u64().unwrap_or(i64::MAX.unsigned_abs()) },
        temperature: number("temperature", 0.7) as f32,
        top_p: number("top_p", 0.9) as f32,
        stop: stop.iter().map(|stop| stop.as_str().unwrap().to_owned()).collect(),
        ignored: Ignored::default(),
    }
}

#[test]
fn every_body_is_answered_as_fastapi_answered_it() {
    let mut cases = 0;
    for line in GOLDEN.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (body, answer) = (case["body"].as_str().unwrap(), case["answer"].as_str().unwrap());

        let ours = read(case["content_type"].as_str(), body.as_bytes());

        match case["status"].as_u64().unwrap() {
            200 => assert_eq!(ours, Ok(accepted(&serde_json::from_str(answer).unwrap())), "{body}"),
            status => {
                let refusal = Refusal { status: StatusCode::try_from(u16::try_from(status).unwrap()).unwrap(), body: answer.to_owned() };
                assert_eq!(ours, Err(refusal), "{body}");
            }
        }
        cases += 1;
    }
    assert_eq!(cases, 100);
}

#[test]
fn numbers_without_a_json_form_are_a_422_where_fastapi_fails_to_echo_them() {
    for (value, input) in [("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "-Infinity"), ("1e400", "Infinity")] {
        for field in ["temperature", "top_p", "max_tokens"] {
            let refusal = read_json(&format!(r#"{{"prompt":"a","{field}":{value}}}"#)).unwrap_err();

            let expected = json!({"detail": [{"type": "finite_number", "loc": ["body", field], "msg": "Input should be a finite number", "input": input}]});
            assert_eq!((refusal.status.as_u16(), refusal.body), (422, expected.to_string()), "{field} {value}");
        }
    }
}

#[test]
fn what_is_no_text_or_too_deep_or_too_long_a_number_is_a_400() {
    let deep = format!(r#"{{"prompt":"a","x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    let digits = format!(r#"{{"prompt":"a","max_tokens":{}}}"#, "1".repeat(4301));

    for body in [b"{\"prompt\":\"\xe9\"}".as_slice(), deep.as_bytes(), digits.as_bytes()] {
        for content_type in [None, Some("application/json")] {
            let refusal = read(content_type, body).unwrap_err();
            assert_eq!((refusal.status.as_u16(), refusal.body.as_str()), (400, UNREADABLE));
        }
    }
    assert_eq!(read(Some("text/plain"), b"\xff").unwrap_err().status, 400);
    let just_deep_enough = format!(r#"{{"prompt":"a","x":{}{}}}"#, "[".repeat(63), "]".repeat(63));
    assert!(read_json(&just_deep_enough).is_ok());
}

#[test]
fn fields_that_mean_nothing_here_are_ignored_and_named() {
    let request = read_json(r#"{"stream":true,"prompt":"a","n":4,"max_tokens":null,"Stop":[]}"#).unwrap();

    assert_eq!(request.ignored, ["stream", "n", "Stop"]);
}

#[test]
fn stop_strings_are_bounded_by_their_bytes_together() {
    let body = |count| json!({"prompt": "a", "stop": vec!["\u{20ac}".repeat(256); count]}).to_string();
    let read = |count| GenerateRequest::read(&HeaderMap::new(), body(count).as_bytes(), 64);

    assert_eq!(read(21).unwrap().stop.len(), 21);
    let refusal = read(22).unwrap_err();
    assert_eq!(refusal.status, 422);
    let detail = &serde_json::from_str::<Value>(&refusal.body).unwrap()["detail"][0];
    assert_eq!((&detail["type"], &detail["loc"]), (&json!("value_error"), &json!(["body", "stop"])));
    assert_eq!(detail["msg"], "Value error, List should have at most 16384 bytes in all items together, not 16896");
}

#[test]
fn a_temperature_too_large_for_32_bits_is_the_largest_there_is() {
    assert_eq!(read_json(r#"{"prompt":"a","temperature":1e300}"#).unwrap().temperature, f32::MAX);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_with_json(body in proptest::collection::vec(any::<u8>(), 0..64), is_json in any::<bool>()) {
        if let Err(refusal) = read(is_json.then_some("application/json"), &body) {
            prop_assert!(serde_json::from_str::<Value>(&refusal.body).is_ok(), "{}", refusal.body);
        }
    }

    #[test]
    fn any_values_of_the_fields_are_read_within_their_ranges_or_refused_with_json(
        values in proptest::collection::vec("null|true|-?[0-9]{1,20}|-?[0-9]\\.[0-9]{1,3}(e[0-9]{1,3})?|NaN|\"[ -~é]{0,4}\"|\\[(\"a\"|1)?\\]|\\{\\}", 5)
    ) {
        let names = ["prompt", "max_tokens", "temperature", "top_p", "stop"];
        let members: Vec<String> = names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        match read_json(&format!("{{{}}}", members.join(","))) {
            Ok(request) => {
                prop_assert!(request.max_tokens >= 1);
                prop_assert!(request.temperature >= 0.0 && request.temperature.is_finite());
                prop_assert!((0.0..=1.0).contains(&request.top_p));
            }
            Err(refusal) => prop_assert!(serde_json::from_str::<Value>(&refusal.body).is_ok(), "{}", refusal.body),
        }
    }
}
