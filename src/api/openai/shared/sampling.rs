//! Reads the fields that control the drawing of tokens, for all endpoints; `specs` has name, range and default of each.
//!
//! Sources: OpenAI's `CreateCompletionRequest`; vLLM's `SamplingParams` for `top_k`, `min_p`, `repetition_penalty`;
//! llama-server's `/completion` for the rest, with its defaults, except that the penalties look at all of prompt and
//! output unless `repeat_last_n` is given. `protocol::SamplingParams` defines the meaning of the values; nothing is
//! drawn here.

pub(in crate::api) mod specs;

use crate::{
    api::fields::{
        self, FieldError, Fields,
        spec::FieldSpec,
        values::{Integers, Numbers, Or},
    },
    protocol::{Dry, SamplingParams, Token},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// The maximum number of entries in `logit_bias` (OpenAI's own limit).
const MAX_LOGIT_BIAS: usize = 300;
/// The maximum bias of a token; the minimum is its negative (OpenAI).
pub(in crate::api) const MAX_BIAS: i32 = 100;
/// Texts that a repetition does not go across, unless the request names others (DRY's and llama.cpp's).
const SEQUENCE_BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];
/// The maximum number of sequence breakers.
pub(in crate::api) const MAX_SEQUENCE_BREAKERS: usize = 16;
/// The maximum length of a sequence breaker, bytes (llama.cpp cuts longer ones).
pub(in crate::api) const MAX_SEQUENCE_BREAKER_BYTES: usize = 40;
/// The temperature below which the likeliest token is certain in `f32` and a division only overflows. It counts as 0.
const COLDEST: f64 = 1e-5;

/// The sampling fields of the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// All parameters but the seed, which is 0 here.
    params: SamplingParams,
    /// The request's seed; `None` leaves it to the server.
    pub seed: Option<i64>,
}

impl Sampling {
    /// Reads the sampling fields.
    ///
    /// # Errors
    /// A field has the wrong type or is outside its range, or a key of `logit_bias` is no number.
    pub fn read(f: &mut Fields, vocabulary_size: u32) -> Result<Self, FieldError> {
        let temperature = f.get(&specs::TEMPERATURE)?;
        // OpenAI allows 0; the smallest set that has any probability at all is the likeliest token.
        let top_p = narrow(f.get(&specs::TOP_P)?).max(f32::MIN_POSITIVE);
        // vLLM's -1 and llama.cpp's 0 both mean all.
        let top_k = f.get(&specs::TOP_K)?.max(0);
        f.check(&[&specs::MIROSTAT_TAU, &specs::MIROSTAT_ETA])?;
        if f.get(&specs::MIROSTAT)? != 0 {
            f.report(specs::MIROSTAT.name);
        }
        let params = SamplingParams {
            temperature: if temperature < COLDEST { 0.0 } else { narrow(temperature) },
            dynatemp_range: narrow(f.get(&specs::DYNATEMP_RANGE)?),
            dynatemp_exponent: narrow(f.get(&specs::DYNATEMP_EXPONENT)?),
            // llama.cpp's -1 and 0 both mean off.
            top_n_sigma: narrow(f.get(&specs::TOP_N_SIGMA)?.max(0.0)),
            top_k: u32::try_from(top_k).expect("the range fits"),
            typical_p: narrow(aliased(f, &specs::TYPICAL_P, &specs::TYP_P)?),
            top_p,
            min_p: narrow(f.get(&specs::MIN_P)?),
            xtc_probability: narrow(f.get(&specs::XTC_PROBABILITY)?),
            xtc_threshold: narrow(f.get(&specs::XTC_THRESHOLD)?),
            presence_penalty: narrow(f.get(&specs::PRESENCE_PENALTY)?),
            frequency_penalty: narrow(f.get(&specs::FREQUENCY_PENALTY)?),
            repetition_penalty: narrow(aliased(f, &specs::REPETITION_PENALTY, &specs::REPEAT_PENALTY)?),
            repeat_last_n: last_n(f, &specs::REPEAT_LAST_N)?,
            dry: dry(f)?,
            logit_bias: logit_bias(f, vocabulary_size)?,
            seed: 0,
            repeatable: false,
        };
        // Every peer takes -1 for a random seed.
        Ok(Self { params, seed: f.get(&specs::SEED)?.filter(|seed| *seed != -1) })
    }

    /// The parameters of choice `k` of a prompt, `0 ≤ k < n`, under the request's seed or the one drawn for it.
    ///
    /// The seed's 64 bits are taken as they are and `k` is added: choices differ, choice 0 is the answer that `n = 1`
    /// would give, and a prompt of a batch has the same answer as alone.
    #[must_use]
    pub fn for_choice(&self, k: usize, seed: i64) -> SamplingParams {
        let k = u64::try_from(k).unwrap_or(u64::MAX);
        SamplingParams { seed: seed.cast_unsigned().wrapping_add(k), repeatable: self.seed.is_some(), ..self.params.clone() }
    }
}

/// Reads a number with two names: vLLM's or Hugging Face's, and llama.cpp's.
fn aliased(f: &mut Fields, spec: &FieldSpec<Or<Numbers>>, alias: &FieldSpec<Or<Numbers>>) -> Result<f64, FieldError> {
    match (f.sent(spec)?, f.sent(alias)?) {
        (Some(value), Some(other)) if value != other => {
            let name = spec.name;
            let reason = format!("it is {other}, but '{name}', another name of it, is {value}; send one of them");
            Err(FieldError::invalid(alias.name, reason))
        }
        (value, other) => Ok(value.or(other).unwrap_or(spec.values.default)),
    }
}

/// Reads the number of last tokens that count. llama.cpp's -1 means all, which is the default here; it gives `None`.
fn last_n(f: &mut Fields, spec: &FieldSpec<Or<Integers>>) -> Result<Option<u32>, FieldError> {
    Ok(u32::try_from(f.get(spec)?).ok())
}

/// Reads llama.cpp's `dry_*`; all are read, and only a `dry_multiplier` above 0 turns them on.
fn dry(f: &mut Fields) -> Result<Option<Dry>, FieldError> {
    let dry = Dry {
        multiplier: narrow(f.get(&specs::DRY_MULTIPLIER)?),
        base: narrow(f.get(&specs::DRY_BASE)?),
        allowed_length: u32::try_from(f.get(&specs::DRY_ALLOWED_LENGTH)?).expect("the range fits"),
        penalty_last_n: last_n(f, &specs::DRY_PENALTY_LAST_N)?,
        sequence_breakers: sequence_breakers(f)?,
    };
    Ok(Some(dry).filter(|dry| dry.multiplier > 0.0))
}

fn sequence_breakers(f: &mut Fields) -> Result<Vec<String>, FieldError> {
    const NAME: &str = specs::DRY_SEQUENCE_BREAKERS.name;
    let values = match f.get(&specs::DRY_SEQUENCE_BREAKERS)? {
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

/// Reads `logit_bias`: `{"<token id>": bias}`. A token named twice (`"1"` and `"01"`) takes the last bias. Ids of other
/// vocabularies, as clients of several models send them, are left out and reported.
fn logit_bias(f: &mut Fields, vocabulary_size: u32) -> Result<Vec<(Token, f32)>, FieldError> {
    const NAME: &str = specs::LOGIT_BIAS.name;
    let Some(entries) = f.get(&specs::LOGIT_BIAS)? else { return Ok(Vec::new()) };
    if entries.len() > MAX_LOGIT_BIAS {
        return Err(FieldError::invalid(NAME, format!("it has {} entries; at most {MAX_LOGIT_BIAS} are accepted", entries.len())));
    }
    let mut biases = BTreeMap::new();
    let mut outside = 0;
    for (key, bias) in &entries {
        let bias = narrow(fields::number(NAME, bias, -f64::from(MAX_BIAS)..=f64::from(MAX_BIAS))?);
        let digits = key.strip_prefix('-').unwrap_or(key);
        match key.parse::<u32>() {
            Ok(id) if id < vocabulary_size => {
                biases.insert(Token(id), bias);
            }
            _ if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => outside += 1,
            _ => {
                let shown: String = key.chars().take(32).collect();
                let reason = format!("the key '{shown}' is not the id of a token; ids are 0 to {}", vocabulary_size.saturating_sub(1));
                return Err(FieldError::invalid(NAME, reason));
            }
        }
    }
    if outside > 0 {
        f.change(NAME, format!("{NAME}: {outside} ids outside of the vocabulary were left out"));
    }
    Ok(biases.into_iter().collect())
}

/// A number as `f32`, in which the engine computes. The result is finite, because every range is.
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
