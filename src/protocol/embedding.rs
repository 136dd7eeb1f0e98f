//! Embedding models: their facts, the batches that they compute, and their errors.
//!
//! A model either generates or embeds: llama.cpp sets the pooling for a whole context, and an engine has one context.

use super::Token;
use serde::{Deserialize, Serialize};

/// The way from the vectors of an input's tokens to one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pooling {
    /// The mean of all vectors.
    Mean,
    /// The first vector, that of the classification token.
    Cls,
    /// The last vector.
    Last,
    /// A head on top of the model turns a query with a document into one score.
    Rank(RankScore),
}

/// The meaning of a rank head's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RankScore {
    /// Any number; its sigmoid is the relevance.
    Logit,
    /// The relevance itself, 0–1.
    Probability,
}

/// Facts that a gateway needs about a model that embeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingInfo {
    /// Length of a vector, numbers; 1 for a rank head.
    pub dimensions: u32,
    /// The way from token vectors to one vector.
    pub pooling: Pooling,
    /// Longest input, tokens, special ones included.
    pub max_input_tokens: u32,
    /// Tokens up to which a batch is filled. A single longer input is a batch by itself.
    pub batch_tokens: u32,
    /// Largest number of inputs in one batch.
    pub batch_inputs: u32,
    /// Special tokens before and after a text.
    pub around_text: (Vec<Token>, Vec<Token>),
    /// Special tokens before, between and after a query and a document.
    pub around_pair: (Vec<Token>, Vec<Token>, Vec<Token>),
}

/// Inputs that are computed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedBatch {
    /// The inputs, special tokens included: 1 to [`EmbeddingInfo::batch_inputs`] of them, none empty.
    pub inputs: Vec<Vec<Token>>,
    /// True if no other call may share the batch, because an engine may have died of this call or of one in the same
    /// batch.
    pub alone: bool,
}

/// The reason why an input has no vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EmbedError {
    /// The call breaks the engine's limits; a gateway bug.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// `llama_decode` refused the input.
    #[error("the model could not be evaluated (code {code})")]
    Decode {
        /// llama.cpp's return code.
        code: i32,
    },
    /// The vector has numbers that are not finite.
    #[error("the model's vector has numbers that are not finite")]
    NotFinite,
}
