//! Every field of completions, and any JSON at all.

use super::*;
use crate::{api::error::ApiError, protocol::Token};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const LIMITS: RequestLimits = RequestLimits { vocabulary_size: 100, max_num_seqs: 16, max_stop_strings: 4 };

/// A request with `prompt: "x"` and these fields.
fn read(body: Value) -> Result<CompletionRequest, FieldError> {
    let Value::Object(mut map) = body else { panic!("{body} is no object") };
    map.entry("prompt").or_insert(json!("x"));
    CompletionRequest::read(Fields::new(map), &LIMITS)
}

fn refused(body: Value) -> FieldError {
    let shown = body.to_string();
    read(body).expect_err(&shown)
}

#[test]
fn a_bare_prompt_gets_openais_defaults() {
    let request = read(json!({})).unwrap();

    assert_eq!(request.prompts, [Prompt::Text("x".into())]);
    assert_eq!((request.max_tokens, request.n, request.logprobs), (None, 1, None));
    assert!(!(request.echo || request.stream || request.include_usage || request.ignore_eos));
    assert!(request.stop.is_empty() && request.unknown.is_empty());
}

#[test]
fn null_in_every_optional_field_equals_absence() {
    let names = [
        "max_tokens",
        "n",
        "best_of",
        "suffix",
        "logprobs",
        "echo",
        "stop",
        "stream",
        "stream_options",
        "seed",
        "user",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "logit_bias",
        "ignore_eos",
        "response_format",
        "structured_outputs",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
        "json_schema",
        "grammar",
    ];
    let body: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();

    assert_eq!(read(Value::Object(body)), read(json!({})));
}

#[test]
fn every_field_is_accepted_at_its_limits_and_refused_past_them() {
    let rows = [
        ("n", vec![json!(1), json!(8), json!(8.0)], vec![json!(0), json!(9), json!("1"), json!(true), json!(1.5)]),
        ("max_tokens", vec![json!(0), json!(i64::MAX), json!(100.0)], vec![json!(-1), json!(1e300), json!("16"), json!(false)]),
        ("logprobs", vec![json!(0), json!(5)], vec![json!(-1), json!(6), json!(true)]),
        ("best_of", vec![json!(1), json!(1.0)], vec![json!(-1), json!(0), json!(2), json!(21), json!("1")]),
        ("suffix", vec![json!("")], vec![json!("x"), json!(1)]),
        ("echo", vec![json!(true), json!(false)], vec![json!(1), json!("true")]),
        ("stream", vec![json!(true), json!(false)], vec![json!(1), json!("true")]),
        ("ignore_eos", vec![json!(true)], vec![json!(1)]),
        ("guided_regex", vec![json!("a+")], vec![json!(1), json!(["a"])]),
        ("guided_choice", vec![json!(["a"])], vec![json!("a"), json!([1])]),
        ("guided_json", vec![json!({}), json!("{}")], vec![json!([]), json!(1)]),
        ("grammar", vec![json!("root ::= \"a\""), json!("")], vec![json!(1)]),
        ("stop", vec![json!("a"), json!(["a", "b", "c", "d"])], vec![json!(""), json!(["a", "b", "c", "d", "e"]), json!(1)]),
        ("temperature", vec![json!(0), json!(2)], vec![json!(-0.1), json!(2.1)]),
        ("logit_bias", vec![json!({"99": 1})], vec![json!({"100": 1})]),
        ("user", vec![json!("me"), json!(5), json!({}), json!("x".repeat(1000))], vec![]),
    ];
    for (name, good, bad) in rows {
        for value in good {
            let request = read(json!({name: value})).unwrap_or_else(|error| panic!("{name} {value}: {error}"));
            assert_eq!(request.unknown, Vec::<String>::new(), "{name}");
        }
        for value in bad {
            assert_eq!(refused(json!({name: value})).param(), Some(name), "{value}");
        }
    }
}

#[test]
fn n_is_limited_by_the_engines_sequences() {
    let limits = RequestLimits { max_num_seqs: 2, ..LIMITS };
    let read = |n: u32| {
        let Value::Object(map) = json!({"prompt": "x", "n": n}) else { unreachable!() };
        CompletionRequest::read(Fields::new(map), &limits)
    };

    assert_eq!(read(2).map(|request| request.n), Ok(2));
    assert_eq!(read(3).unwrap_err().to_string(), "Invalid 'n': expected a value from 1 to 2, but got 3 instead.");
}

#[test]
fn best_of_and_suffix_are_refused_by_name_where_they_would_matter() {
    assert!(read(json!({"n": 3, "best_of": 3})).is_ok());
    let error = refused(json!({"n": 3, "best_of": 4}));
    assert_eq!((error.param(), error.code()), (Some("best_of"), "unsupported_parameter"));
    let error = refused(json!({"suffix": "}"}));
    assert_eq!((error.param(), error.code()), (Some("suffix"), "unsupported_parameter"));
    assert_eq!(error.to_string(), "Unsupported parameter: 'suffix' is not supported yet.");
}

#[test]
fn echo_with_logprobs_is_refused_by_name() {
    let error = refused(json!({"echo": true, "logprobs": 0}));

    assert_eq!((error.param(), error.code()), (Some("logprobs"), "unsupported_parameter"));
    assert!(error.to_string().contains("together with 'echo' is not supported yet"), "{error}");
    assert!(read(json!({"echo": false, "logprobs": 0})).is_ok());
    assert!(read(json!({"echo": true, "logprobs": null})).is_ok());
}

#[test]
fn stream_options_need_a_stream() {
    let request = read(json!({"stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false}})).unwrap();
    assert!(request.stream && request.include_usage && request.unknown.is_empty());
    assert!(!read(json!({"stream": true, "stream_options": {}})).unwrap().include_usage);

    assert_eq!(refused(json!({"stream_options": {"include_usage": true}})).param(), Some("stream_options"));
    assert_eq!(refused(json!({"stream": false, "stream_options": {}})).param(), Some("stream_options"));
    assert_eq!(refused(json!({"stream": true, "stream_options": {"include_usage": 1}})).param(), Some("include_usage"));
}

#[test]
fn unknown_fields_are_accepted_and_named() {
    let request = read(json!({"min_tokens": 5, "guided_backend": {}, "stream": true, "stream_options": {"x": 1}})).unwrap();

    assert_eq!(request.unknown, ["stream_options.x", "min_tokens", "guided_backend"]);
}

#[test]
fn values_arrive_in_the_request() {
    let body = json!({
        "prompt": [[1, 2], [3]], "max_tokens": 0, "n": 2, "stop": "\n", "ignore_eos": true, "logprobs": 3, "stream": true, "seed": -7,
    });
    let request = read(body).unwrap();

    assert_eq!(request.prompts, [Prompt::Tokens(vec![Token(1), Token(2)]), Prompt::Tokens(vec![Token(3)])]);
    assert_eq!((request.max_tokens, request.n, request.logprobs), (Some(0), 2, Some(3)));
    assert_eq!((request.stop, request.sampling.seed), (vec!["\n".to_owned()], Some(-7)));
    assert!(request.ignore_eos && request.stream);
}

/// Any JSON value, a few levels deep, with numbers and strings that fields like.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..110).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[0-9]{1,3}|include_usage|.{0,3}", inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![
        "n|max_tokens|temperature|top_p|top_k|min_p|seed|stop|echo|stream|logprobs|best_of|suffix|logit_bias",
        "presence_penalty|frequency_penalty|repetition_penalty|ignore_eos|stream_options|user|prompt|.{0,6}",
        "response_format|structured_outputs|guided_json|guided_regex|guided_choice|guided_grammar|json_schema|grammar",
    ];
    prop::collection::btree_map(name, any_json(), 0..6).prop_map(|entries| entries.into_iter().collect())
}

proptest! {
    #[test]
    fn any_json_is_a_request_within_the_limits_or_a_400_with_its_param(body in any_body(), with_prompt in any::<bool>()) {
        let mut body = body;
        if with_prompt {
            body.insert("prompt".to_owned(), json!("x"));
        }
        match CompletionRequest::read(Fields::new(body), &LIMITS) {
            Ok(request) => {
                prop_assert!((1..=32).contains(&request.prompts.len()) && (1..=8).contains(&request.n));
                prop_assert!(request.stop.len() <= 4 && request.stop.iter().all(|stop| !stop.is_empty()));
                let params = request.sampling.for_choice(0, 0);
                prop_assert!((0.0..=2.0).contains(&params.temperature) && params.top_p > 0.0 && params.top_p <= 1.0);
                prop_assert!(params.logit_bias.iter().all(|(token, bias)| token.0 < 100 && bias.abs() <= 100.0));
            }
            Err(fault) => {
                let error = ApiError::from(fault);
                prop_assert_eq!(error.status().as_u16(), 400);
                prop_assert!(error.param().is_some());
            }
        }
    }

    #[test]
    fn any_bytes_are_an_object_or_a_400(body in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Err(fault) = Fields::parse(&body) {
            prop_assert_eq!(ApiError::from(fault).status().as_u16(), 400);
        }
    }
}
