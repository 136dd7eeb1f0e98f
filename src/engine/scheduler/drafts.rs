//! Guessing ahead: the number of tokens to guess for each sequence, the guesses that get rows, and those that were
//! right.
//!
//! A draft is a guess of the tokens that follow a sequence, from any source. Its rows are computed in one step with the
//! row of the sequence's last token, and as many of them count as the sampler then draws one after the other. With a
//! draft that is no distribution but one guess, this *is* rejection sampling (Leviathan et al. 2023): a token is drawn
//! from the model's own distribution, and nothing is lost if it is not the guessed one.
//!
//! Owns the policy, which uses measured times (`costs`) and the rate of right drafts. A row is worth its time if the
//! probability that it counts, in tokens, is more than a step without it yields in the same time. A draft that would
//! not pay gets no rows: its first token is compared with the one that is drawn anyway. So a sequence whose drafts fail
//! loses no time with them, and drafts get rows again soon after they come true. Where prompts wait there are no
//! drafts: rows of prompts are worth more.
//!
//! Drafts of a draft model take time themselves. There, drafts that do not pay pause, longer each time.

use super::{
    DraftRequest, Scheduler,
    acceptance::FIRST_RATE,
    lengths::{common_prefix, count, position},
};
use crate::engine::runner::{Row, Slot};
use crate::protocol::{SequenceId, Token};

/// Largest number of tokens of a draft whose rows are computed to measure their cost.
const TRIAL_TOKENS: u32 = 3;
/// One sequence in this many gets such rows, at least one in all.
const TRIAL_SEQUENCES: u32 = 4;
/// Number of steps between two drafts of a draft model that are made to learn how many come true.
const TRIAL_EVERY: u32 = 96;
/// Factor by which the yield of a draft must exceed its cost: the yield is an average, and the cost is certain.
const MARGIN: f64 = 1.25;

impl Scheduler {
    /// Allows drafts of up to `max_tokens` tokens; by default there are none. Without effect if slots cannot be
    /// truncated.
    #[must_use]
    pub fn with_drafts(mut self, max_tokens: u32) -> Self {
        self.max_draft = if self.limits.can_truncate { max_tokens } else { 0 };
        self
    }

    /// Makes drafts of failing sequences pause: a draft model computes them, so that each costs time.
    #[must_use]
    pub fn with_draft_model(mut self) -> Self {
        self.drafts_cost_time = true;
        self
    }

    /// The sequences that would use a draft in the next step. Must be called once before each `next_step`.
    pub fn take_draft_requests(&mut self) -> Vec<DraftRequest> {
        // After a step that failed there are no drafts until steps succeed again.
        if self.max_draft == 0 || !self.suspects.is_empty() || self.queue.is_paused() {
            return Vec::new();
        }
        self.trial_in = self.trial_in.saturating_sub(1);
        let (decoding, prefilling): (Vec<_>, Vec<_>) = self.running.iter().partition(|id| self.decodes(**id));
        let rows = count(decoding.len());
        if self.waiting_for_rows(&prefilling) > 0 || self.costs.wants_pure_decode(rows) {
            return Vec::new();
        }
        let least_chance = self.break_even(rows).map(|(_, row)| row);
        let wants_trial = self.costs.wants_drafts(rows);
        let requests = decoding.into_iter().map(|id| DraftRequest { id, max_tokens: self.draft_len(id, least_chance, wants_trial) });
        requests.filter(|request| request.max_tokens > 0).collect()
    }

    /// Takes a guess of the tokens that follow a sequence, for the next step. Tokens beyond the sequence's room are cut
    /// off; the guess is dropped if the sequence is not running.
    pub fn propose(&mut self, id: SequenceId, mut draft: Vec<Token>) {
        if let Some(sequence) = self.sequences.get_mut(&id).filter(|sequence| sequence.slot().is_some()) {
            draft.truncate(position(sequence.draft_room().min(self.max_draft)));
            sequence.draft = draft;
        }
    }

    /// True if the step in flight has rows of drafts.
    #[must_use]
    pub fn uses_drafts(&self) -> bool {
        self.in_flight.is_some_and(|in_flight| in_flight.draft_rows > 0)
    }

    /// The tokens of a live sequence: the prompt and the tokens sampled since.
    #[must_use]
    pub fn tokens(&self, id: SequenceId) -> &[Token] {
        self.sequences.get(&id).map_or(&[], |sequence| &sequence.tokens)
    }

    /// The number of guessed tokens that must count to be worth the time of draft rows beside `decode_rows` rows that
    /// decode: for all drafts of a step together, and for each row. `None` until it is known.
    fn break_even(&self, decode_rows: u32) -> Option<(f64, f64)> {
        let (fixed, per_row) = self.costs.draft_cost(decode_rows)?;
        let tokens_per_second = f64::from(decode_rows) / self.costs.decode_seconds(decode_rows)?;
        Some((MARGIN * fixed * tokens_per_second, MARGIN * per_row * tokens_per_second))
    }

    /// Number of tokens to guess for a sequence now: those that are worth it, or some to learn from.
    fn draft_len(&mut self, id: SequenceId, least_chance: Option<f64>, wants_trial: bool) -> u32 {
        let usual = self.acceptance.rate(FIRST_RATE);
        let may_try = self.trial_in == 0 || !self.drafts_cost_time;
        let Some(sequence) = self.sequences.get_mut(&id) else { return 0 };
        let max = sequence.draft_room().min(self.max_draft);
        if max == 0 || sequence.acceptance.pass_step() {
            return 0;
        }
        if let (Some(least), false) = (least_chance, sequence.acceptance.on_trial) {
            let worth = worth(least, sequence.acceptance.rate(usual));
            if worth > 0 {
                return worth.min(max);
            }
            if self.drafts_cost_time {
                sequence.acceptance.pause();
                return 0;
            }
        }
        if !may_try {
            return 0;
        }
        // One token is enough to watch.
        max.min(if wants_trial { TRIAL_TOKENS } else { 1 })
    }

    /// Adds rows for drafts that are worth it, and returns the number of rows. Nothing is evicted for them. The other
    /// drafts are watched.
    pub(super) fn plan_drafts(&mut self, decoding: &[SequenceId], prefilling: &[SequenceId], rows: &mut Vec<Row>) -> u32 {
        let has_draft = |id: &&SequenceId| self.sequences.get(*id).is_some_and(|sequence| !sequence.draft.is_empty());
        let drafted: Vec<SequenceId> = decoding.iter().filter(has_draft).copied().collect();
        let lens = if drafted.is_empty() || self.waiting_for_rows(prefilling) > 0 {
            vec![0; drafted.len()]
        } else {
            self.draft_rows(&drafted, count(decoding.len()))
        };
        let mut draft_rows = 0;
        let mut room = (self.limits.max_rows - count(rows.len())).min(self.cache.slots.free_cells()).min(self.limits.scored_rows());
        for (id, len) in drafted.into_iter().zip(lens) {
            let Some(sequence) = self.sequences.get_mut(&id) else { continue };
            let draft = std::mem::take(&mut sequence.draft);
            if self.drafts_cost_time && sequence.acceptance.on_trial {
                self.trial_in = TRIAL_EVERY;
            }
            // Other tokens of the sequence may come first.
            let last = rows.iter().rfind(|row| row.seq == id).copied().filter(|last| last.pos + 1 == sequence.len());
            let planned = if last.is_some() { room.min(len) } else { 0 };
            sequence.watched = if planned == 0 { draft.first().copied() } else { None };
            let Some(last) = last else { continue };
            room -= planned;
            self.cache.slots.promise(planned);
            draft_rows += planned;
            rows.extend((last.pos + 1..).zip(draft).take(position(planned)).map(|(pos, token)| Row { pos, token, ..last }));
        }
        draft_rows
    }

    /// The number of tokens of each draft that get rows: all, of those that pay, or a few where the cost of rows is
    /// unknown or was measured long ago.
    fn draft_rows(&mut self, drafted: &[SequenceId], decode_rows: u32) -> Vec<u32> {
        if let Some(paying) = self.paying(drafted, decode_rows) {
            return paying;
        }
        let most = if self.costs.wants_drafts(decode_rows) { position(decode_rows.div_ceil(TRIAL_SEQUENCES)) } else { 0 };
        let trial = |(place, id)| if place < most { count(self.sequences[id].draft.len()).min(TRIAL_TOKENS) } else { 0 };
        drafted.iter().enumerate().map(trial).collect()
    }

    /// The number of tokens of each draft that is expected to pay, 0 for the others; `None` if a step with these drafts
    /// is not expected to yield more tokens a second than one without. Drafts that cost time pause where they pay alone
    /// but not together.
    fn paying(&mut self, drafted: &[SequenceId], decode_rows: u32) -> Option<Vec<u32>> {
        let (fixed, per_row) = self.break_even(decode_rows)?;
        let usual = self.acceptance.rate(FIRST_RATE);
        let (mut tokens, mut yields, mut lens) = (0, 0.0, vec![0; drafted.len()]);
        for (id, paying) in drafted.iter().zip(&mut lens) {
            let sequence = &self.sequences[id];
            let (len, rate) = (count(sequence.draft.len()), sequence.acceptance.rate(usual));
            if worth(per_row, rate) > 0 {
                *paying = len;
                tokens += len;
                yields += rate * (1.0 - rate.powf(len.into())) / (1.0 - rate);
            }
        }
        if yields > fixed + per_row * f64::from(tokens) {
            return Some(lens);
        }
        for (id, _) in drafted.iter().zip(lens).filter(|(_, len)| *len > 0 && self.drafts_cost_time) {
            if let Some(sequence) = self.sequences.get_mut(id) {
                sequence.acceptance.pause();
            }
        }
        None
    }

    /// Compares a sequence's watched guess with `next`, the tokens that were drawn.
    pub(super) fn judge_watched(&mut self, id: SequenceId, next: &[Token]) {
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        if let (Some(guess), Some(first)) = (sequence.watched.take(), next.first()) {
            let accepted = u32::from(guess == *first);
            sequence.acceptance.observe(accepted, 1);
            self.acceptance.observe(accepted, 1);
        }
    }

    /// Compares the draft that a slot holds after the sequence's tokens with `next`, the tokens that were drawn, and
    /// drops the part that is wrong.
    pub(super) fn judge_draft(&mut self, id: SequenceId, slot: Slot, next: &[Token]) {
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        let len = sequence.len();
        let draft = &self.cache.slots.record(slot).held[position(len)..];
        if draft.is_empty() {
            return;
        }
        let (drafted, accepted) = (count(draft.len()), common_prefix(draft, next));
        sequence.acceptance.observe(accepted, drafted);
        self.acceptance.observe(accepted, drafted);
        self.totals.draft_rows += u64::from(drafted);
        self.totals.drafts_accepted += u64::from(accepted);
        // The last drawn token is computed in the next step.
        self.cache.truncate(slot, len + accepted.min(count(next.len()).saturating_sub(1)));
    }
}

/// Number of tokens of a draft whose rows are worth it if the probability to be right is `rate` for each, and a row
/// must count with a probability of `least`. The last of k tokens counts with a probability of rateᵏ.
fn worth(least: f64, rate: f64) -> u32 {
    // The cast saturates.
    (least.min(1.0).ln() / rate.ln()) as u32
}
