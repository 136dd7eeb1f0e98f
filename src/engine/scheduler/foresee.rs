//! What would become of a request: what the cache holds of it, and how long its parts would take.
//!
//! Changes nothing. Times are `budget`'s model of a step, applied to the work at hand; queueing for a slot is not in
//! them, because nobody here knows how long running sequences will go on.

use super::Scheduler;
use super::budget::Demand;
use super::sequence::count;
use crate::protocol::{Forecast, Prospect};

impl Scheduler {
    /// See [`Forecast`]. Takes time in proportion to slots and tokens of the prompts.
    #[must_use]
    pub fn foresee(&self, prospect: &Prospect) -> Forecast {
        let reusable = |prompt: &Vec<_>| prompt.len().saturating_sub(1);
        let cached_tokens: Vec<u32> =
            prospect.prompts.iter().map(|prompt| self.cache.would_find(&prompt[..reusable(prompt)], prospect.namespace)).collect();
        // Further choices of a prompt find in the cache what the first one computed, all but the last token.
        let more_choices = u64::from(prospect.choices.saturating_sub(1));
        let rows: Vec<u64> = prospect
            .prompts
            .iter()
            .zip(&cached_tokens)
            .map(|(prompt, cached)| u64::from(count(prompt.len()).saturating_sub(*cached)) + more_choices)
            .collect();
        let (decoding, prefilling): (Vec<u32>, Vec<u32>) = self.running.iter().map(|id| self.left(*id)).partition(|left| *left == 1);
        let waiting_rows = self.waiting.iter().map(|id| u64::from(self.sequences[id].len()));
        let rows_ahead = prefilling.iter().copied().map(u64::from).chain(waiting_rows).sum();
        let sequences = prospect.choices.saturating_mul(count(prospect.prompts.len()));
        let others = count(prefilling.len() + self.waiting.len());
        // Whether a prompt is short matters only at its own turn, which comes last.
        let demand = Demand { sequences: others.saturating_add(1), short: false };
        let decode_rows = count(decoding.len());
        let seconds = |rows: u64| self.budget.prompt_seconds(rows, decode_rows, demand);
        let first = rows.first().map_or(0, |rows| rows - more_choices);
        let together = count(self.running.len()).saturating_add(sequences).min(self.limits.slots);
        Forecast {
            cached_tokens,
            running: count(self.running.len()),
            waiting: count(self.waiting.len()),
            slots: self.limits.slots,
            rows_ahead,
            first_prompt_seconds: seconds(rows_ahead + first),
            prompts_seconds: seconds(rows_ahead + rows.iter().sum::<u64>()),
            step_seconds: self.budget.decode_seconds(together),
        }
    }
}
