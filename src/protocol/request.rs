//! The one definition of a sequence request and its sampling parameters.
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
    /// Texts that end the generation as an end-of-generation token does, none of them empty. Never part of the output.
    pub end_marks: Vec<String>,
    /// Tokens that end the generation as an end-of-generation token
    /// does, `ignore_eos` or not (vLLM's `stop_token_ids`).
    pub stop_tokens: Vec<Token>,
    /// Tokens to generate before an end-of-generation token or one of
    /// `stop_tokens` may be sampled (vLLM's `min_tokens`).
    pub min_tokens: u32,
    /// Go on past end-of-generation tokens (vLLM's `ignore_eos`): they can then not be sampled away, only ignored.
    pub ignore_eos: bool,
    /// Special tokens have their spelling as text (vLLM's `skip_special_tokens: false`); else they have none. Tokens
    /// that end a generation never have any.
    pub show_special: bool,
    /// Report the sampled token's log-probability and this many alternatives; `None` reports nothing.
    pub logprobs: Option<u8>,
    /// Report the log-probability of each prompt token and this many alternatives. The prompt is then computed in full,
    /// whatever the prefix cache holds.
    pub prompt_logprobs: Option<u8>,
    /// How many prompt tokens an earlier engine reported so (replay after a crash); they are not reported again.
    pub prompt_scored: u32,
    /// The rule that the output must obey; the gateway has had it compiled once, so it is sound. It decides where the
    /// text may end: end-of-generation tokens can be sampled there only, and end it with `ignore_eos` too.
    pub constraint: Option<Constraint>,
    /// The output that the caller expects (OpenAI's `prediction`): guessed first where drafts are made. It makes
    /// the output faster, not different.
    pub prediction: Vec<Token>,
    /// Prefix-cache isolation: sequences share cached tokens only within a namespace.
    pub namespace: u64,
}

/// How the next token is drawn from the logits. Greedy is `temperature
/// == 0`: then only the steps before temperature act.
///
/// Order of application: repetition, presence and frequency penalties, `dry`, `logit_bias`, temperature (by
/// `dynatemp_range`), `top_n_sigma`, `top_k`, `typical_p`, `top_p`, `min_p`, XTC, draw. It is llama.cpp's default chain
/// but for temperature, which comes before the truncation as in vLLM and Hugging Face's transformers, and in llama.cpp
/// comes last. Each truncation takes the tokens that the one before it left as the whole, and always leaves one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    /// 0 = greedy; otherwise a finite divisor of the logits, 0–2 for OpenAI routes.
    pub temperature: f32,
    /// The temperature is up to this much lower where the model is certain and higher where it is not, ≥ 0; 0 is off.
    /// Certainty is the entropy of the candidates, from 0 to that of as many equal ones (llama.cpp `dynatemp_range`).
    pub dynatemp_range: f32,
    /// The entropy's share is raised to this power first, ≥ 0 (llama.cpp `dynatemp_exponent`).
    pub dynatemp_exponent: f32,
    /// Keep tokens whose logit is at most this many standard deviations
    /// of all logits below the best; 0 keeps all (llama.cpp).
    pub top_n_sigma: f32,
    /// Keep the `k` likeliest tokens; 0 keeps all (vLLM `top_k`).
    pub top_k: u32,
    /// Keep the tokens whose surprise is nearest to the expected one, until their probability exceeds this, 0–1; 1
    /// keeps all (locally typical sampling, Meister et al. 2023). The likeliest token need not be among them.
    pub typical_p: f32,
    /// Keep the smallest set whose probability reaches this, 0 < p ≤ 1; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this share as likely as the likeliest, 0–1; 0 keeps all.
    pub min_p: f32,
    /// How probable it is, at each token, that the likeliest are
    /// excluded as `xtc_threshold` says, 0–1; 0 is off (llama.cpp XTC).
    pub xtc_probability: f32,
    /// Of the tokens at least this probable only the least probable one is kept, 0–1; above 0.5 there are never two.
    pub xtc_threshold: f32,
    /// OpenAI: subtracted once from each token already *generated* (not the prompt's), −2–2.
    pub presence_penalty: f32,
    /// OpenAI: subtracted per occurrence among the *generated* tokens, −2–2.
    pub frequency_penalty: f32,
    /// HF/vLLM: divides positive and multiplies negative logits of tokens in prompt or output, > 0; 1 is off.
    pub repetition_penalty: f32,
    /// The three penalties above look only at this many of the last
    /// tokens of prompt and output (llama.cpp); `None` at all.
    pub repeat_last_n: Option<u32>,
    /// Penalizes going on with a repetition; `None` is off.
    pub dry: Option<Dry>,
    /// Added to the logit of a token; each id once, finite, −100–100; −100 bans (OpenAI `logit_bias`).
    pub logit_bias: Vec<(Token, f32)>,
    /// Same seed and same position give the same draw, after a restart too.
    pub seed: u64,
    /// The caller chose the seed and means to get the same tokens again: nothing is guessed ahead, since that changes
    /// how logits are rounded.
    pub repeatable: bool,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            top_n_sigma: 0.0,
            top_k: 0,
            typical_p: 1.0,
            top_p: 1.0,
            min_p: 0.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            repeat_last_n: None,
            dry: None,
            logit_bias: Vec::new(),
            seed: 0,
            repeatable: false,
        }
    }
}

/// "Don't repeat yourself" (p-e-w, text-generation-webui, pull request 5677; llama.cpp `dry_*`): a token that would
/// make a repetition of earlier tokens longer loses `multiplier · base^(length − allowed_length)` from its logit, where
/// `length` is how many tokens repeat so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dry {
    /// The penalty of the shortest repetition that has one, > 0.
    pub multiplier: f32,
    /// The factor by which each further token multiplies it, ≥ 1.
    pub base: f32,
    /// Repeated tokens from which on the next one is penalized.
    pub allowed_length: u32,
    /// Look for repetitions in this many of the last tokens of prompt and output; `None` in all.
    pub penalty_last_n: Option<u32>,
    /// Texts that a repetition does not go across, none of them empty. A token that contains one is never penalized.
    pub sequence_breakers: Vec<String>,
}
