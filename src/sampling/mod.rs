//! Logits → token, in safe Rust: penalties, bias, temperature, truncation, a seeded draw, log-probabilities.

use crate::protocol::{SamplingParams, Token};

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
    /// Of the drawn token.
    pub chosen: f32,
    /// The likeliest tokens, best first, ties by lower id.
    pub top: Vec<(Token, f32)>,
}

/// No finite candidate is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no token can be sampled")]
pub struct NoCandidate;

/// Buffers shared by the sequences of a thread, so that a draw allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {}

/// Draws the tokens of one sequence.
#[derive(Debug)]
pub struct Sampler {}

#[expect(unused_variables, clippy::needless_pass_by_value, reason = "signatures first; the body follows")]
impl Sampler {
    /// For a sequence with this prompt that has already generated `generated`.
    #[must_use]
    pub fn new(params: SamplingParams, prompt: &[Token], generated: &[Token]) -> Self {
        unimplemented!()
    }

    /// Draws the next token and counts it as generated. `logprobs` asks for that many alternatives.
    ///
    /// # Errors
    /// `NoCandidate` if no finite logit is left.
    pub fn sample(&mut self, logits: &[f32], logprobs: Option<u8>, scratch: &mut Scratch) -> Result<Choice, NoCandidate> {
        unimplemented!()
    }
}
