//! Applies the result of a step: rows that are now held, and sampled tokens; or a failure, and the way to continue
//! after it.
//!
//! Every failure leaves fewer ways to fail (an empty cache, one running sequence less, one suspect less), so nothing is
//! retried for ever.

use super::{Sampled, Scheduler, Suspect};
use crate::engine::runner::{Row, Step, StepError};
use crate::protocol::{GenerationError, SequenceId};
use std::time::Duration;

impl Scheduler {
    /// Applies an executed step. `sampled` has one entry for each last row of a sequence that is still alive.
    ///
    /// Entries of sequences that were cancelled in the meantime are ignored; their rows stay as cache.
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
        // A sequence that was cancelled and submitted again with the same id during the step is not the one that was
        // sampled.
        let Some(slot) = sequence.slot().filter(|slot| self.cache.held(*slot) >= sequence.len()) else { return };
        self.judge_draft(sampled.id, slot, &sampled.tokens);
        self.judge_watched(sampled.id, &sampled.tokens);
        if sampled.finished {
            self.remove(sampled.id);
        } else if let Some(sequence) = self.sequences.get_mut(&sampled.id) {
            sampled.tokens.iter().for_each(|token| sequence.push(*token));
            self.totals.forced_rows += u64::from(sampled.forced);
        }
    }

    /// Applies a step that failed. Returns the sequences that cannot continue; the others run again.
    ///
    /// * No room: the cache is dropped. If it was empty, the latest admission is put back to wait. A sequence that has
    ///   everything for itself is tried once more, then fails.
    /// * The evaluation failed: each sequence of the step runs alone until it is past the step. One that fails alone is
    ///   dropped.
    /// * Parked content could not be loaded: it is forgotten, and the sequences that were to get it compute it.
    pub fn fail(&mut self, step: &Step, error: &StepError) -> Vec<(SequenceId, GenerationError)> {
        self.cache.slots.abandon();
        self.in_flight = None;
        if let StepError::NotLoaded(slots) = error {
            self.cache.not_loaded(&step.kv, slots);
            return Vec::new();
        }
        // If there was no room, nothing was computed, so content that cannot be cut is kept; content that can be cut is
        // cut again at no cost.
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

    /// Frees cells that the runner lacks. Returns the sequence that must fail, if nothing is left to free.
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

    /// Queues the step's sequences to run alone. Returns the sequence that already ran alone and failed again.
    fn isolate(&mut self, step: &Step) -> Option<SequenceId> {
        let last_rows = step.rows.chunk_by(|a, b| a.seq == b.seq).filter_map(<[Row]>::last);
        // Guessed tokens may be wrong, so only the sequence's own tokens count.
        let until = |row: &Row| (row.pos + 1).min(self.sequences[&row.seq].len());
        let mut live = last_rows.filter(|row| self.running.contains(&row.seq)).map(|row| Suspect { id: row.seq, until: until(row) });
        if let Some(suspect) = self.suspects.front() {
            // If the suspect was cancelled in the meantime, it is no suspect any more, and the next suspect has not run
            // yet.
            return live.next().map(|row| row.id).filter(|id| *id == suspect.id);
        }
        self.suspects = live.collect();
        None
    }
}
