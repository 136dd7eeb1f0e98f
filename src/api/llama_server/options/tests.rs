//! llama-server's fields and defaults, and the values that it takes and OpenAI's routes refuse.

use super::*;
use crate::protocol::{Constraint, SamplingParams, Token};
use serde_json::json;

const LIMITS: RequestLimits = RequestLimits { vocabulary_size: 100, max_num_seqs: 8, max_stop_strings: 4, max_logprobs: None };

fn read(body: Value) -> Result<SharedOptions, FieldError> {
    let Value::Object(map) = body else { panic!("{body} is no object") };
    SharedOptions::read(Fields::new(map), &LIMITS)
}

fn sampling(body: Value) -> SamplingParams {
    read(body).unwrap().sampling.for_choice(0, 0)
}

#[test]
fn the_defaults_are_llama_servers() {
    let expected =
        SamplingParams { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, repeat_last_n: Some(64), ..SamplingParams::default() };
    assert_eq!(sampling(json!({})), expected);

    let options = read(json!({})).unwrap();
    assert_eq!((options.limit.tokens(), options.n, options.time_limit, options.stream, options.n_probs), (None, 1, None, false, None));
    assert!(options.unknown.is_empty() && options.view.includes("prompt") && options.view.includes("timings"));
}

#[test]
fn samplers_that_are_not_listed_are_off_and_those_that_are_not_here_are_reported() {
    let body = json!({"samplers": ["top_k", "top_p", "infill"], "top_k": 30, "temperature": 0.1, "repeat_penalty": 2, "typ_p": 0.5});
    let options = read(body).unwrap();

    let expected = SamplingParams { temperature: 1.0, top_k: 30, top_p: 0.95, min_p: 0.0, ..SamplingParams::default() };
    assert_eq!(options.sampling.for_choice(0, 0), expected);
    assert_eq!(options.unknown, ["samplers.infill"]);
    let none = SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplingParams::default() };
    assert_eq!(sampling(json!({"samplers": []})), none);
    let typical = SamplingParams { typical_p: 0.5, ..none };
    assert_eq!(sampling(json!({"samplers": ["typ_p"], "typ_p": 0.5})), typical);
}

/// llama.vscode sends `edkypmxt`.
#[test]
fn samplers_may_be_letters() {
    let body = |samplers: Value| json!({"samplers": samplers, "top_k": 30, "temperature": 0.1, "typ_p": 0.5});

    assert_eq!(sampling(body(json!("kt?"))), sampling(body(json!(["top_k", "temperature"]))));
    assert_eq!(sampling(body(json!("k".repeat(99) + "t"))), sampling(body(json!("kt"))));
    assert_eq!(read(json!({"samplers": "k?t?z"})).unwrap().unknown, ["samplers.?", "samplers.z"]);
    assert_eq!(sampling(json!({"samplers": "edkypmxt"})), sampling(json!({})));
    assert_eq!(read(json!({"samplers": "kia"})).unwrap().unknown, ["samplers.infill", "samplers.adaptive_p"]);
}

#[test]
fn values_that_mean_nothing_are_not_reported() {
    let nothing = json!({
        "n_predict": -1, "seed": -1, "t_max_predict_ms": 0, "n_indent": 0, "id_slot": -1, "cache_prompt": true, "grammar": "",
        "json_schema": "", "n_probs": 0, "lora": [], "n_cmpl": 1, "n": 1, "timings_per_token": false, "repeat_penalty": 1.0,
        "mirostat": 0, "stop": ["", ""], "logit_bias": []
    });
    let options = read(nothing).unwrap();
    assert_eq!((options.unknown.len(), options.limit.tokens(), options.sampling.seed), (0, None, None));
    assert_eq!((options.changes.len(), options.ending.strings.len(), options.constraint), (0, 0, None));

    let something =
        read(json!({"n_indent": 4, "cache_prompt": false, "t_max_prompt_ms": 500, "foo": 1, "lora": [{"id": 0}], "mirostat": 2}));
    assert_eq!(something.unwrap().unknown, ["cache_prompt", "n_indent", "t_max_prompt_ms", "lora", "foo", "mirostat"]);
}

#[test]
fn what_is_set_is_taken() {
    let options = read(json!({
        "n_predict": 7, "seed": 5, "t_max_predict_ms": 250, "repeat_penalty": 1.5, "response_fields": ["content", "timings/prompt_n"],
        "n_probs": 3, "n_cmpl": 2, "timings_per_token": true, "stop": ["", "x"], "json_schema": {"type": "object"}
    }));

    let options = options.unwrap();
    assert_eq!((options.limit.tokens(), options.sampling.seed, options.time_limit), (Some(7), Some(5), Some(Duration::from_millis(250))));
    assert_eq!((options.n_probs, options.n, &options.ending.strings[..]), (Some(3), 2, &["x".to_owned()][..]));
    assert_eq!(options.sampling.for_choice(0, 5).repetition_penalty, 1.5);
    assert!(options.view.includes("timings") && !options.view.includes("prompt") && options.view.timings_per_token);
    let constraint = options.constraint.map(|constrained| constrained.constraint);
    assert_eq!(constraint, Some(Constraint::JsonSchema(r#"{"type":"object"}"#.into())));
}

/// Twinny sends `max_tokens` alone, SillyTavern both.
#[test]
fn n_predict_has_another_name_and_counts_where_they_differ() {
    let of = |body: Value| read(body).map(|options| (options.limit.tokens(), options.unknown.len())).unwrap();

    assert_eq!(of(json!({"max_tokens": 5})), (Some(5), 0));
    assert_eq!(of(json!({"max_tokens": 5, "n_predict": 5})), (Some(5), 0));
    assert_eq!(of(json!({"max_tokens": 6, "n_predict": 5})), (Some(5), 1));
    assert_eq!(of(json!({"max_tokens": -1})), (None, 0));
}

#[test]
fn n_cmpl_has_another_name_and_counts_where_they_differ() {
    let of = |body: Value| read(body).map(|options| (options.n, options.unknown.len())).unwrap();

    assert_eq!(of(json!({"n": 2})), (2, 0));
    assert_eq!(of(json!({"n": 2, "n_cmpl": 2})), (2, 0));
    assert_eq!(of(json!({"n": 2, "n_cmpl": 3})), (3, 1));
}

#[test]
fn numbers_outside_of_their_range_are_moved_into_it_and_reported() {
    let options = read(json!({"temperature": 5, "top_p": 1.5, "repeat_penalty": 0, "n_probs": 50, "xtc_threshold": 0.2})).unwrap();

    let names: Vec<&str> = options.changes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["temperature", "top_p", "repeat_penalty", "n_probs"]);
    assert_eq!(options.changes[0].1, "temperature was changed to 2, the nearest value that is accepted");
    let params = options.sampling.for_choice(0, 0);
    assert_eq!((params.temperature, params.top_p, params.repetition_penalty, options.n_probs), (2.0, 1.0, 0.01, Some(20)));
}

/// SillyTavern sends biases and bans in this form.
#[test]
fn biases_may_be_a_list() {
    let options = read(json!({"logit_bias": [[5, 1.5], [6, false], ["word", 2]]})).unwrap();

    assert_eq!(options.sampling.for_choice(0, 0).logit_bias, [(Token(5), 1.5), (Token(6), -100.0)]);
    assert_eq!(options.changes[0].1, "logit_bias: 1 entries with a text instead of a token id had no effect");
    for bad in [json!([5]), json!([[5]]), json!([[5, 1, 2]]), json!([[5, "x"]])] {
        assert_eq!(read(json!({"logit_bias": bad})).unwrap_err().param(), Some("logit_bias"), "{bad}");
    }
}

#[test]
fn biases_beyond_the_range_are_moved_and_those_of_no_token_are_counted() {
    let biases = json!({"5": 1000, "6": -1e9, "7": false, "8": 2, "100": 1, "-1": 1, "4294967296": 1, "word": 1});
    let options = read(json!({"logit_bias": biases})).unwrap();

    let expected = [(Token(5), 100.0), (Token(6), -100.0), (Token(7), -100.0), (Token(8), 2.0)];
    assert_eq!(options.sampling.for_choice(0, 0).logit_bias, expected);
    let changes: Vec<&str> = options.changes.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        changes,
        [
            "logit_bias: 1 entries with a text instead of a token id had no effect",
            "logit_bias: 3 entries with a token id outside the vocabulary had no effect",
            "logit_bias: 2 biases were changed to -100 or 100, the nearest numbers that are accepted",
        ]
    );
    assert!(sampling(json!({"logit_bias": [[100, 1]]})).logit_bias.is_empty());
}

#[test]
fn sequence_breakers_that_cannot_be_used_are_left_out_and_counted() {
    let of = |breakers: Value| {
        let options = read(json!({"dry_multiplier": 1, "dry_sequence_breakers": breakers})).unwrap();
        let changes: Vec<String> = options.changes.into_iter().map(|(_, text)| text).collect();
        (options.sampling.for_choice(0, 0).dry.unwrap().sequence_breakers, changes.join(""))
    };

    assert_eq!(of(json!(["", "a"])), (vec!["a".to_owned()], String::new()));
    let told = "dry_sequence_breakers: 1 strings were left out; at most 16 of at most 40 bytes are used";
    assert_eq!(of(json!(["x".repeat(41), "a"])), (vec!["a".to_owned()], told.to_owned()));
    let many: Vec<String> = (0..17).map(|number| number.to_string()).collect();
    assert_eq!(of(json!(many)), (many[..16].to_vec(), told.to_owned()));
    assert_eq!(read(json!({"dry_sequence_breakers": [1]})).unwrap_err().param(), Some("dry_sequence_breakers"));
}

/// llama-server reads `typical_p` and `repeat_penalty`.
#[test]
fn of_two_names_with_two_values_one_counts_and_the_other_is_reported() {
    let options = read(json!({"typical_p": 0.5, "typ_p": 0.6, "repeat_penalty": 1.5, "repetition_penalty": 1.1})).unwrap();

    let params = options.sampling.for_choice(0, 0);
    assert_eq!((params.typical_p, params.repetition_penalty), (0.5, 1.5));
    assert_eq!(options.changes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["typ_p", "repetition_penalty"]);
    assert_eq!(options.changes[0].1, "typ_p had no effect, because typical_p is another number");
    assert!(read(json!({"typical_p": 1, "typ_p": 1.0})).unwrap().changes.is_empty());
}

#[test]
fn what_means_nothing_is_refused_by_its_name() {
    for (field, value) in [
        ("samplers", json!(vec!["x"; 65])),
        ("samplers", json!([1])),
        ("response_fields", json!(vec!["x"; 65])),
        ("stop", json!(["1", "2", "3", "4", "5"])),
        ("n_cmpl", json!(9)),
        ("temperature", json!("hot")),
        ("grammar", json!(1)),
        ("stream", json!(1)),
    ] {
        assert_eq!(read(json!({field: value})).unwrap_err().param(), Some(field), "{field}");
    }
}
