//! Penalties and bias: sparse changes to a row of logits, and the token counts they depend on.
//!
//! Owns the counts, at most one per distinct token of the sequence, and only if a penalty is on. A sequence without
//! penalties and bias pays nothing; others pay one copy of the row into a reused buffer.

use crate::protocol::{SamplingParams, Token};

/// A bias at or below this takes the token out of the candidates (OpenAI `logit_bias`).
const BAN: f32 = -100.0;

/// What is done to the logits before temperature.
#[derive(Debug)]
pub(super) struct Adjustments {
    repetition: f32,
    presence: f32,
    frequency: f32,
    bias: Vec<(Token, f32)>,
    /// Sorted by token; empty if no penalty is on.
    seen: Vec<Seen>,
}

/// A token that occurred. Zero times generated means: only in the prompt.
#[derive(Debug)]
struct Seen {
    token: Token,
    generated: u32,
}

impl Adjustments {
    /// For a sequence with this prompt that has already generated `generated`.
    pub(super) fn new(params: &SamplingParams, prompt: &[Token], generated: &[Token]) -> Self {
        let mut adjustments = Self {
            repetition: params.repetition_penalty,
            presence: params.presence_penalty,
            frequency: params.frequency_penalty,
            bias: params.logit_bias.clone(),
            seen: Vec::new(),
        };
        if adjustments.counts() {
            // OpenAI's penalties count what was generated; only the repetition penalty looks at the prompt too.
            let prompt = if adjustments.repetition == 1.0 { &[] } else { prompt };
            let mut seen: Vec<Seen> = prompt.iter().map(|&token| Seen { token, generated: 0 }).collect();
            seen.extend(generated.iter().map(|&token| Seen { token, generated: 1 }));
            seen.sort_unstable_by_key(|seen| seen.token);
            seen.dedup_by(|next, kept| {
                let same = next.token == kept.token;
                kept.generated += if same { next.generated } else { 0 };
                same
            });
            adjustments.seen = seen;
        }
        adjustments
    }

    /// Counts a generated token.
    pub(super) fn count(&mut self, token: Token) {
        if !self.counts() {
            return;
        }
        match self.seen.binary_search_by_key(&token, |seen| seen.token) {
            Ok(at) => self.seen[at].generated += 1,
            Err(at) => self.seen.insert(at, Seen { token, generated: 1 }),
        }
    }

    /// The logits with all changes applied: in `buffer`, or as they are if there are none.
    pub(super) fn apply<'a>(&self, logits: &'a [f32], buffer: &'a mut Vec<f32>) -> &'a [f32] {
        if self.seen.is_empty() && self.bias.is_empty() {
            return logits;
        }
        buffer.clear();
        buffer.extend_from_slice(logits);
        for seen in &self.seen {
            if let Some(logit) = entry(buffer, seen.token) {
                *logit = self.penalized(*logit, seen.generated);
            }
        }
        for &(token, bias) in &self.bias {
            if let Some(logit) = entry(buffer, token) {
                *logit = if bias <= BAN { f32::NEG_INFINITY } else { *logit + bias };
            }
        }
        buffer
    }

    /// Repetition first, then presence and frequency, as vLLM and llama.cpp do.
    fn penalized(&self, logit: f32, generated: u32) -> f32 {
        // Dividing a negative logit would reward the repetition.
        let mut logit = if logit > 0.0 { logit / self.repetition } else { logit * self.repetition };
        if generated > 0 {
            logit -= self.presence + self.frequency * generated as f32;
        }
        logit
    }

    fn counts(&self) -> bool {
        self.repetition != 1.0 || self.presence != 0.0 || self.frequency != 0.0
    }
}

/// The token's entry; none for an id outside the vocabulary, which the API refuses before it gets here.
fn entry(logits: &mut [f32], token: Token) -> Option<&mut f32> {
    logits.get_mut(usize::try_from(token.0).ok()?)
}
