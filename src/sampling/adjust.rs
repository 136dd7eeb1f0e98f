//! Changes to the logits before temperature: penalties, DRY, bias. All of them change a few entries of a row of logits.
//!
//! Owns the state of the sequence that they need, and is the one place that knows their order. A sequence without such
//! changes costs nothing; each other one costs a copy of the row into a reused buffer.

use super::dry::{self, DrySampler};
use super::penalties::{Penalties, entry};
use crate::protocol::{SamplingParams, Token};

/// A bias at or below this takes the token out of the candidates (OpenAI `logit_bias`).
const BAN: f32 = -100.0;

/// The changes to the logits of one sequence.
#[derive(Debug)]
pub(super) struct Adjustments {
    penalties: Penalties,
    dry: Option<DrySampler>,
    bias: Vec<(Token, f32)>,
}

/// Buffers shared by the sequences of a thread.
#[derive(Debug, Default)]
pub(super) struct AdjustBuffers {
    /// The logits with all changes, for sequences that have changes.
    logits: Vec<f32>,
    pub(super) dry: dry::DryBuffers,
}

impl Adjustments {
    /// The changes for a sequence with this prompt that has already generated `generated`.
    pub(super) fn new(params: &SamplingParams, prompt: &[Token], generated: &[Token]) -> Self {
        Self {
            penalties: Penalties::new(params, prompt, generated),
            dry: params.dry.as_ref().map(|dry| DrySampler::new(dry, prompt, generated)),
            bias: params.logit_bias.clone(),
        }
    }

    /// Counts a generated token.
    pub(super) fn count(&mut self, token: Token) {
        self.penalties.count(token);
        if let Some(dry) = &mut self.dry {
            dry.count(token);
        }
    }

    /// The logits with all changes applied: in a buffer, or the caller's own if there are no changes.
    pub(super) fn apply<'a>(&mut self, logits: &'a [f32], buffers: &'a mut AdjustBuffers) -> &'a [f32] {
        let dry = self.dry.as_mut().map_or(&[][..], |dry| dry.penalties(&mut buffers.dry));
        if self.penalties.is_empty() && dry.is_empty() && self.bias.is_empty() {
            return logits;
        }
        buffers.logits.clear();
        buffers.logits.extend_from_slice(logits);
        self.penalties.apply(&mut buffers.logits);
        for &(token, penalty) in dry {
            if let Some(logit) = entry(&mut buffers.logits, token) {
                *logit -= penalty;
            }
        }
        for &(token, bias) in &self.bias {
            if let Some(logit) = entry(&mut buffers.logits, token) {
                *logit = if bias <= BAN { f32::NEG_INFINITY } else { *logit + bias };
            }
        }
        &buffers.logits
    }
}
