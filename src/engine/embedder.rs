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
    /// Number of tokens up to which a batch is filled. A single input of up to `max_input` tokens is a batch even if it
    /// is longer.
    pub batch_tokens: u32,
    /// Largest number of inputs in one batch, ≥ 1.
    pub batch_inputs: u32,
    /// Size of the vocabulary; token ids are below it.
    pub vocabulary_size: u32,
    /// Length of a vector, numbers.
    pub dimensions: u32,
}

/// Computes vectors. Lives on the engine thread and need not be `Send`.
pub trait Embedder {
    /// The limits of this embedder, which never change.
    fn limits(&self) -> EmbedLimits;

    /// Computes one vector of `dimensions` numbers for each input. Other inputs of the batch change at most its last
    /// bits.
    ///
    /// The inputs are within the limits: they fit one batch, none is empty, and every token is in the vocabulary.
    ///
    /// # Errors
    /// See [`StepError`]. Nothing is left of a batch that failed.
    fn embed(&mut self, inputs: &[&[Token]]) -> Result<Vec<Vec<f32>>, StepError>;
}
