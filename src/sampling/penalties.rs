//! Repetition, presence and frequency penalties, and the token counts they depend on.
//!
//! Owns the counts, at most one per distinct token of the sequence, and only if a penalty is on. If the penalties look
//! only at the last tokens, it owns those tokens too.

use crate::protocol::{SamplingParams, Token};
use std::collections::VecDeque;

/// Penalties of tokens that occurred.
#[derive(Debug)]
pub(super) struct Penalties {
    repetition: f32,
    presence: f32,
    frequency: f32,
    /// The tokens that occurred, sorted; empty if no penalty is on.
    seen: Vec<SeenToken>,
    window: Option<PenaltyWindow>,
}

/// A token that occurred, with the numbers of its occurrences in prompt and output.
#[derive(Debug)]
struct SeenToken {
    token: Token,
    prompt: u32,
    generated: u32,
}

/// The last tokens, where only they count.
#[derive(Debug)]
struct PenaltyWindow {
    /// Largest number of tokens in the window.
    size: usize,
    /// The tokens, oldest first, each with true if it was generated.
    tokens: VecDeque<(Token, bool)>,
}

impl Penalties {
    /// The penalties for a sequence with this prompt that has already generated `generated`.
    pub(super) fn new(params: &SamplingParams, prompt: &[Token], generated: &[Token]) -> Self {
        let mut penalties = Self {
            repetition: params.repetition_penalty,
            presence: params.presence_penalty,
            frequency: params.frequency_penalty,
            seen: Vec::new(),
            window: None,
        };
        if !penalties.are_on() {
            return penalties;
        }
        let last_n = params.repeat_last_n.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let size = last_n.unwrap_or(usize::MAX);
        let generated = &generated[generated.len().saturating_sub(size)..];
        let prompt = &prompt[prompt.len().saturating_sub(size - generated.len())..];
        if last_n.is_some() {
            let tokens = prompt.iter().map(|&token| (token, false)).chain(generated.iter().map(|&token| (token, true))).collect();
            penalties.window = Some(PenaltyWindow { size, tokens });
        }
        // OpenAI's penalties count generated tokens; only the repetition penalty looks at the prompt too.
        let prompt = if penalties.counts_prompt() { prompt } else { &[] };
        let mut seen: Vec<SeenToken> = prompt.iter().map(|&token| SeenToken { token, prompt: 1, generated: 0 }).collect();
        seen.extend(generated.iter().map(|&token| SeenToken { token, prompt: 0, generated: 1 }));
        seen.sort_unstable_by_key(|seen| seen.token);
        seen.dedup_by(|next, kept| {
            let same = next.token == kept.token;
            if same {
                kept.prompt += next.prompt;
                kept.generated += next.generated;
            }
            same
        });
        penalties.seen = seen;
        penalties
    }

    /// Counts a generated token.
    pub(super) fn count(&mut self, token: Token) {
        if !self.are_on() {
            return;
        }
        match self.seen.binary_search_by_key(&token, |seen| seen.token) {
            Ok(at) => self.seen[at].generated += 1,
            Err(at) => self.seen.insert(at, SeenToken { token, prompt: 0, generated: 1 }),
        }
        let Some(window) = &mut self.window else { return };
        window.tokens.push_back((token, true));
        if window.tokens.len() > window.size
            && let Some((oldest, generated)) = window.tokens.pop_front()
        {
            self.forget(oldest, generated);
        }
    }

    /// Takes back one count of a token that has left the window.
    fn forget(&mut self, token: Token, generated: bool) {
        let counted = generated || self.counts_prompt();
        if !counted {
            return;
        }
        if let Ok(at) = self.seen.binary_search_by_key(&token, |seen| seen.token) {
            let seen = &mut self.seen[at];
            let count = if generated { &mut seen.generated } else { &mut seen.prompt };
            *count = count.saturating_sub(1);
            if (seen.prompt, seen.generated) == (0, 0) {
                self.seen.remove(at);
            }
        }
    }

    /// True if no logit would change.
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Applies the penalties to the logits.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for seen in &self.seen {
            if let Some(logit) = entry(logits, seen.token) {
                *logit = self.penalized(*logit, seen.generated);
            }
        }
    }

    /// Applies repetition first, then presence and frequency, as vLLM and llama.cpp do.
    fn penalized(&self, logit: f32, generated: u32) -> f32 {
        // Dividing a negative logit would reward the repetition.
        let mut logit = if logit > 0.0 { logit / self.repetition } else { logit * self.repetition };
        if generated > 0 {
            logit -= self.presence + self.frequency * generated as f32;
        }
        logit
    }

    fn are_on(&self) -> bool {
        self.counts_prompt() || self.presence != 0.0 || self.frequency != 0.0
    }

    fn counts_prompt(&self) -> bool {
        self.repetition != 1.0
    }
}

/// The logit of a token; `None` for an id outside the vocabulary, which the API refuses before it gets here.
pub(super) fn entry(logits: &mut [f32], token: Token) -> Option<&mut f32> {
    logits.get_mut(usize::try_from(token.0).ok()?)
}
