//! The one definition of what is generated: a sequence request and its sampling parameters.
//!
//! Values here are already validated; the names, ranges and defaults that users see live in `api/`.

use super::Constraint;
use serde::{Deserialize, Serialize};

/// A vocabulary id, `0 ≤ id < ModelInfo::vocabulary_size`. Checked at the API before it gets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token(pub u32);

/// One choice's token timeline; unique for the life of a gateway process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SequenceId(pub u64);

/// One choice to generate.
///
/// Invariants that the gateway holds: `prompt` is not empty, `prompt.len() + max_tokens ≤ ModelInfo::max_model_len`,
/// `resume.len() < max_tokens`; with `prompt_logprobs`, `max_tokens` may be 0 and `resume` is then empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SequenceRequest {
    /// Which sequence this is; also the key of every event about it.
    pub id: SequenceId,
    /// Prompt tokens, BOS included where the model wants one.
    pub prompt: Vec<Token>,
    /// Tokens that an earlier engine already generated for this sequence (replay after a crash).
    /// They count against `max_tokens`, and no event repeats them or their text. Of those whose text was held back when
    /// the engine died (for a stop string or the rest of a character) no event has log-probabilities.
    pub resume: Vec<Token>,
    /// Tokens to generate at most, `resume` included.
    pub max_tokens: u32,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Stop strings, none of them empty. Not part of the output.
    pub stop: Vec<String>,
    /// Keep the stop string that ended the text at its end (vLLM's `include_stop_str_in_output`).
    pub include_stop: bool,
    /// Tokens that end the generation as an end-of-generation token does, `ignore_eos` or not (vLLM's `stop_token_ids`).
    pub stop_tokens: Vec<Token>,
    /// Tokens to generate before an end-of-generation token or one of `stop_tokens` may be sampled (vLLM's `min_tokens`).
    pub min_tokens: u32,
    /// Go on past end-of-generation tokens (vLLM's `ignore_eos`): they can then not be sampled away, only ignored.
    pub ignore_eos: bool,
    /// Report the sampled token's log-probability and this many alternatives; `None` reports nothing.
    pub logprobs: Option<u8>,
    /// Report the log-probability of each prompt token but the first, and this many alternatives. The prompt is then
    /// computed in full, whatever the prefix cache holds.
    pub prompt_logprobs: Option<u8>,
    /// What the output must obey; the gateway has had it compiled once, so it is sound. It decides where the text may end:
    /// end-of-generation tokens can be sampled there only, and end it with `ignore_eos` too.
    pub constraint: Option<Constraint>,
    /// Prefix-cache isolation: sequences share cached tokens only within a namespace.
    pub namespace: u64,
}

/// How the next token is drawn from the logits. Greedy is `temperature == 0`.
///
/// Order of application: penalties, `logit_bias`, temperature, `top_k`, `top_p`, `min_p`, draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    /// 0 = greedy; otherwise a finite divisor of the logits, 0–2 for OpenAI routes.
    pub temperature: f32,
    /// Keep the `k` likeliest tokens; 0 keeps all (vLLM `top_k`).
    pub top_k: u32,
    /// Keep the smallest set whose probability reaches this, 0 < p ≤ 1; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this share as likely as the likeliest, 0–1; 0 keeps all.
    pub min_p: f32,
    /// OpenAI: subtracted once from each token already *generated* (not the prompt's), −2–2.
    pub presence_penalty: f32,
    /// OpenAI: subtracted per occurrence among the *generated* tokens, −2–2.
    pub frequency_penalty: f32,
    /// HF/vLLM: divides positive and multiplies negative logits of tokens in prompt or output, > 0; 1 is off.
    pub repetition_penalty: f32,
    /// Added to the logit of a token; each id once, finite, −100–100; −100 bans (OpenAI `logit_bias`).
    pub logit_bias: Vec<(Token, f32)>,
    /// Same seed and same position give the same draw, after a restart too.
    pub seed: u64,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}
