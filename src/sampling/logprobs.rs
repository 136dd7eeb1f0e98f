//! Log-probabilities under the raw softmax; computed only when asked for.

use super::Logprobs;
use super::row::Row;
use super::truncate::{Entry, best_first, top_k};
use crate::protocol::Token;

/// Stands for minus infinity, which JSON cannot say (vLLM's number).
const FLOOR: f64 = -9999.0;

/// Of the chosen token and of the `count` likeliest. `None` if `logits` has no candidate or no entry for the token.
pub(super) fn logprobs(logits: &[f32], chosen: Token, count: u8, best: &mut Vec<Entry>) -> Option<Logprobs> {
    let row = Row::new(logits, 1.0)?;
    let mass = row.mass(logits);
    let logprob = |logit: f32| row.log_share(logit, mass).max(FLOOR) as f32;
    let chosen = logprob(*logits.get(usize::try_from(chosen.0).ok()?)?);

    top_k(logits, usize::from(count), best);
    best.sort_unstable_by(best_first);
    Some(Logprobs { chosen, top: best.iter().map(|entry| (Token(entry.id), logprob(entry.logit))).collect() })
}
