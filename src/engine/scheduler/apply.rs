//! Applies what came of a step: rows held, tokens sampled, or a failure and how to go on after it.
//!
//! Every failure ends in fewer possibilities to fail (an empty cache, one sequence less running, one suspect less), so
//! nothing is retried for ever.

use super::{Sampled, Scheduler};
use crate::engine::runner::{Step, StepError};
use crate::protocol::{GenerationError, SequenceId};
use std::time::Duration;

/// Completed steps without admissions after the runner had no room; a sequence that ends lifts it sooner.
const PAUSE_STEPS: u32 = 16;

impl Scheduler {
    /// Applies an executed step. `sampled` has one entry for each row with `sample` whose sequence is still alive.
    ///
    /// Entries of sequences that were cancelled meanwhile are passed over; the rows stay as cache.
    pub fn complete(&mut self, step: &Step, sampled: &[Sampled], elapsed: Duration) {
        self.budget.observe(step, elapsed);
        self.cache.commit(&step.rows);
        self.counts.prefill_rows += u64::from(std::mem::take(&mut self.prefill_in_flight));
        self.admission_pause = self.admission_pause.saturating_sub(1);
        if self.suspects.front().is_some_and(|suspect| step.rows.iter().any(|row| row.seq == *suspect)) {
            self.suspects.pop_front();
        }
        for sampled in sampled {
            self.apply_sampled(sampled);
        }
    }

    fn apply_sampled(&mut self, sampled: &Sampled) {
        let Some(sequence) = self.sequences.get_mut(&sampled.id) else { return };
        // An id that was cancelled and submitted anew during the step is not the one that was sampled.
        if sequence.slot().map(|slot| self.cache.held(slot)) != Some(sequence.len()) {
            return;
        }
        if sampled.finished {
            self.remove(sampled.id);
        } else {
            sequence.push(sampled.token);
        }
    }

    /// Applies a step that failed. Returns the sequences that cannot go on; the others run again.
    ///
    /// * No room: the cache is dropped; if there was none, the latest admission is put back to wait; if one sequence has
    ///   everything for itself, it fails.
    /// * The evaluation failed: each sequence of the step runs alone once; one that fails alone is dropped.
    pub fn fail(&mut self, step: &Step, error: &StepError) -> Vec<(SequenceId, GenerationError)> {
        self.cache.abandon();
        self.prefill_in_flight = 0;
        // Without room nothing was computed, and what cannot be cut should not be thrown away; cutting again is free.
        if self.cache.can_truncate || *error != StepError::NoKvSpace {
            for rows in step.rows.chunk_by(|a, b| a.slot == b.slot) {
                self.cache.repair(rows[0].slot);
            }
        }
        let failed = match error {
            StepError::NoKvSpace => self.give_way().map(|id| (id, GenerationError::KvExhausted)),
            StepError::Decode { code } => self.isolate(step).map(|id| (id, GenerationError::Decode { code: *code })),
        };
        if let Some((id, _)) = &failed {
            self.remove(*id);
        }
        failed.into_iter().collect()
    }

    /// Frees cells that the runner lacks. Returns who must fail because nothing is left to free.
    fn give_way(&mut self) -> Option<SequenceId> {
        self.admission_pause = PAUSE_STEPS;
        if self.cache.evict_all() {
            return None;
        }
        if let [id] = self.running[..] {
            return Some(id);
        }
        self.preempt_latest();
        self.cache.evict_all();
        None
    }

    /// Queues the step's sequences to run alone. Returns the one that did and failed again.
    fn isolate(&mut self, step: &Step) -> Option<SequenceId> {
        let mut live: Vec<SequenceId> = step.rows.chunk_by(|a, b| a.seq == b.seq).map(|rows| rows[0].seq).collect();
        live.retain(|id| self.running.contains(id));
        if let (Some(suspect), [id]) = (self.suspects.front(), &live[..])
            && suspect == id
        {
            return Some(*id);
        }
        if self.suspects.is_empty() {
            self.suspects.extend(live);
        }
        None
    }
}
