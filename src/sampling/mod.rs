//! Logits → token, in safe Rust: penalties, bias, temperature, truncation, a seeded draw, log-probabilities.
//!
//! ```text
//! logits ─ penalties ─ DRY ─ logit_bias ─ mask ─ temperature ─ top_n_sigma ─┐
//!    │       ┌──────────────────────────────────────────────────────────────┘
//!    │       └ top_k ─ typical_p ─ top_p ─ min_p ─ XTC ─ draw ─▶ token
//!    └──── raw softmax ─────────────────────────────────▶ log-probabilities
//! ```
//!
//! Owns the counts of a sequence's own tokens that penalties need, and no other state: randomness is a function of
//! seed, position and token (`noise.rs`), so a sequence that resumes on another engine continues as if nothing had
//! happened. For the same reason there is no sampler whose state comes from earlier logits, such as mirostat. The
//! vocabulary is never sorted and the caller's logits are never changed. NaN and −inf are no candidates; +inf counts as
//! the largest finite number. The module knows neither llama.cpp nor a tokenizer, and runs on the thread that calls it.
//!
//! Written by hand: the draws of llama.cpp's samplers depend on the state of a generator, which is lost when an engine
//! dies.

mod adjust;
mod allowed;
mod draw;
mod dry;
mod logprobs;
mod noise;
mod penalties;
mod row;
mod sampler;
mod temperature;
#[cfg(test)]
mod tests;
mod truncate;

pub use logprobs::score;
pub use sampler::Sampler;

use crate::protocol::Token;
use std::sync::Arc;

/// A drawn token.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnToken {
    /// The token that was drawn.
    pub token: Token,
    /// The token's log-probabilities, if they were asked for.
    pub logprobs: Option<Logprobs>,
}

/// Log-probabilities (natural log) under the raw softmax: before penalties, bias, temperature and truncation. Finite;
/// −9999 stands for minus infinity.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// The log-probability of the drawn token; bit-equal to its entry in `top`, if it has one.
    pub chosen: f32,
    /// The likeliest tokens, best first, ties by lower id. Tokens whose logit is NaN or −inf are left out.
    pub top: Vec<(Token, f32)>,
}

/// A token that survives truncation, with its probability among the survivors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token that survives.
    pub token: Token,
    /// The token's probability, 0–1; the probabilities of all survivors add up to 1.
    pub probability: f64,
}

/// No finite candidate is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no token can be sampled")]
pub struct NoCandidate;

/// The texts of tokens; DRY looks for sequence breakers in them.
pub trait Pieces: Send + Sync {
    /// The bytes that a token adds to a text, special tokens written out; empty for an id outside the vocabulary.
    fn piece(&self, token: Token) -> &[u8];
}

/// Shared by the sequences of a thread: the texts of tokens, and buffers, so that a draw allocates nothing once they
/// have grown. The buffers never hold more than a few entries per entry of the vocabulary and per token of the longest
/// sequence.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The logits with penalties and bias, for sequences that have such changes.
    adjusting: adjust::AdjustBuffers,
    /// The logits with only the allowed tokens left, for sequences under a constraint.
    masked: Vec<f32>,
    /// The buffers of truncation.
    selection: truncate::Selection,
}

impl Scratch {
    /// Buffers with the texts of the vocabulary. By default no token has a text, and no breaker occurs.
    #[must_use]
    pub fn new(pieces: Arc<dyn Pieces>) -> Self {
        let mut scratch = Self::default();
        scratch.adjusting.dry.pieces = Some(pieces);
        scratch
    }
}
