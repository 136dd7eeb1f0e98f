//! Every field of completions, and any JSON at all.

use super::*;
use crate::{api::error::ApiError, protocol::Token};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const LIMITS: RequestLimits = RequestLimits { vocabulary_size: 100, max_num_seqs: 16, max_stop_strings: 4, max_logprobs: None };

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
    assert_eq!((request.limit, request.n, request.logprobs), (None, 1, None));
    assert!(!(request.echo || request.stream || request.include_usage || request.ending.ignore_eos));
    assert!(request.ending.strings.is_empty() && request.unknown.is_empty());
    assert_eq!(read(json!({"min_tokens": 100})).unwrap().ending.min_tokens, 16, "the default limit holds too");
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
        ("max_tokens", vec![json!(-1), json!(0), json!(i64::MAX), json!(100.0)], vec![json!(-2), json!(1e300), json!("16"), json!(false)]),
        ("logprobs", vec![json!(0), json!(5)], vec![json!(-1), json!(true)]),
        ("best_of", vec![json!(0), json!(1), json!(8.0)], vec![json!(-1), json!(9), json!("1")]),
        ("prompt_logprobs", vec![json!(0), json!(5)], vec![json!(-1), json!(true)]),
        ("return_token_ids", vec![json!(true)], vec![json!(1)]),
        ("add_special_tokens", vec![json!(false)], vec![json!("no")]),
        ("min_tokens", vec![json!(0), json!(5)], vec![json!(-1), json!("5")]),
        ("suffix", vec![json!(""), json!("x")], vec![json!(1)]),
        ("echo", vec![json!(true), json!(false)], vec![json!(1), json!("true")]),
        ("stream", vec![json!(true), json!(false)], vec![json!(1), json!("true")]),
        ("ignore_eos", vec![json!(true)], vec![json!(1)]),
        ("guided_regex", vec![json!("a+")], vec![json!(1), json!(["a"])]),
        ("guided_choice", vec![json!(["a"])], vec![json!("a"), json!([1])]),
        ("guided_json", vec![json!({}), json!("{}")], vec![json!([]), json!(1)]),
        ("grammar", vec![json!("root ::= \"a\""), json!("")], vec![json!(1)]),
        ("stop", vec![json!("a"), json!(["a", "b", "c", "d"])], vec![json!(["a", "b", "c", "d", "e"]), json!(1)]),
        ("temperature", vec![json!(0), json!(2)], vec![json!(-0.1), json!(2.1)]),
        ("logit_bias", vec![json!({"99": 1})], vec![json!({"x": 1})]),
        ("user", vec![json!("me"), json!(5), json!({}), json!("x".repeat(1000))], vec![]),
    ];
    for (name, good, bad) in rows {
        for value in good {
            let request = read(json!({name: value})).unwrap_or_else(|error| panic!("{name} {value}: {error}"));
            assert_eq!(request.unknown, [""; 0], "{name}");
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
fn best_of_is_at_least_n_and_has_no_stream() {
    let read = |body| read(body).map(|request| (request.n, request.best_of));

    assert_eq!(read(json!({"n": 3, "best_of": 4})), Ok((3, 4)));
    assert_eq!(read(json!({"n": 3, "best_of": 0})), Ok((3, 3)));
    assert_eq!(read(json!({"n": 3, "best_of": 3, "stream": true})), Ok((3, 3)));
    for body in [json!({"n": 3, "best_of": 2}), json!({"n": 1, "best_of": 2, "stream": true})] {
        let error = refused(body);
        assert_eq!((error.param(), error.code()), (Some("best_of"), "invalid_value"));
    }
}

#[test]
fn what_would_change_the_result_and_is_not_there_is_refused_by_name() {
    for name in ["allowed_token_ids", "bad_words", "logits_processors", "prompt_embeds"] {
        let error = refused(json!({name: ["x"]}));
        assert_eq!((error.param(), error.code()), (Some(name), "unsupported_parameter"));
        assert!(read(json!({name: []})).is_ok() && read(json!({name: null})).is_ok(), "{name}");
    }
    assert_eq!(refused(json!({"use_beam_search": true})).param(), Some("use_beam_search"));
}

#[test]
fn a_suffix_needs_prompts_of_text_and_an_empty_one_is_none() {
    let suffix = |body| read(body).map(|request| request.suffix);

    assert_eq!(suffix(json!({"suffix": "}"})), Ok(Some("}".to_owned())));
    assert_eq!(suffix(json!({"suffix": "}", "prompt": ["a", "b"]})), Ok(Some("}".to_owned())));
    assert_eq!(suffix(json!({"suffix": "", "prompt": [1, 2]})), Ok(None));
    assert_eq!(suffix(json!({"suffix": null})), Ok(None));
    for body in [
        json!({"suffix": "}", "prompt": [1, 2]}),
        json!({"suffix": "}", "prompt": [[1], [2]]}),
        json!({"suffix": "}", "truncate_prompt_tokens": 5}),
        json!({"suffix": "}", "echo": true, "logprobs": 0}),
    ] {
        assert_eq!(refused(body).param(), Some("suffix"));
    }
}

#[test]
fn prompts_are_scored_for_prompt_logprobs_and_for_logprobs_with_echo() {
    let scores = |body| read(body).unwrap().scores_prompts();

    assert_eq!(scores(json!({"logprobs": 3})), None);
    assert_eq!(scores(json!({"echo": true})), None);
    assert_eq!(scores(json!({"echo": true, "logprobs": 0})), Some(0));
    assert_eq!(scores(json!({"echo": true, "logprobs": 1, "prompt_logprobs": 4})), Some(4));
    assert_eq!(scores(json!({"logprobs": 5, "prompt_logprobs": 0})), Some(0));
    assert_eq!(refused(json!({"prompt_logprobs": 1, "stream": true})).param(), Some("prompt_logprobs"));
}

#[test]
fn truncation_keeps_some_tokens_or_what_fits() {
    let truncation = |body| read(body).unwrap().encoding.truncation;

    assert_eq!(truncation(json!({})), PromptTruncation::None);
    assert_eq!(truncation(json!({"truncate_prompt_tokens": 5})), PromptTruncation::Keep(5));
    assert_eq!(truncation(json!({"truncate_prompt_tokens": -1})), PromptTruncation::Fit);
    for bad in [json!(0), json!(-2), json!("5")] {
        assert_eq!(refused(json!({"truncate_prompt_tokens": bad})).param(), Some("truncate_prompt_tokens"));
    }
}

#[test]
fn more_alternatives_than_may_be_reported_are_reduced_and_reported() {
    let mut request = read(json!({"logprobs": 6, "prompt_logprobs": 1_000_000})).unwrap();

    assert_eq!((request.logprobs, request.prompt_logprobs), (Some(5), Some(5)));
    let texts: Vec<String> = request.unknown.take_changed().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["prompt_logprobs was reduced to 5", "logprobs was reduced to 5"]);
}

#[test]
fn stream_options_have_no_effect_without_a_stream() {
    let request = read(json!({"stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false}})).unwrap();
    assert!(request.stream && request.include_usage && request.unknown.is_empty());
    assert!(!read(json!({"stream": true, "stream_options": {}})).unwrap().include_usage);

    for body in [json!({"stream_options": {"include_usage": true}}), json!({"stream": false, "stream_options": {}})] {
        let request = read(body).unwrap();
        assert_eq!((request.include_usage, request.unknown == ["stream_options"]), (false, true));
    }
    assert_eq!(refused(json!({"stream_options": 1})).param(), Some("stream_options"));
    assert_eq!(refused(json!({"stream": true, "stream_options": {"include_usage": 1}})).param(), Some("stream_options.include_usage"));
}

#[test]
fn unknown_fields_are_accepted_and_named() {
    let request = read(json!({"min_token": 5, "guided_backend": {}, "stream": true, "stream_options": {"x": 1}})).unwrap();

    assert_eq!(request.unknown, ["stream_options.x", "min_token", "guided_backend"]);
}

#[test]
fn values_arrive_in_the_request() {
    let body = json!({
        "prompt": [[1, 2], [3]], "max_tokens": 0, "n": 2, "stop": "\n", "ignore_eos": true, "logprobs": 3, "stream": true, "seed": -7,
    });
    let request = read(body).unwrap();

    assert_eq!(request.prompts, [Prompt::Tokens(vec![Token(1), Token(2)]), Prompt::Tokens(vec![Token(3)])]);
    assert_eq!((request.limit, request.n, request.logprobs), (Some(TokenLimit::at_most("max_tokens", 0)), 2, Some(3)));
    assert_eq!((request.ending.strings, request.sampling.seed), (vec!["\n".to_owned()], Some(-7)));
    assert!(request.ending.ignore_eos && request.stream);
}

/// Any JSON value, a few levels deep, with numbers and strings that fields accept.
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
        "best_of|min_tokens|stop_token_ids|prompt_logprobs|truncate_prompt_tokens|presence_penalty|frequency_penalty|repetition_penalty|ignore_eos|stream_options|user|prompt|.{0,6}",
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
                prop_assert!(request.ending.strings.len() <= 4 && request.ending.strings.iter().all(|stop| !stop.is_empty()));
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
