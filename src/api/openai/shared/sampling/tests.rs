//! Every sampling field at its limits and one past them.

use super::{specs::SAMPLING, *};
use crate::api::fields::{
    FieldFault,
    spec::{AnySpec, Support},
};
use serde_json::json;
use std::{collections::BTreeSet, path::Path};

const VOCABULARY: u32 = 1000;

fn read(body: Value) -> Result<Sampling, FieldError> {
    let Value::Object(map) = body else { panic!("{body} is no object") };
    Sampling::read(&mut Fields::new(map), VOCABULARY)
}

fn params(body: Value) -> SamplingParams {
    read(body).unwrap().for_choice(0, 0)
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
fn mirostat_is_reported_by_name() {
    for version in [1, 2] {
        let mut fields = Fields::new([("mirostat".to_owned(), json!(version))].into_iter().collect());
        assert!(Sampling::read(&mut fields, VOCABULARY).is_ok());
        assert_eq!(fields.finish(), ["mirostat"]);
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
        json!({"logit_bias": {"hello": 1}}),
        json!({"logit_bias": {"": 1}}),
        json!({"logit_bias": {"-": 1}}),
        json!({"logit_bias": {"1000": 101}}),
        json!({"logit_bias": {"1": 100.1}}),
        json!({"logit_bias": {"1": -100.1}}),
        json!({"logit_bias": {"1": null}}),
        json!({"logit_bias": {"1": true}}),
        json!({"logit_bias": []}),
    ];
    for body in refused {
        assert_eq!(read(body.clone()).unwrap_err().param(), Some("logit_bias"), "{body}");
    }
    let message = "Invalid 'logit_bias': the key 'hello' is not the id of a token; ids are 0 to 999.";
    assert_eq!(read(json!({"logit_bias": {"hello": 1}})).unwrap_err().to_string(), message);
}

#[test]
fn a_bias_of_an_id_outside_of_the_vocabulary_is_left_out_and_reported() {
    let body = json!({"999": 1, "1000": 1, "-1": 1, "4294967296": 1, "99999999999999999999999": 1});
    let mut fields = Fields::new([("logit_bias".to_owned(), body)].into_iter().collect());

    let sampling = Sampling::read(&mut fields, VOCABULARY).unwrap();

    assert_eq!(sampling.for_choice(0, 0).logit_bias, [(Token(999), 1.0)]);
    let told = ("logit_bias".to_owned(), "logit_bias: 4 ids outside of the vocabulary were left out".to_owned());
    assert_eq!(fields.finish().take_changed(), [told]);
}

#[test]
fn seeds_keep_their_64_bits_and_choices_count_up_from_them() {
    let sampling = read(json!({"seed": -2})).unwrap();

    assert_eq!(sampling.seed, Some(-2));
    assert_eq!(sampling.for_choice(0, -1).seed, u64::MAX);
    assert_eq!(sampling.for_choice(1, -1).seed, 0);
    assert_eq!(sampling.for_choice(2, 40).seed, 42);
    assert_eq!(read(json!({"seed": 5.0})).unwrap().seed, Some(5));
    assert_eq!(read(json!({"seed": -1})).unwrap().seed, None, "a random one");
}

#[test]
fn a_seed_just_outside_its_64_bits_is_refused_on_both_sides() {
    for (text, accepted) in [
        ("9223372036854775807", true),
        ("-9223372036854775808", true),
        ("9223372036854775808", false),
        ("-9223372036854775809", false),
        ("-9223372036854775808.0", false),
    ] {
        let body = serde_json::from_str(&format!(r#"{{"seed":{text}}}"#)).unwrap();
        assert_eq!(read(body).is_ok(), accepted, "{text}");
    }
}

/// Both ends of a field's range and the documents' example; at least one of them is not the default.
fn telling_values(spec: &dyn AnySpec) -> Vec<Value> {
    let schema = spec.schema();
    let ends = ["minimum", "maximum"].into_iter().filter_map(|end| schema.get(end).cloned());
    ends.chain([serde_json::from_str(spec.example()).unwrap()]).collect()
}

/// The parameters as the engine gets them; those of DRY have names such as `dry.base`.
fn parameters(sampling: &Sampling) -> serde_json::Map<String, Value> {
    let params = sampling.for_choice(0, sampling.seed.unwrap_or(0));
    let Ok(Value::Object(mut map)) = serde_json::to_value(params) else { panic!("a struct is an object") };
    if let Some(Value::Object(dry)) = map.remove("dry") {
        map.extend(dry.into_iter().map(|(key, value)| (format!("dry.{key}"), value)));
    }
    map
}

/// Names of the parameters that a field changes.
fn changed_by(spec: &dyn AnySpec) -> BTreeSet<String> {
    // Without a multiplier the engine gets no parameters of DRY at all.
    let body = |value: Option<Value>| {
        let mut body = json!({"dry_multiplier": 1});
        value.into_iter().for_each(|value| body[spec.name()] = value);
        parameters(&read(body).unwrap())
    };
    let before = body(None);
    let changed = telling_values(spec).into_iter().flat_map(|value| {
        // The reader refuses a field that is marked as refused, so that it changes nothing.
        let after = if spec.support() == Support::Refused { before.clone() } else { body(Some(value)) };
        let differs = |key: &String| before.get(key) != after.get(key);
        after.keys().filter(|key| differs(key)).cloned().collect::<Vec<_>>()
    });
    changed.collect()
}

#[test]
fn every_field_reaches_the_engine_and_every_parameter_of_the_engine_has_a_field() {
    let mut reached = BTreeSet::new();
    for spec in SAMPLING.iter().copied() {
        let changed = changed_by(spec);
        // Mirostat is not there, and its parameters mean nothing without it.
        let means_nothing = spec.support() == Support::Refused || spec.name().starts_with("mirostat");
        assert_eq!(changed.is_empty(), means_nothing, "{}: {changed:?}", spec.name());
        reached.extend(changed);
    }

    let all: BTreeSet<String> = parameters(&read(json!({"dry_multiplier": 1})).unwrap()).into_iter().map(|(key, _)| key).collect();
    assert_eq!(reached, all);
}

/// Files that may spell the name of a sampling field besides its spec, with the reason.
const MAY_NAME_THEM: [(&str, &str); 7] = [
    ("legacy/request/specs.rs", "an API with fields of its own"),
    ("llama_server/samplers.rs", "llama-server's names of samplers"),
    ("llama_server/options/specs.rs", "an example of them"),
    ("llama_server/settings.rs", "the answer repeats the request in llama-server's order"),
    ("openai/completions/format.rs", "the answer's seed"),
    ("openai/chat/object.rs", "the answer's seed"),
    ("openapi/operations.rs", "examples of requests"),
];

/// A new field therefore touches only its spec and `Sampling::read`. A reader with a range or a default of its own
/// changes the spec, as in `specs::TOP_P.within(…)`.
#[test]
fn a_sampling_field_is_named_in_one_file_of_the_api() {
    let mut offences = Vec::new();
    for file in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api")) {
        let path = file.to_string_lossy().into_owned();
        let may = path.ends_with("sampling/specs.rs") || MAY_NAME_THEM.iter().any(|(known, _)| path.ends_with(known));
        if may || path.contains("tests") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let named = SAMPLING.iter().map(|spec| spec.name()).filter(|name| product.contains(&format!("\"{name}\"")));
        offences.extend(named.map(|name| format!("{path}: {name}")));
    }
    assert_eq!(offences, [""; 0]);
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|kind| kind == "rs"))
        .collect()
}
