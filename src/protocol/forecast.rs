//! The engine's forecast for a request that it was not given: cached
//! tokens, and times of prompts and steps as they are now.
//!
//! Plain numbers. Whoever asked derives from them the figures for users (queue, first token, total).

use super::Token;
use serde::{Deserialize, Serialize};

/// A request that might come.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Prospect {
    /// Its prompts, none of them empty.
    pub prompts: Vec<Vec<Token>>,
    /// Sequences for each prompt, at least 1.
    pub choices: u32,
    /// Prefix-cache isolation, as in `SequenceRequest`.
    pub namespace: u64,
    /// True if log-probabilities of the prompts are wanted: then no cache supplies any of them.
    pub scored: bool,
}

/// The engine's figures between two steps. Times come from the model of step times that also bounds prompt chunks
/// (`engine/scheduler/costs`), which learns from every step; `None` until enough of them were measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// For each prompt, the tokens that the prefix cache would supply if it came alone and now.
    pub cached_tokens: Vec<u32>,
    /// Sequences that hold a slot.
    pub running: u32,
    /// Sequences that wait for one.
    pub waiting: u32,
    /// Slots there are.
    pub slots: u32,
    /// Prompt rows of others that would be computed first.
    pub rows_ahead: u64,
    /// Until the first prompt is computed, those rows included, s.
    pub first_prompt_seconds: Option<f64>,
    /// Until all prompts are computed, s.
    pub prompts_seconds: Option<f64>,
    /// A step that gives one token to each running sequence and to as many of the request's as find a slot, s.
    pub step_seconds: Option<f64>,
}
