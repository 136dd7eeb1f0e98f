//! The one definition of a sequence request and its sampling parameters.
//!
//! Values here are already validated; the names, ranges and defaults that users see are in `api/`.

use super::Constraint;
use serde::{Deserialize, Serialize};

/// A vocabulary id, `0 ≤ id < ModelInfo::vocabulary_size`. Checked by the API before it gets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token(pub u32);

/// The number of a sequence, which is the token timeline of one choice; unique for the life of a gateway process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SequenceId(pub u64);

/// One choice to generate.
///
/// Invariants that the gateway keeps: `prompt` is not empty, `prompt.len() + max_tokens ≤ ModelInfo::max_model_len`,
/// `resume.len() < max_tokens`; with `prompt_logprobs`, `max_tokens` may be 0 and `resume` is then empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SequenceRequest {
    /// The number of the sequence; also the key of every event about it.
    pub id: SequenceId,
    /// Prompt tokens, with BOS if the model wants one.
    pub prompt: Vec<Token>,
    /// Tokens that an earlier engine already generated for this sequence (replay after a crash). They count against
    /// `max_tokens`, and no event repeats them or their text. If the engine died while it held back the text of some of
    /// them (for a stop string or the rest of a character), no event has their log-probabilities.
    pub resume: Vec<Token>,
    /// Largest number of tokens to generate, `resume` included.
    pub max_tokens: u32,
    /// The parameters by which tokens are chosen.
    pub sampling: SamplingParams,
    /// Stop strings, none of them empty. Not part of the output unless `include_stop` is set.
    pub stop: Vec<String>,
    /// True if the stop string that ended the text stays at its end (vLLM's `include_stop_str_in_output`).
    pub include_stop: bool,
    /// Texts that end the generation as an end-of-generation token does, none of them empty. They are never part of the
    /// output.
    pub end_marks: Vec<String>,
    /// Tokens that end the generation as an end-of-generation token does, also with `ignore_eos` (vLLM's
    /// `stop_token_ids`).
    pub stop_tokens: Vec<Token>,
    /// Number of tokens to generate before an end-of-generation token or one of `stop_tokens` may be sampled (vLLM's
    /// `min_tokens`).
    pub min_tokens: u32,
    /// True if end-of-generation tokens do not end the text (vLLM's `ignore_eos`). They can still be sampled, even
    /// before `min_tokens`.
    pub ignore_eos: bool,
    /// True if special tokens appear in the text as they are spelled (vLLM's `skip_special_tokens: false`); otherwise
    /// they add no text. Tokens that end a generation never add any.
    pub show_special: bool,
    /// Number of alternatives to report beside the sampled token's log-probability; `None` reports neither.
    pub logprobs: Option<u8>,
    /// Number of alternatives to report beside the log-probability of each prompt token; `None` reports neither. With
    /// it the prompt is computed in full, whatever the prefix cache holds.
    pub prompt_logprobs: Option<u8>,
    /// Number of prompt tokens whose log-probabilities an earlier engine reported (replay after a crash); they are not
    /// reported again.
    pub prompt_scored: u32,
    /// The rule that the output must obey. The gateway has had it compiled once, so it is sound. The rule decides where
    /// the text may end: end-of-generation tokens can be sampled only there, and then end the text even with
    /// `ignore_eos`.
    pub constraint: Option<Constraint>,
    /// The output that the caller expects (OpenAI's `prediction`); where drafts are made, they come from it first. It
    /// makes the output faster, not different.
    pub prediction: Vec<Token>,
    /// The namespace of the prefix cache: sequences share cached tokens only within one.
    pub namespace: u64,
}

/// The parameters by which the next token is drawn from the logits. With `temperature == 0` the draw is greedy: only
/// the steps before temperature act.
///
/// Order of application: repetition, presence and frequency penalties, `dry`, `logit_bias`, temperature (by
/// `dynatemp_range`), `top_n_sigma`, `top_k`, `typical_p`, `top_p`, `min_p`, XTC, draw. This is llama.cpp's default
/// chain except for temperature, which comes last in llama.cpp, and here before the truncation as in vLLM and Hugging
/// Face's transformers. Each truncation takes the tokens that the one before it left as the whole, and always leaves at
/// least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    /// The divisor of the logits, finite, 0–2 for OpenAI routes; 0 is greedy.
    pub temperature: f32,
    /// Largest change of the temperature: down where the model is certain and up where it is not, ≥ 0; 0 is off. The
    /// measure of certainty is the entropy of the candidates, between 0 and that of equally many equal ones (llama.cpp
    /// `dynatemp_range`).
    pub dynatemp_range: f32,
    /// The exponent of the entropy's share of its maximum, ≥ 0; applied first (llama.cpp `dynatemp_exponent`).
    pub dynatemp_exponent: f32,
    /// Keep tokens whose logit is at most this many standard deviations of all logits below the best; 0 keeps all
    /// (llama.cpp).
    pub top_n_sigma: f32,
    /// Keep the `k` likeliest tokens; 0 keeps all (vLLM `top_k`).
    pub top_k: u32,
    /// Keep the tokens whose surprise is nearest to the expected one, until their probability exceeds this, 0–1; 1
    /// keeps all (locally typical sampling, Meister et al. 2023). The likeliest token need not be among them.
    pub typical_p: f32,
    /// Keep the smallest set whose probability reaches this, 0 < p ≤ 1; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens whose probability is at least this share of the likeliest token's, 0–1; 0 keeps all.
    pub min_p: f32,
    /// Probability, for each token, that the likeliest candidates are excluded as `xtc_threshold` says, 0–1; 0 is off
    /// (llama.cpp XTC).
    pub xtc_probability: f32,
    /// Of the tokens with at least this probability, XTC keeps only the least probable one, 0–1; above 0.5 there are
    /// never two.
    pub xtc_threshold: f32,
    /// OpenAI: subtracted once from the logit of each token already *generated* (not the prompt's), −2–2.
    pub presence_penalty: f32,
    /// OpenAI: subtracted from the logit once for each occurrence among the *generated* tokens, −2–2.
    pub frequency_penalty: f32,
    /// HF/vLLM: divides positive and multiplies negative logits of tokens in prompt or output, > 0; 1 is off.
    pub repetition_penalty: f32,
    /// Number of the last tokens of prompt and output that the three penalties look at (llama.cpp); `None` looks at
    /// all.
    pub repeat_last_n: Option<u32>,
    /// Penalizes tokens that continue a repetition; `None` is off.
    pub dry: Option<Dry>,
    /// Added to the logit of a token; each id once, finite, −100–100; −100 bans (OpenAI `logit_bias`).
    pub logit_bias: Vec<(Token, f32)>,
    /// The seed of the draws: same seed and same position give the same draw, also after a restart.
    pub seed: u64,
    /// True if the caller chose the seed to get the same tokens again. Nothing is guessed ahead then, since guesses
    /// change how logits are rounded.
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
/// `length` is the number of tokens that repeat so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dry {
    /// The penalty of the shortest repetition that is penalized, > 0.
    pub multiplier: f32,
    /// The factor by which each further repeated token multiplies the penalty, ≥ 1.
    pub base: f32,
    /// Number of repeated tokens from which on the next one is penalized.
    pub allowed_length: u32,
    /// Number of the last tokens of prompt and output in which repetitions are looked for; `None` looks in all.
    pub penalty_last_n: Option<u32>,
    /// Texts that end a repetition, none of them empty. A token that contains one is never penalized.
    pub sequence_breakers: Vec<String>,
}
