//! Logits → token, in safe Rust: penalties, bias, temperature, truncation, a seeded draw, log-probabilities.
//!
//! ```text
//! logits ─ penalties ─ logit_bias ─ mask ─ temperature ─ top_k ─ top_p ─ min_p ─ draw(seed, position) ─▶ token
//!    └──── raw softmax ────────────────────────────────────────────────────────────────────────────────▶ log-probabilities
//! ```
//!
//! Owns nothing but the token counts that penalties need: randomness is a function of seed and position, so a
//! sequence that resumes on another engine goes on as if nothing had happened. The vocabulary is never sorted and the
//! caller's logits are never changed. NaN and −inf are no candidates; +inf counts as the largest finite number.
//! It does not know llama.cpp, and runs on whichever thread calls it.

mod allowed;
mod draw;
mod logprobs;
mod penalties;
mod row;
mod sampler;
#[cfg(test)]
mod tests;
mod truncate;

pub use sampler::Sampler;

use crate::protocol::Token;

/// A drawn token.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: Token,
    /// Present if asked for.
    pub logprobs: Option<Logprobs>,
}

/// Natural logs under the raw softmax: before penalties, bias, temperature and truncation. Finite; −9999 for minus infinity.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// Of the drawn token; bit-equal to its entry in `top`, if it has one.
    pub chosen: f32,
    /// The likeliest tokens, best first, ties by lower id. Tokens whose logit is NaN or −inf are left out.
    pub top: Vec<(Token, f32)>,
}

/// A token that survives truncation, with its probability among the survivors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub token: Token,
    /// 0–1; those of all survivors add up to 1.
    pub probability: f64,
}

/// No finite candidate is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no token can be sampled")]
pub struct NoCandidate;

/// Buffers shared by the sequences of a thread, so that a draw allocates nothing once they have grown.
///
/// They never hold more than a few entries per vocabulary entry.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The logits with penalties and bias, for sequences that have any.
    adjusted: Vec<f32>,
    /// The same with only the allowed tokens left, for sequences under a constraint.
    masked: Vec<f32>,
    /// What truncation selects in.
    selection: truncate::Selection,
    /// Mass of each block of the vocabulary, for draws from all of it.
    blocks: Vec<f64>,
}
