//! The fields that `/completion` and `/infill` share: llama-server's, with its defaults.
//!
//! Source: llama.cpp, `tools/server/README.md`, `/completion`. A field works, or its value is changed to one that does,
//! or it is reported as ignored. A field is refused only for a type or a name that means nothing.

pub(in crate::api) mod specs;

use super::{
    lenient,
    samplers::{names, use_samplers},
};
use crate::api::{
    fields::{FieldError, Fields, ignored::Ignored, token_caps::TokenCap},
    openai::shared::{
        ending::Ending,
        limits::{N, RequestLimits, SKIP_SPECIAL_TOKENS, most_choices, return_progress},
        room::TokenLimit,
        sampling::Sampling,
        structured::{Constrained, read_llama_servers_constraint},
    },
    warnings::Warnings,
};
use serde_json::Value;
use std::time::Duration;

/// The fields besides those with the texts.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct SharedOptions {
    /// The limit of the answer; as many as fit continues until the context is full.
    pub(in crate::api) limit: TokenLimit,
    /// Number of answers for each prompt, 1 to 8.
    pub(in crate::api) n: usize,
    pub(in crate::api) sampling: Sampling,
    pub(in crate::api) ending: Ending,
    /// `t_max_predict_ms`, the time limit of the answer after its first line.
    pub(in crate::api) time_limit: Option<Duration>,
    pub(in crate::api) constraint: Option<Constrained>,
    /// `n_probs`, the number of alternatives to report for each token; `None` reports nothing.
    pub(in crate::api) n_probs: Option<u8>,
    /// The opposite of vLLM's `skip_special_tokens`.
    pub(in crate::api) show_special: bool,
    pub(in crate::api) stream: bool,
    pub(in crate::api) view: AnswerView,
    /// Names of fields that had no effect.
    pub(in crate::api) unknown: Ignored,
    /// Fields whose values were changed, each with its warning.
    pub(in crate::api) changes: Vec<(String, String)>,
}

/// The parts of an answer that a request asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::api) struct AnswerView {
    /// Keys of the answer, with `/` into objects; empty selects all.
    pub(in crate::api) response_fields: Vec<String>,
    /// True if an answer without streaming has the tokens; a stream always has them.
    pub(in crate::api) return_tokens: bool,
    /// True if each chunk of a stream has the timings so far.
    pub(in crate::api) timings_per_token: bool,
    /// True if a stream tells how far the prompt is.
    pub(in crate::api) return_progress: bool,
}

impl AnswerView {
    /// True if the answer contains a key.
    pub(in crate::api) fn includes(&self, key: &str) -> bool {
        self.response_fields.is_empty() || self.response_fields.iter().any(|path| path.split('/').next() == Some(key))
    }
}

impl SharedOptions {
    /// Reads all fields except `model` and the texts, which were taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub(in crate::api) fn read(mut f: Fields, limits: &RequestLimits) -> Result<Self, FieldError> {
        let mut changes = lenient::adjust(&mut f, limits.vocabulary_size)?;
        let mut unknown = use_samplers(&mut f)?;
        let limit = limit(&mut f, &mut unknown)?;
        let stream = f.get(&specs::STREAM)?;
        let time_limit = f.get(&specs::T_MAX_PREDICT_MS)?;
        let n_probs = n_probs(&mut f, limits.most_alternatives(), &mut changes)?;
        let mut options = Self {
            limit,
            n: n(&mut f, limits.max_num_seqs, &mut unknown)?,
            sampling: Sampling::read(&mut f, limits.vocabulary_size)?,
            ending: Ending::read(&mut f, limits, Some(limit))?,
            time_limit: u64::try_from(time_limit).ok().filter(|limit| *limit > 0).map(Duration::from_millis),
            constraint: read_llama_servers_constraint(&mut f)?,
            n_probs,
            show_special: !f.get(&SKIP_SPECIAL_TOKENS)?,
            stream,
            view: AnswerView {
                response_fields: names(&mut f, &specs::RESPONSE_FIELDS)?,
                return_tokens: f.get(&specs::RETURN_TOKENS)?,
                timings_per_token: f.get(&specs::TIMINGS_PER_TOKEN)?,
                return_progress: return_progress(&mut f, stream, &mut unknown)?,
            },
            unknown: Ignored::default(),
            changes,
        };
        // The prefix cache is always used; a request can neither ask for it nor refuse it.
        if !f.get(&specs::CACHE_PROMPT)? {
            unknown.add(specs::CACHE_PROMPT.name);
        }
        let has_effect = |name: &&str| f.take(name).is_some_and(|value| !is_neutral(&value));
        unknown.extend(specs::WITHOUT_EFFECT.iter().map(|spec| spec.name()).filter(has_effect).collect());
        unknown.extend(f.finish());
        options.unknown = unknown;
        Ok(options)
    }

    /// The warnings about fields that had no effect or were changed.
    pub(in crate::api) fn warnings(&mut self) -> Warnings {
        let mut warnings = Warnings::ignored(std::mem::take(&mut self.unknown));
        for (param, text) in std::mem::take(&mut self.changes) {
            warnings.clamped(&param, text);
        }
        warnings
    }
}

/// Reads `n_predict`, and `max_tokens`, which Twinny and SillyTavern send in its place or beside it. Below 0, each is
/// as many as fit.
fn limit(f: &mut Fields, unknown: &mut Ignored) -> Result<TokenLimit, FieldError> {
    const NAME: &str = specs::N_PREDICT.name;
    const OTHER: &str = specs::MAX_TOKENS.name;
    let (sent, other) = (f.sent(&specs::N_PREDICT)?, f.get(&specs::MAX_TOKENS)?);
    if sent.is_some_and(|sent| other.is_some_and(|other| other != sent)) {
        unknown.add(OTHER);
    }
    let (field, tokens) = match (sent, other) {
        (None, Some(tokens)) => (OTHER, tokens),
        (sent, _) => (NAME, sent.unwrap_or(specs::N_PREDICT.values.default)),
    };
    Ok(TokenLimit { field, cap: u64::try_from(tokens).map_or(TokenCap::AsManyAsFit, TokenCap::AtMost) })
}

/// Reads `n_cmpl`, or `n`, its other name.
fn n(f: &mut Fields, max_num_seqs: u32, unknown: &mut Ignored) -> Result<usize, FieldError> {
    let most = most_choices(max_num_seqs);
    let other = f.sent(&N.within(1..=most))?;
    let sent = f.sent(&specs::N_CMPL.within(1..=most))?;
    if sent.is_some_and(|sent| other.is_some_and(|other| other != sent)) {
        unknown.add(N.name);
    }
    let count = sent.or(other).unwrap_or(specs::N_CMPL.values.default);
    Ok(usize::try_from(count).expect("the range fits"))
}

fn n_probs(f: &mut Fields, most: u8, changes: &mut Vec<(String, String)>) -> Result<Option<u8>, FieldError> {
    const NAME: &str = specs::N_PROBS.name;
    let asked = f.get(&specs::N_PROBS)?;
    if asked > i64::from(most) {
        changes.push((NAME.to_owned(), format!("{NAME} was reduced to {most}")));
    }
    Ok(u8::try_from(asked.min(i64::from(most))).ok().filter(|asked| *asked > 0))
}

/// True for `null`, `false`, 0, -1, and empty texts, lists and objects.
pub(super) fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64().is_some_and(|number| number == 0.0 || number == -1.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

#[cfg(test)]
mod tests;
