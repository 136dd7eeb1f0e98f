//! Values that llama-server bends or ignores and OpenAI's routes refuse: numbers outside of their range, empty stop
//! strings, and biases as a list. They are made valid before the fields are read, and changes are reported.
//!
//! Each value is looked at once.

use super::options::specs;
use crate::api::{
    fields::{FieldError, Fields, spec::AnySpec},
    openai::shared::sampling::specs::{LOGIT_BIAS, SAMPLING},
};
use serde_json::{Map, Value, json};

/// The bias that bans a token.
const BAN: i64 = -100;
/// The type of `logit_bias` that llama-server's clients send.
const BIASES: &str = "an object, or an array of [token id, bias]";

/// Makes the values valid. Returns a name and a warning for each one that was changed.
///
/// # Errors
/// `logit_bias` is a list of something else than pairs.
pub(super) fn adjust(f: &mut Fields) -> Result<Vec<(String, String)>, FieldError> {
    let mut changes = Vec::new();
    drop_empty_stops(f);
    list_biases(f, &mut changes)?;
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

/// Turns `[[5, 1.5], [6, false]]` into `{"5": 1.5, "6": -100}`.
fn list_biases(f: &mut Fields, changes: &mut Vec<(String, String)>) -> Result<(), FieldError> {
    const NAME: &str = LOGIT_BIAS.name;
    if !matches!(f.peek(NAME), Some(Value::Array(_))) {
        return Ok(());
    }
    let Some(Value::Array(pairs)) = f.take(NAME) else { return Ok(()) };
    let mut biases = Map::new();
    let mut texts: usize = 0;
    for pair in pairs {
        match pair.as_array().map(Vec::as_slice) {
            Some([Value::Number(id), bias]) => {
                biases.insert(id.to_string(), if *bias == json!(false) { BAN.into() } else { bias.clone() });
            }
            Some([Value::String(_), _]) => texts += 1,
            _ => return Err(FieldError::wrong_type(NAME, BIASES, &pair)),
        }
    }
    if texts > 0 {
        changes.push((NAME.to_owned(), format!("{NAME}: {texts} entries with a text instead of a token id had no effect")));
    }
    if !biases.is_empty() {
        f.set_default(NAME, Value::Object(biases));
    }
    Ok(())
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
