//! Forecasts for a request that was not submitted: its cached tokens, and the time that its parts would take.
//!
//! Changes nothing. Times are estimates of `costs` for the present work. They do not include the wait for a slot,
//! because the remaining length of running sequences is unknown.

use super::{Scheduler, lengths::count};
use crate::protocol::{Forecast, Prospect, SequenceId, Token};

impl Scheduler {
    /// See [`Forecast`]. Takes time in proportion to slots and tokens of the prompts.
    #[must_use]
    pub fn forecast(&self, prospect: &Prospect) -> Forecast {
        let cached_tokens: Vec<u32> = prospect.prompts.iter().map(|prompt| self.would_be_cached(prompt, prospect)).collect();
        let to_compute = prospect.prompts.iter().zip(&cached_tokens);
        let rows: Vec<u64> = to_compute.map(|(prompt, cached)| u64::from(count(prompt.len()).saturating_sub(*cached))).collect();
        // Further choices of a prompt find the first one's rows in the cache, except the row of the last token.
        let of_a_choice = |rows: &u64| if prospect.scored { *rows } else { 1 };
        let more_choices = u64::from(prospect.choices.saturating_sub(1));
        let all_rows: u64 = rows.iter().map(|rows| rows + more_choices * of_a_choice(rows)).sum();

        let (decoding, prefilling): (Vec<SequenceId>, Vec<_>) = self.running.iter().partition(|id| self.decodes(**id));
        let ahead: Vec<SequenceId> = self.queue.ahead_of(prospect.namespace).collect();
        let waiting_rows = ahead.iter().map(|id| u64::from(self.sequences[id].len()));
        let rows_ahead = prefilling.iter().map(|id| u64::from(self.left(*id))).chain(waiting_rows).sum();
        let others = count(prefilling.len() + ahead.len());
        let seconds = |rows: u64| self.costs.prompt_seconds(rows, count(decoding.len()), others.saturating_add(1));

        let running = count(self.running.len());
        let sequences = prospect.choices.saturating_mul(count(prospect.prompts.len()));
        let together = running.saturating_add(sequences).min(self.limits.slots);
        Forecast {
            cached_tokens,
            running,
            waiting: count(self.queue.len()),
            waiting_ahead: count(ahead.len()),
            slots: self.limits.slots,
            rows_ahead,
            first_prompt_seconds: seconds(rows_ahead + rows.first().copied().unwrap_or(0)),
            prompts_seconds: seconds(rows_ahead + all_rows),
            step_seconds: self.costs.decode_seconds(together),
        }
    }

    fn would_be_cached(&self, prompt: &[Token], prospect: &Prospect) -> u32 {
        match prompt.split_last() {
            // The last token is always computed, for its logits; all tokens are if their log-probabilities are wanted.
            Some((_, reusable)) if !prospect.scored => self.cache.would_find(reusable, prospect.namespace),
            _ => 0,
        }
    }
}
