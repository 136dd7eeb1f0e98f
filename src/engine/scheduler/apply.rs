//! Applies the result of a step: rows held, tokens sampled, or a failure and how to go on after it.
//!
//! Every failure ends in fewer possibilities to fail (an empty cache, one sequence less running, one suspect less), so
//! nothing is retried for ever.

use super::{Sampled, Scheduler, Suspect};
use crate::engine::runner::{Row, Step, StepError};
use crate::protocol::{GenerationError, SequenceId};
use std::time::Duration;

impl Scheduler {
    /// Applies an executed step. `sampled` has one entry for each last row of a sequence that is still alive.
    ///
    /// Entries of sequences that were cancelled meanwhile are passed over; the rows stay as cache.
    pub fn complete(&mut self, step: &Step, sampled: &[Sampled], elapsed: Duration) {
        let in_flight = self.in_flight.take().unwrap_or_default();
        self.costs.observe(step, in_flight, elapsed);
        self.cache.slots.commit(&step.rows);
        self.totals.prefill_rows += u64::from(in_flight.prompt_rows);
        self.queue.on_step();
        if let (Some(suspect), Some(row)) = (self.suspects.front(), step.rows.last())
            && suspect.id == row.seq
            && suspect.until <= self.cache.held(row.slot)
        {
            self.suspects.pop_front();
        }
        for sampled in sampled {
            self.apply_sampled(sampled);
        }
    }

    fn apply_sampled(&mut self, sampled: &Sampled) {
        let Some(sequence) = self.sequences.get(&sampled.id) else { return };
        // An id that was cancelled and submitted anew during the step is not the one that was sampled.
        let Some(slot) = sequence.slot().filter(|slot| self.cache.held(*slot) >= sequence.len()) else { return };
        self.judge_draft(sampled.id, slot, &sampled.tokens);
        if sampled.finished {
            self.remove(sampled.id);
        } else if let Some(sequence) = self.sequences.get_mut(&sampled.id) {
            sampled.tokens.iter().for_each(|token| sequence.push(*token));
            self.totals.forced_rows += u64::from(sampled.forced);
        }
    }

    /// Applies a step that failed. Returns the sequences that cannot go on; the others run again.
    ///
    /// * No room: the cache is dropped; if there was none, the latest admission is put back to wait; a sequence that
    ///   has everything for itself is tried once more, then fails.
    /// * The evaluation failed: each sequence of the step runs alone until it is past the step; one that fails alone
    ///   is dropped.
    /// * Parked content could not be loaded: it is forgotten, and who was to get it computes it.
    pub fn fail(&mut self, step: &Step, error: &StepError) -> Vec<(SequenceId, GenerationError)> {
        self.cache.slots.abandon();
        self.in_flight = None;
        if let StepError::NotLoaded(slots) = error {
            self.cache.not_loaded(&step.kv, slots);
            return Vec::new();
        }
        // Without room nothing was computed, and content that cannot be cut should not be thrown away; cutting again is
        // free.
        if self.cache.can_truncate || *error != StepError::NoKvSpace {
            for rows in step.rows.chunk_by(|a, b| a.slot == b.slot) {
                self.cache.repair(rows[0].slot);
            }
        }
        let failed = match error {
            StepError::NoKvSpace => self.give_way().map(|id| (id, GenerationError::KvExhausted)),
            StepError::Decode { code } => self.isolate(step).map(|id| (id, GenerationError::Decode { code: *code })),
            StepError::NotLoaded(_) => None,
        };
        if let Some((id, _)) = &failed {
            self.remove(*id);
        }
        failed.into_iter().collect()
    }

    /// Frees cells that the runner lacks. Returns who must fail because nothing is left to free.
    fn give_way(&mut self) -> Option<SequenceId> {
        let again = self.queue.pause();
        if self.cache.evict_all() {
            return None;
        }
        if let [id] = self.running[..] {
            return again.then_some(id);
        }
        self.preempt_latest();
        self.cache.evict_all();
        None
    }

    /// Queues the step's sequences to run alone. Returns the one that did and failed again.
    fn isolate(&mut self, step: &Step) -> Option<SequenceId> {
        let last_rows = step.rows.chunk_by(|a, b| a.seq == b.seq).filter_map(<[Row]>::last);
        // Guessed tokens need not be the right ones.
        let until = |row: &Row| (row.pos + 1).min(self.sequences[&row.seq].len());
        let mut live = last_rows.filter(|row| self.running.contains(&row.seq)).map(|row| Suspect { id: row.seq, until: until(row) });
        if let Some(suspect) = self.suspects.front() {
            // A sequence that was cancelled meanwhile is no suspect any more, and the next one has not run yet.
            return live.next().map(|row| row.id).filter(|id| *id == suspect.id);
        }
        self.suspects = live.collect();
        None
    }
}
