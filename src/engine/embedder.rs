//! The seam between collecting inputs and computing their vectors: the trait that an embedding model implements.
//!
//! Implemented by `llama/` and, in tests, by a deterministic fake.

use super::runner::StepError;
use crate::protocol::Token;

/// The limits of an embedder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbedLimits {
    /// Longest input, tokens.
    pub max_input: u32,
    /// Tokens that a batch is filled up to; a single input of up to `max_input` is a batch whatever this says.
    pub batch_tokens: u32,
    /// Inputs in one batch at most, ≥ 1.
    pub batch_inputs: u32,
    /// Token ids are below this.
    pub vocabulary_size: u32,
    /// Numbers in a vector.
    pub dimensions: u32,
}

/// Computes vectors. Lives on the engine thread and need not be `Send`.
pub trait Embedder {
    /// Constant for the life of the embedder.
    fn limits(&self) -> EmbedLimits;

    /// One vector of `dimensions` numbers for each input, independent of its company but for the last bits.
    ///
    /// The inputs are within the limits: a batch, none of them empty, every token in the vocabulary.
    ///
    /// # Errors
    /// See [`StepError`]. Nothing is left of a batch that failed.
    fn embed(&mut self, inputs: &[&[Token]]) -> Result<Vec<Vec<f32>>, StepError>;
}
