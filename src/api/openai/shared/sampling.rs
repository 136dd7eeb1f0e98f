//! The fields that say how tokens are chosen and where the text stops: name, range and default of each, once for all endpoints.
//!
//! Sources: OpenAI's `CreateCompletionRequest`; vLLM's `SamplingParams` for `top_k`, `min_p`, `repetition_penalty`; llama-server's
//! `/completion` for the rest, with its defaults, but that the penalties look at all of prompt and output unless `repeat_last_n` is given.
//! The meaning of the values is `protocol::SamplingParams`; nothing is sampled here.

use crate::{
    api::fields::{self, FieldError, Fields},
    protocol::{Dry, SamplingParams, Token},
};
use serde_json::Value;
use std::{collections::BTreeMap, ops::RangeInclusive};

/// Entries of `logit_bias` at most (OpenAI's own limit).
const MAX_LOGIT_BIAS: usize = 300;
/// Longest stop string, bytes.
const MAX_STOP_BYTES: usize = 256;
/// Texts that a repetition does not go across, unless the request names others (DRY's and llama.cpp's).
const SEQUENCE_BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];
/// Sequence breakers at most.
const MAX_SEQUENCE_BREAKERS: usize = 16;
/// Longest sequence breaker, bytes (llama.cpp cuts them there).
const MAX_SEQUENCE_BREAKER_BYTES: usize = 40;
/// Below this temperature the likeliest token is certain in `f32`, and dividing by less only overflows: taken as 0.
const COLDEST: f64 = 1e-5;

/// How tokens are chosen, as far as the request says.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Everything but the seed, which is 0 here.
    params: SamplingParams,
    /// The request's seed; `None` leaves it to the server.
    pub seed: Option<i64>,
}

impl Sampling {
    /// Reads the sampling fields.
    ///
    /// # Errors
    /// A field of the wrong type or outside its range; a `logit_bias` for a token outside the vocabulary.
    pub fn read(f: &mut Fields, vocabulary_size: u32) -> Result<Self, FieldError> {
        let temperature = f.number("temperature", 0.0..=2.0)?.unwrap_or(1.0);
        // OpenAI allows 0; the smallest set that has any probability at all is the likeliest token.
        let top_p = narrow(f.number("top_p", 0.0..=1.0)?.unwrap_or(1.0)).max(f32::MIN_POSITIVE);
        // vLLM's -1 and llama.cpp's 0 both mean all.
        let top_k = f.integer("top_k", -1..=i64::from(i32::MAX))?.unwrap_or(0).max(0);
        refuse_mirostat(f)?;
        let params = SamplingParams {
            temperature: if temperature < COLDEST { 0.0 } else { narrow(temperature) },
            dynatemp_range: narrow(f.number("dynatemp_range", 0.0..=2.0)?.unwrap_or(0.0)),
            dynatemp_exponent: narrow(f.number("dynatemp_exponent", 0.0..=10.0)?.unwrap_or(1.0)),
            // llama.cpp's -1 and 0 both mean off.
            top_n_sigma: narrow(f.number("top_n_sigma", -1.0..=100.0)?.unwrap_or(0.0).max(0.0)),
            top_k: u32::try_from(top_k).expect("the range fits"),
            typical_p: narrow(aliased(f, "typical_p", "typ_p", 0.0..=1.0)?.unwrap_or(1.0)),
            top_p,
            min_p: narrow(f.number("min_p", 0.0..=1.0)?.unwrap_or(0.0)),
            xtc_probability: narrow(f.number("xtc_probability", 0.0..=1.0)?.unwrap_or(0.0)),
            xtc_threshold: narrow(f.number("xtc_threshold", 0.0..=1.0)?.unwrap_or(0.1)),
            presence_penalty: narrow(f.number("presence_penalty", -2.0..=2.0)?.unwrap_or(0.0)),
            frequency_penalty: narrow(f.number("frequency_penalty", -2.0..=2.0)?.unwrap_or(0.0)),
            repetition_penalty: narrow(aliased(f, "repetition_penalty", "repeat_penalty", 0.01..=10.0)?.unwrap_or(1.0)),
            repeat_last_n: last_n(f, "repeat_last_n")?,
            dry: dry(f)?,
            logit_bias: logit_bias(f, vocabulary_size)?,
            seed: 0,
            repeatable: false,
        };
        Ok(Self { params, seed: f.integer("seed", i64::MIN..=i64::MAX)? })
    }

    /// The parameters of choice `k` of a prompt, `0 ≤ k < n`, under the request's seed or the one drawn for it.
    ///
    /// The seed's 64 bits are taken as they are and `k` is added: choices differ, choice 0 is what `n = 1` would give,
    /// and a prompt of a batch gives what it would give alone.
    #[must_use]
    pub fn for_choice(&self, k: usize, seed: i64) -> SamplingParams {
        let k = u64::try_from(k).unwrap_or(u64::MAX);
        SamplingParams { seed: seed.cast_unsigned().wrapping_add(k), repeatable: self.seed.is_some(), ..self.params.clone() }
    }
}

/// A number with two names: vLLM's or Hugging Face's, and llama.cpp's.
fn aliased(f: &mut Fields, name: &str, alias: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, FieldError> {
    let (value, other) = (f.number(name, range.clone())?, f.number(alias, range)?);
    match (value, other) {
        (Some(value), Some(other)) if value != other => {
            Err(FieldError::invalid(alias, format!("it is {other}, but '{name}', another name of it, is {value}; send one of them")))
        }
        _ => Ok(value.or(other)),
    }
}

/// How many of the last tokens count: llama.cpp's -1 means all, which is the default here.
fn last_n(f: &mut Fields, name: &str) -> Result<Option<u32>, FieldError> {
    Ok(f.integer(name, -1..=i64::from(i32::MAX))?.and_then(|n| u32::try_from(n).ok()))
}

/// Mirostat steers by the surprise of each earlier token, so its state cannot be had from the tokens alone: a sequence that
/// goes on after a restart of the engine would go on differently. Without it, its two parameters say nothing, as in llama.cpp.
fn refuse_mirostat(f: &mut Fields) -> Result<(), FieldError> {
    f.number("mirostat_tau", 0.0..=1000.0)?;
    f.number("mirostat_eta", 0.0..=1000.0)?;
    if f.integer("mirostat", 0..=2)?.is_some_and(|version| version != 0) {
        let reason =
            "is not supported, unless it is 0: its state cannot be restored when the engine restarts. 'typical_p' and 'top_n_sigma' are";
        return Err(FieldError::unsupported("mirostat", reason));
    }
    Ok(())
}

/// llama.cpp's `dry_*`; all are read, and only a `dry_multiplier` above 0 turns them on.
fn dry(f: &mut Fields) -> Result<Option<Dry>, FieldError> {
    let dry = Dry {
        multiplier: narrow(f.number("dry_multiplier", 0.0..=100.0)?.unwrap_or(0.0)),
        base: narrow(f.number("dry_base", 1.0..=100.0)?.unwrap_or(1.75)),
        allowed_length: u32::try_from(f.integer("dry_allowed_length", 1..=i64::from(i32::MAX))?.unwrap_or(2)).expect("the range fits"),
        penalty_last_n: last_n(f, "dry_penalty_last_n")?,
        sequence_breakers: sequence_breakers(f)?,
    };
    Ok(Some(dry).filter(|dry| dry.multiplier > 0.0))
}

fn sequence_breakers(f: &mut Fields) -> Result<Vec<String>, FieldError> {
    const NAME: &str = "dry_sequence_breakers";
    let values = match f.take(NAME) {
        None => return Ok(SEQUENCE_BREAKERS.map(str::to_owned).to_vec()),
        Some(Value::Array(values)) => values,
        Some(other) => return Err(FieldError::wrong_type(NAME, "an array of strings", &other)),
    };
    if values.len() > MAX_SEQUENCE_BREAKERS {
        return Err(FieldError::invalid(NAME, format!("it has {} strings; at most {MAX_SEQUENCE_BREAKERS} are accepted", values.len())));
    }
    let text = |value| match value {
        Value::String(text) if (1..=MAX_SEQUENCE_BREAKER_BYTES).contains(&text.len()) => Ok(text),
        Value::String(text) => {
            let reason = format!("a string has {} bytes; 1 to {MAX_SEQUENCE_BREAKER_BYTES} are accepted", text.len());
            Err(FieldError::invalid(NAME, reason))
        }
        other => Err(FieldError::wrong_type(NAME, "an array of strings", &other)),
    };
    values.into_iter().map(text).collect()
}

/// `{"<token id>": bias}`. A token named twice (`"1"` and `"01"`) takes the last bias.
fn logit_bias(f: &mut Fields, vocabulary_size: u32) -> Result<Vec<(Token, f32)>, FieldError> {
    const NAME: &str = "logit_bias";
    let Some(entries) = f.object(NAME)? else { return Ok(Vec::new()) };
    if entries.len() > MAX_LOGIT_BIAS {
        return Err(FieldError::invalid(NAME, format!("it has {} entries; at most {MAX_LOGIT_BIAS} are accepted", entries.len())));
    }
    let mut biases = BTreeMap::new();
    for (key, bias) in &entries {
        let id = key.parse::<u32>().ok().filter(|id| *id < vocabulary_size);
        let id = id.ok_or_else(|| {
            let shown: String = key.chars().take(32).collect();
            FieldError::invalid(
                NAME,
                format!("the key '{shown}' is not the id of a token; ids are 0 to {}", vocabulary_size.saturating_sub(1)),
            )
        })?;
        biases.insert(Token(id), narrow(fields::number(NAME, bias, -100.0..=100.0)?));
    }
    Ok(biases.into_iter().collect())
}

/// Reads `stop`: a string or up to `max_strings` of them, each of 1 to 256 bytes. An empty array stops nowhere.
///
/// # Errors
/// A value of another type, too many, an empty one, or one that is too long.
pub fn read_stop(f: &mut Fields, max_strings: usize) -> Result<Vec<String>, FieldError> {
    const NAME: &str = "stop";
    let values = match f.take(NAME) {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(value) => vec![value],
    };
    if values.len() > max_strings {
        return Err(FieldError::invalid(NAME, format!("it has {} strings; at most {max_strings} are accepted", values.len())));
    }
    values.into_iter().map(stop_string).collect()
}

fn stop_string(value: Value) -> Result<String, FieldError> {
    match value {
        Value::String(text) if text.is_empty() => Err(FieldError::invalid("stop", "a stop string must not be empty")),
        Value::String(text) if text.len() > MAX_STOP_BYTES => {
            Err(FieldError::invalid("stop", format!("a stop string has {} bytes; at most {MAX_STOP_BYTES} are accepted", text.len())))
        }
        Value::String(text) => Ok(text),
        other => Err(FieldError::wrong_type("stop", "a string or an array of strings", &other)),
    }
}

/// The engine computes in `f32`. Finite here, because every range is.
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
