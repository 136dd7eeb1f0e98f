//! The engine's forecast for a request that was not submitted: cached tokens, and the present times of prompts and
//! steps.
//!
//! Plain numbers. The gateway derives from them the figures for users (queue, first token, total).

use super::Token;
use serde::{Deserialize, Serialize};

/// A request that might come.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Prospect {
    /// The request's prompts, none of them empty.
    pub prompts: Vec<Vec<Token>>,
    /// Number of sequences for each prompt, at least 1.
    pub choices: u32,
    /// The namespace of the prefix cache, as in `SequenceRequest`.
    pub namespace: u64,
    /// True if log-probabilities of the prompts are wanted: no cache supplies any of their tokens then.
    pub scored: bool,
}

/// The engine's figures between two steps. Times come from the model of step times that also bounds prompt chunks
/// (`engine/scheduler/costs`). The model learns from every step; a time is `None` until enough steps were measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// For each prompt, the number of tokens that the prefix cache would supply if the prompt came alone and now.
    pub cached_tokens: Vec<u32>,
    /// Number of sequences that hold a slot.
    pub running: u32,
    /// Number of sequences that wait for a slot.
    pub waiting: u32,
    /// Number of these that would about be admitted first: keys take turns.
    pub waiting_ahead: u32,
    /// Number of all slots.
    pub slots: u32,
    /// Number of prompt rows of other sequences that would be computed first.
    pub rows_ahead: u64,
    /// Time until the first prompt is computed, `rows_ahead` included, s.
    pub first_prompt_seconds: Option<f64>,
    /// Time until all prompts are computed, `rows_ahead` included, s.
    pub prompts_seconds: Option<f64>,
    /// Time of a step that gives one token to each running sequence and to as many of the request's as find a slot, s.
    pub step_seconds: Option<f64>,
}
