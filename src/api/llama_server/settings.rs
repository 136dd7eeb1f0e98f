//! llama-server's `generation_settings`: the options of an answer, as far as this server has them, under the names that
//! llama-server's clients read.

use super::samplers;
use crate::protocol::{Constraint, SequenceRequest};
use serde_json::{Value, json};

/// The options that are no part of a sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::api) struct AnswerSettings {
    /// The seed of the first answer.
    pub(in crate::api) seed: i64,
    /// The maximum number of tokens to generate, -1 until the context is full.
    pub(in crate::api) n_predict: i64,
    /// The number of tokens that prompt and answer may have together.
    pub(in crate::api) n_ctx: u32,
    pub(in crate::api) stream: bool,
    pub(in crate::api) timings_per_token: bool,
}

/// The settings of a sequence.
pub(in crate::api) fn settings(sequence: &SequenceRequest, answer: AnswerSettings) -> Value {
    let sampling = &sequence.sampling;
    let last_n = |count: Option<u32>| count.map_or(-1, i64::from);
    let grammar = match &sequence.constraint {
        Some(Constraint::Grammar(grammar)) => grammar.as_str(),
        _ => "",
    };
    let dry = sampling.dry.as_ref();
    json!({
        "n_predict": answer.n_predict,
        "max_tokens": answer.n_predict,
        "n_ctx": answer.n_ctx,
        "seed": answer.seed,
        "temperature": sampling.temperature,
        "dynatemp_range": sampling.dynatemp_range,
        "dynatemp_exponent": sampling.dynatemp_exponent,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "top_n_sigma": sampling.top_n_sigma,
        "xtc_probability": sampling.xtc_probability,
        "xtc_threshold": sampling.xtc_threshold,
        "typical_p": sampling.typical_p,
        "repeat_last_n": last_n(sampling.repeat_last_n),
        "repeat_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "dry_multiplier": dry.map_or(0.0, |dry| dry.multiplier),
        "dry_base": dry.map_or(1.75, |dry| dry.base),
        "dry_allowed_length": dry.map_or(2, |dry| dry.allowed_length),
        "dry_penalty_last_n": last_n(dry.and_then(|dry| dry.penalty_last_n)),
        "dry_sequence_breakers": dry.map_or_else(Vec::new, |dry| dry.sequence_breakers.clone()),
        "mirostat": 0,
        "stop": sequence.stop,
        "n_keep": 0,
        "ignore_eos": sequence.ignore_eos,
        "stream": answer.stream,
        "n_probs": sequence.logprobs.unwrap_or(0),
        "min_keep": 0,
        "grammar": grammar,
        "samplers": samplers::all().collect::<Vec<_>>(),
        "timings_per_token": answer.timings_per_token,
        "post_sampling_probs": false,
        "lora": [],
    })
}
