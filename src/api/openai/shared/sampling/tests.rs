//! Every sampling field at its limits and one past them.

use super::*;
use crate::api::fields::FieldFault;
use serde_json::json;

const VOCABULARY: u32 = 1000;

fn read(body: Value) -> Result<Sampling, FieldError> {
    let Value::Object(map) = body else { panic!("{body} is no object") };
    Sampling::read(&mut Fields::new(map), VOCABULARY)
}

fn params(body: Value) -> SamplingParams {
    read(body).unwrap().for_choice(0, 0)
}

fn stop(value: Value) -> Result<Vec<String>, FieldError> {
    read_stop(&mut Fields::new([("stop".to_owned(), value)].into_iter().collect()), 4)
}

#[test]
fn the_defaults_are_openais() {
    assert_eq!(read(json!({})).unwrap(), Sampling { params: SamplingParams::default(), seed: None });
}

#[test]
fn every_number_is_accepted_at_its_limits_and_refused_past_them() {
    let rows = [
        ("temperature", json!(0), json!(2), json!(-0.01), json!(2.01)),
        ("top_p", json!(0), json!(1), json!(-0.01), json!(1.01)),
        ("top_k", json!(-1), json!(2_147_483_647), json!(-2), json!(2_147_483_648_u32)),
        ("min_p", json!(0), json!(1), json!(-0.01), json!(1.01)),
        ("presence_penalty", json!(-2), json!(2), json!(-2.01), json!(2.01)),
        ("frequency_penalty", json!(-2), json!(2), json!(-2.01), json!(2.01)),
        ("repetition_penalty", json!(0.01), json!(10), json!(0), json!(10.01)),
        ("repeat_penalty", json!(0.01), json!(10), json!(0), json!(10.01)),
        ("repeat_last_n", json!(-1), json!(2_147_483_647), json!(-2), json!(2_147_483_648_u32)),
        ("typical_p", json!(0), json!(1), json!(-0.01), json!(1.01)),
        ("typ_p", json!(0), json!(1), json!(-0.01), json!(1.01)),
        ("top_n_sigma", json!(-1), json!(100), json!(-1.01), json!(100.01)),
        ("xtc_probability", json!(0), json!(1), json!(-0.01), json!(1.01)),
        ("xtc_threshold", json!(0), json!(1), json!(-0.01), json!(1.01)),
        ("dynatemp_range", json!(0), json!(2), json!(-0.01), json!(2.01)),
        ("dynatemp_exponent", json!(0), json!(10), json!(-0.01), json!(10.01)),
        ("dry_multiplier", json!(0), json!(100), json!(-0.01), json!(100.01)),
        ("dry_base", json!(1), json!(100), json!(0.99), json!(100.01)),
        ("dry_allowed_length", json!(1), json!(2_147_483_647), json!(0), json!(2_147_483_648_u32)),
        ("dry_penalty_last_n", json!(-1), json!(2_147_483_647), json!(-2), json!(2_147_483_648_u32)),
        ("mirostat_tau", json!(0), json!(1000), json!(-0.01), json!(1000.1)),
        ("mirostat_eta", json!(0), json!(1000), json!(-0.01), json!(1000.1)),
        ("seed", json!(i64::MIN), json!(i64::MAX), json!(-1e300), json!(u64::MAX)),
    ];
    for (name, lowest, highest, below, above) in rows {
        for good in [lowest, highest, Value::Null] {
            assert!(read(json!({name: good})).is_ok(), "{name}: {good}");
        }
        for bad in [below, above] {
            let error = read(json!({name: bad})).unwrap_err();
            assert!(matches!(error.fault, FieldFault::OutOfRange { .. }) && error.param() == Some(name), "{name}: {bad}: {error}");
        }
        let error = read(json!({name: "1"})).unwrap_err();
        assert!(matches!(error.fault, FieldFault::WrongType { .. }) && error.param() == Some(name), "{name}: {error}");
    }
}

#[test]
fn values_arrive_where_the_engine_reads_them() {
    let body = json!({
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05,
        "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.1, "repeat_last_n": 64,
        "dynatemp_range": 0.3, "dynatemp_exponent": 2, "top_n_sigma": 1.5, "typical_p": 0.8,
        "xtc_probability": 0.4, "xtc_threshold": 0.2,
        "dry_multiplier": 0.8, "dry_base": 1.5, "dry_allowed_length": 3, "dry_penalty_last_n": 256, "dry_sequence_breakers": ["\n\n"],
        "logit_bias": {"7": -100, "5": 1.5},
    });
    let expected = SamplingParams {
        temperature: 0.5,
        dynatemp_range: 0.3,
        dynatemp_exponent: 2.0,
        top_n_sigma: 1.5,
        top_k: 40,
        typical_p: 0.8,
        top_p: 0.9,
        min_p: 0.05,
        xtc_probability: 0.4,
        xtc_threshold: 0.2,
        presence_penalty: 1.0,
        frequency_penalty: -1.0,
        repetition_penalty: 1.1,
        repeat_last_n: Some(64),
        dry: Some(Dry {
            multiplier: 0.8,
            base: 1.5,
            allowed_length: 3,
            penalty_last_n: Some(256),
            sequence_breakers: vec!["\n\n".to_owned()],
        }),
        logit_bias: vec![(Token(5), 1.5), (Token(7), -100.0)],
        seed: 0,
        repeatable: false,
    };
    assert_eq!(params(body), expected);
}

#[test]
fn edge_values_keep_the_engines_invariants() {
    assert_eq!(params(json!({"top_p": 0})).top_p, f32::MIN_POSITIVE);
    assert_eq!(params(json!({"top_p": 1e-300})).top_p, f32::MIN_POSITIVE);
    assert_eq!(params(json!({"temperature": 1e-300})).temperature, 0.0);
    assert_eq!(params(json!({"temperature": 1e-5})).temperature, 1e-5);
    assert_eq!(params(json!({"top_k": -1})).top_k, 0);
}

#[test]
fn values_that_mean_all_or_off_in_llama_cpp_do_here() {
    let body = json!({"repeat_last_n": -1, "top_n_sigma": -1, "mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "dry_multiplier": 0,
        "dry_base": 1.75, "dry_allowed_length": 2, "dry_penalty_last_n": -1, "dry_sequence_breakers": ["\n"], "typical_p": 1.0});

    assert_eq!(params(body), SamplingParams::default());
    assert_eq!(params(json!({"repeat_last_n": 0})).repeat_last_n, Some(0));
}

#[test]
fn dry_has_llama_cpps_defaults_once_it_is_on() {
    let dry = params(json!({"dry_multiplier": 0.8})).dry.unwrap();

    assert_eq!((dry.multiplier, dry.base, dry.allowed_length, dry.penalty_last_n), (0.8, 1.75, 2, None));
    assert_eq!(dry.sequence_breakers, ["\n", ":", "\"", "*"]);
}

#[test]
fn sequence_breakers_are_up_to_16_strings_of_1_to_40_bytes() {
    let breakers = |value: Value| read(json!({"dry_multiplier": 1, "dry_sequence_breakers": value}));
    for good in [json!([]), json!(vec!["x"; 16]), json!(["x".repeat(40)]), json!(["\u{0}"]), Value::Null] {
        assert!(breakers(good.clone()).is_ok(), "{good}");
    }
    for bad in [json!("\n"), json!([""]), json!(vec!["x"; 17]), json!(["x".repeat(41)]), json!(["a", 5]), json!({})] {
        assert_eq!(breakers(bad.clone()).unwrap_err().param(), Some("dry_sequence_breakers"), "{bad}");
    }
    let message = "Invalid 'dry_sequence_breakers': it has 17 strings; at most 16 are accepted.";
    assert_eq!(breakers(json!(vec!["x"; 17])).unwrap_err().to_string(), message);
}

#[test]
fn two_names_of_one_parameter_must_agree() {
    for (name, alias) in [("repetition_penalty", "repeat_penalty"), ("typical_p", "typ_p")] {
        assert_eq!(read(json!({name: 0.5})), read(json!({alias: 0.5})));
        assert_eq!(read(json!({name: 0.5, alias: 0.5})), read(json!({alias: 0.5})));
        assert_eq!(read(json!({name: 0.5, alias: null})), read(json!({alias: 0.5})));
        assert_eq!(read(json!({name: 0.5, alias: 0.6})).unwrap_err().param(), Some(alias));
    }
    let message = "Invalid 'typ_p': it is 0.6, but 'typical_p', another name of it, is 0.5; send one of them.";
    assert_eq!(read(json!({"typical_p": 0.5, "typ_p": 0.6})).unwrap_err().to_string(), message);
}

#[test]
fn mirostat_is_refused_by_name() {
    for version in [1, 2] {
        let error = read(json!({"mirostat": version})).unwrap_err();
        assert_eq!((error.param(), error.code()), (Some("mirostat"), "unsupported_parameter"));
    }
    assert_eq!(read(json!({"mirostat": 3})).unwrap_err().code(), "invalid_value");
}

#[test]
fn logit_bias_is_limited_in_entries_ids_and_values() {
    let entries = |count: u32| json!({"logit_bias": (0..count).map(|id| (id.to_string(), json!(1))).collect::<serde_json::Map<_, _>>()});
    assert_eq!(params(entries(300)).logit_bias.len(), 300);
    assert_eq!(params(json!({"logit_bias": {"0": -100, "999": 100.0}})).logit_bias, [(Token(0), -100.0), (Token(999), 100.0)]);
    assert_eq!(params(json!({"logit_bias": {"1": 1, "01": 2}})).logit_bias, [(Token(1), 2.0)]);

    let refused = [
        entries(301),
        json!({"logit_bias": {"1000": 1}}),
        json!({"logit_bias": {"-1": 1}}),
        json!({"logit_bias": {"hello": 1}}),
        json!({"logit_bias": {"4294967296": 1}}),
        json!({"logit_bias": {"1": 100.1}}),
        json!({"logit_bias": {"1": -100.1}}),
        json!({"logit_bias": {"1": null}}),
        json!({"logit_bias": {"1": true}}),
        json!({"logit_bias": []}),
    ];
    for body in refused {
        assert_eq!(read(body.clone()).unwrap_err().param(), Some("logit_bias"), "{body}");
    }
    let message = "Invalid 'logit_bias': the key '1000' is not the id of a token; ids are 0 to 999.";
    assert_eq!(read(json!({"logit_bias": {"1000": 1}})).unwrap_err().to_string(), message);
}

#[test]
fn seeds_keep_their_64_bits_and_choices_count_up_from_them() {
    let sampling = read(json!({"seed": -1})).unwrap();

    assert_eq!(sampling.seed, Some(-1));
    assert_eq!(sampling.for_choice(0, -1).seed, u64::MAX);
    assert_eq!(sampling.for_choice(1, -1).seed, 0);
    assert_eq!(sampling.for_choice(2, 40).seed, 42);
    assert_eq!(read(json!({"seed": 5.0})).unwrap().seed, Some(5));
}

#[test]
fn stop_is_a_string_or_some_strings() {
    assert_eq!(stop(Value::Null), Ok(vec![]));
    assert_eq!(stop(json!([])), Ok(vec![]));
    assert_eq!(stop(json!("\n")), Ok(vec!["\n".to_owned()]));
    assert_eq!(stop(json!(["a", "b", "c", "d"])).map(|strings| strings.len()), Ok(4));
    assert_eq!(stop(json!("x".repeat(256))).map(|strings| strings.len()), Ok(1));

    let refused = [json!(["a", "b", "c", "d", "e"]), json!(""), json!(["a", ""]), json!("x".repeat(257)), json!(5), json!(["a", null])];
    for value in refused {
        assert_eq!(stop(value.clone()).unwrap_err().param(), Some("stop"), "{value}");
    }
}
