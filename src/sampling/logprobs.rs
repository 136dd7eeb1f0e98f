//! Log-probabilities under the raw softmax; computed only when asked for.

use super::row::LogitRow;
use super::truncate::{WeightedEntry, best_first, top_k};
use super::{Logprobs, Scratch};
use crate::protocol::Token;

/// The number that stands for minus infinity, which JSON cannot express (vLLM's number).
const FLOOR: f64 = -9999.0;

/// The log-probabilities of a token that was not drawn here, such as the next one of a prompt, and of the `count`
/// likeliest. `None` if `logits` has no candidate or no entry for the token.
#[must_use]
pub fn score(logits: &[f32], token: Token, count: u8, scratch: &mut Scratch) -> Option<Logprobs> {
    logprobs(logits, token, count, &mut scratch.selection.kept)
}

/// The log-probabilities of the chosen token and of the `count` likeliest. `None` if `logits` has no candidate or no
/// entry for the token.
pub(super) fn logprobs(logits: &[f32], chosen: Token, count: u8, best: &mut Vec<WeightedEntry>) -> Option<Logprobs> {
    let row = LogitRow::new(logits, 1.0)?;
    let mass = row.mass(logits);
    let logprob = |logit: f32| row.log_share(logit, mass).max(FLOOR) as f32;
    let chosen = logprob(*logits.get(usize::try_from(chosen.0).ok()?)?);

    top_k(logits, usize::from(count), best);
    best.sort_unstable_by(best_first);
    Some(Logprobs { chosen, top: best.iter().map(|entry| (Token(entry.id), logprob(entry.logit))).collect() })
}
