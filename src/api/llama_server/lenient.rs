//! Values that llama-server bends or ignores and OpenAI's routes refuse: numbers outside of their range, empty stop
//! strings, sequence breakers that cannot be used, biases as a list or of unknown tokens, and two names of a parameter
//! with two values. They are made valid before the fields are read, and changes are reported.
//!
//! Each value is looked at once.

use super::options::specs;
use crate::api::{
    fields::{FieldError, Fields, spec::AnySpec},
    openai::shared::sampling::{
        MAX_BIAS, MAX_SEQUENCE_BREAKER_BYTES, MAX_SEQUENCE_BREAKERS,
        specs::{DRY_SEQUENCE_BREAKERS, LOGIT_BIAS, REPEAT_PENALTY, REPETITION_PENALTY, SAMPLING, TYP_P, TYPICAL_P},
    },
};
use serde_json::{Map, Value, json};

/// The bias that bans a token, the lowest one.
const BAN: i32 = -MAX_BIAS;
/// The type of `logit_bias` that llama-server's clients send.
const BIASES: &str = "an object, or an array of [token id, bias]";

/// Makes the values valid. Returns a name and a warning for each one that was changed.
///
/// # Errors
/// `logit_bias` is a list of something else than pairs.
pub(super) fn adjust(f: &mut Fields, vocabulary_size: u32) -> Result<Vec<(String, String)>, FieldError> {
    let mut changes = Vec::new();
    drop_empty_stops(f);
    mend_biases(f, vocabulary_size, &mut changes)?;
    limit_breakers(f, &mut changes);
    choose_names(f, &mut changes);
    for spec in SAMPLING.iter().copied() {
        changes.extend(into_range(f, spec).map(|text| (spec.name().to_owned(), text)));
    }
    Ok(changes)
}

/// llama-server skips empty stop strings.
fn drop_empty_stops(f: &mut Fields) {
    let name = specs::STOP.name;
    match f.peek(name) {
        Some(Value::String(text)) if text.is_empty() => {
            f.take(name);
        }
        Some(Value::Array(texts)) if texts.contains(&json!("")) => {
            if let Some(Value::Array(mut texts)) = f.take(name) {
                texts.retain(|text| text != "");
                f.set_default(name, Value::Array(texts));
            }
        }
        _ => {}
    }
}

/// Two names of a parameter with two values: llama-server knows the first name alone, and it counts.
fn choose_names(f: &mut Fields, changes: &mut Vec<(String, String)>) {
    for (counts, other) in [(TYPICAL_P.name, TYP_P.name), (REPEAT_PENALTY.name, REPETITION_PENALTY.name)] {
        let (Some(Value::Number(value)), Some(Value::Number(second))) = (f.peek(counts), f.peek(other)) else { continue };
        if value.as_f64() != second.as_f64() {
            f.take(other);
            changes.push((other.to_owned(), format!("{other} had no effect, because {counts} is another number")));
        }
    }
}

/// Keeps the first sequence breakers that can be used. llama-server skips empty ones.
fn limit_breakers(f: &mut Fields, changes: &mut Vec<(String, String)>) {
    const NAME: &str = DRY_SEQUENCE_BREAKERS.name;
    if !matches!(f.peek(NAME), Some(Value::Array(_))) {
        return;
    }
    let Some(Value::Array(mut texts)) = f.take(NAME) else { return };
    texts.retain(|text| text != "");
    let sent = texts.len();
    texts.retain(|text| text.as_str().is_none_or(|text| text.len() <= MAX_SEQUENCE_BREAKER_BYTES));
    texts.truncate(MAX_SEQUENCE_BREAKERS);
    if texts.len() < sent {
        let limits = format!("at most {MAX_SEQUENCE_BREAKERS} of at most {MAX_SEQUENCE_BREAKER_BYTES} bytes are used");
        changes.push((NAME.to_owned(), format!("{NAME}: {} strings were left out; {limits}", sent - texts.len())));
    }
    f.set_default(NAME, Value::Array(texts));
}

/// Entries of `logit_bias` that were left out or changed.
#[derive(Default)]
struct BiasCounts {
    /// Entries with a text in place of a token id.
    texts: usize,
    /// Entries with an id outside the vocabulary.
    outside: usize,
    /// Entries with a bias that was changed.
    moved: usize,
}

/// Turns `[[5, 1.5], [6, false]]` into `{"5": 1.5, "6": -100}`, and makes the biases of an object valid.
fn mend_biases(f: &mut Fields, vocabulary_size: u32, changes: &mut Vec<(String, String)>) -> Result<(), FieldError> {
    const NAME: &str = LOGIT_BIAS.name;
    if !matches!(f.peek(NAME), Some(Value::Array(_) | Value::Object(_))) {
        return Ok(());
    }
    let mut counts = BiasCounts::default();
    let mut biases = Map::new();
    let mut add = |id: &str, bias| match id.parse::<i64>() {
        Err(_) => counts.texts += 1,
        Ok(id) if !(0..i64::from(vocabulary_size)).contains(&id) => counts.outside += 1,
        Ok(_) => {
            let (bias, is_moved) = bias_in_range(bias);
            counts.moved += usize::from(is_moved);
            biases.insert(id.to_owned(), bias);
        }
    };
    match f.take(NAME) {
        Some(Value::Object(entries)) => entries.into_iter().for_each(|(id, bias)| add(&id, bias)),
        Some(Value::Array(pairs)) => {
            for mut pair in pairs {
                match pair.as_array_mut().map(Vec::as_mut_slice) {
                    Some([Value::Number(id), bias]) => add(&id.to_string(), bias.take()),
                    Some([Value::String(_), bias]) => add("", bias.take()),
                    _ => return Err(FieldError::wrong_type(NAME, BIASES, &pair)),
                }
            }
        }
        _ => {}
    }
    if !biases.is_empty() {
        f.set_default(NAME, Value::Object(biases));
    }
    let BiasCounts { texts, outside, moved } = counts;
    let told = [
        (texts, "entries with a text instead of a token id had no effect".to_owned()),
        (outside, "entries with a token id outside the vocabulary had no effect".to_owned()),
        (moved, format!("biases were changed to {BAN} or {MAX_BIAS}, the nearest numbers that are accepted")),
    ];
    let told = told.into_iter().filter(|(count, _)| *count > 0);
    changes.extend(told.map(|(count, text)| (NAME.to_owned(), format!("{NAME}: {count} {text}"))));
    Ok(())
}

/// The nearest bias that is accepted, and true if it is another one; `false` bans. Values of other types are left to
/// the reader.
fn bias_in_range(bias: Value) -> (Value, bool) {
    match bias.as_f64() {
        _ if bias == json!(false) => (BAN.into(), false),
        Some(number) if number < f64::from(BAN) => (BAN.into(), true),
        Some(number) if number > f64::from(MAX_BIAS) => (MAX_BIAS.into(), true),
        _ => (bias, false),
    }
}

/// Moves a number to the nearest one of its range. Returns the warning if it was moved.
fn into_range(f: &mut Fields, spec: &dyn AnySpec) -> Option<String> {
    let name = spec.name();
    let sent = f.peek(name)?.as_f64()?;
    let schema = spec.schema();
    let (min, max) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
    let bound = match (min, max) {
        (Some(min), _) if sent < min => &schema["minimum"],
        (_, Some(max)) if sent > max => &schema["maximum"],
        _ => return None,
    };
    f.take(name);
    f.set_default(name, bound.clone());
    Some(format!("{name} was changed to {bound}, the nearest value that is accepted"))
}
