//! llama-server's fields and defaults.

use super::*;
use crate::protocol::SamplingParams;
use serde_json::json;

const LIMITS: InfillLimits = InfillLimits { vocabulary_size: 100, max_stop_strings: 4 };

fn read(body: Value) -> Result<InfillRequest, FieldError> {
    let Value::Object(mut map) = body else { panic!("{body} is no object") };
    map.entry("input_prefix").or_insert(json!("p"));
    map.entry("input_suffix").or_insert(json!("s"));
    InfillRequest::read(Fields::new(map), &LIMITS)
}

fn sampling(body: Value) -> SamplingParams {
    read(body).unwrap().sampling.for_choice(0, 0)
}

#[test]
fn the_defaults_are_llama_servers() {
    let expected = SamplingParams { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, ..SamplingParams::default() };
    assert_eq!(sampling(json!({})), expected);

    let request = read(json!({})).unwrap();
    assert_eq!((request.limit.tokens(), request.time_limit, request.stream), (None, None, false));
    assert!(request.unknown.is_empty() && request.includes("prompt") && request.includes("timings"));
}

#[test]
fn samplers_that_are_not_listed_are_off_and_those_that_are_not_here_are_reported() {
    let body = json!({"samplers": ["top_k", "top_p", "infill"], "top_k": 30, "temperature": 0.1, "repeat_penalty": 2, "typ_p": 0.5});
    let request = read(body).unwrap();

    let expected = SamplingParams { temperature: 1.0, top_k: 30, top_p: 0.95, min_p: 0.0, ..SamplingParams::default() };
    assert_eq!(request.sampling.for_choice(0, 0), expected);
    assert_eq!(request.unknown, ["samplers.infill"]);
    let none = SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplingParams::default() };
    assert_eq!(sampling(json!({"samplers": []})), none);
    let typical = SamplingParams { typical_p: 0.5, ..none };
    assert_eq!(sampling(json!({"samplers": ["typ_p"], "typ_p": 0.5})), typical);
}

#[test]
fn the_prompt_is_the_line_before_the_cursor() {
    let texts = read(json!({"input_prefix": "a\n", "prompt": "  b", "input_suffix": "c"})).unwrap().take_texts();

    assert_eq!(texts, Texts { prefix: "a\n  b".into(), suffix: "c".into(), extra: vec![] });
}

#[test]
fn values_that_mean_nothing_are_not_reported() {
    let nothing = json!({
        "n_predict": -1, "seed": -1, "t_max_predict_ms": 0, "n_indent": 0, "id_slot": -1, "cache_prompt": true, "grammar": "",
        "n_probs": 0, "lora": [], "n_cmpl": 1, "timings_per_token": false, "repeat_penalty": 1.0
    });
    let request = read(nothing).unwrap();
    assert_eq!((request.unknown.len(), request.limit.tokens(), request.sampling.seed), (0, None, None));

    let something = read(json!({"n_indent": 4, "cache_prompt": false, "t_max_prompt_ms": 500, "foo": 1})).unwrap();
    assert_eq!(something.unknown, ["cache_prompt", "n_indent", "t_max_prompt_ms", "foo"]);
}

#[test]
fn what_is_set_is_taken() {
    let request = read(json!({
        "n_predict": 7, "seed": 5, "t_max_predict_ms": 250, "repeat_penalty": 1.5, "response_fields": ["content", "timings/prompt_n"],
        "input_extra": [{"filename": "a.c", "text": "x"}, {}]
    }));

    let mut request = request.unwrap();
    assert_eq!((request.limit.tokens(), request.sampling.seed, request.time_limit), (Some(7), Some(5), Some(Duration::from_millis(250))));
    assert_eq!(request.sampling.for_choice(0, 5).repetition_penalty, 1.5);
    assert!(request.includes("timings") && !request.includes("prompt"));
    let file = |filename: &str, text: &str| ExtraFile { filename: filename.into(), text: text.into() };
    assert_eq!(request.take_texts().extra, [file("a.c", "x"), file("tmp", "")]);
}

#[test]
fn max_tokens_is_another_name_of_n_predict_which_counts_if_both_are_sent() {
    let limit = |body| {
        let request = read(body).unwrap();
        (request.limit.field, request.limit.tokens(), request.unknown.len())
    };

    assert_eq!(limit(json!({"max_tokens": 5})), ("max_tokens", Some(5), 0));
    assert_eq!(limit(json!({"max_tokens": -1})), ("max_tokens", None, 0));
    assert_eq!(limit(json!({"max_tokens": 5, "n_predict": 5})), ("n_predict", Some(5), 0));
    assert_eq!(limit(json!({"max_tokens": 5, "n_predict": 6})), ("n_predict", Some(6), 1));
}

#[test]
fn too_many_of_anything_are_refused() {
    for (field, value) in [
        ("input_extra", json!(vec![json!({}); 129])),
        ("samplers", json!(vec!["x"; 65])),
        ("response_fields", json!(vec!["x"; 65])),
        ("stop", json!(["1", "2", "3", "4", "5"])),
        ("json_schema", json!({"type": "object"})),
        ("n_cmpl", json!(2)),
        ("repeat_penalty", json!(0)),
        ("mirostat", json!(2)),
    ] {
        assert_eq!(read(json!({field: value})).unwrap_err().param(), Some(field), "{field}");
    }
}

#[test]
fn a_fault_in_a_file_names_the_file() {
    for (files, path) in [(json!([{}, {"text": 1}]), "input_extra[1].text"), (json!([{"filename": []}]), "input_extra[0].filename")] {
        assert_eq!(read(json!({"input_extra": files})).unwrap_err().param(), Some(path));
    }
}
