//! Checks that the scheduler's parts agree with each other. Tests call them after every step, the engine whenever it
//! becomes idle.

use super::{Scheduler, lengths::position};
use crate::engine::runner::Slot;
use crate::protocol::SequenceId;
use std::collections::HashMap;

impl Scheduler {
    /// Checks the scheduler when it has nothing left to do, in time in proportion to slots and parked contents. Returns
    /// the first contradiction, and in that case forgets everything cached: content that is not as recorded must not be
    /// used.
    pub fn check_idle(&mut self) -> Result<(), String> {
        self.check_invariants().inspect_err(|_| {
            self.sequences.clear();
            self.queue.clear();
            self.running.clear();
            self.suspects.clear();
            self.cache.clear();
            self.totals.cache_resets += 1;
        })
    }

    /// Checks that nothing leaked and nothing is counted twice. Takes time in proportion to the tokens of running
    /// sequences.
    ///
    /// # Errors
    /// A sentence that names the first contradiction.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.cache.check()?;
        for slot in self.cache.slots.iter() {
            let held = self.cache.held(slot);
            if held > self.limits.max_model_len {
                return Err(format!("slot {} holds {held} positions", slot.0));
            }
        }
        for id in &self.running {
            self.check_running(*id)?;
        }
        let waiting: Vec<SequenceId> = self.queue.iter().map(|waiting| waiting.id).collect();
        for id in &waiting {
            if self.sequences.get(id).is_none_or(|sequence| sequence.slot().is_some()) {
                return Err(format!("sequence {} is queued and does not wait", id.0));
            }
        }
        // Every id above is live and in the list that it belongs to, so equal numbers mean that each is listed once.
        let mut listed: Vec<&SequenceId> = self.running.iter().chain(&waiting).collect();
        listed.sort_unstable();
        listed.dedup();
        if listed.len() != self.sequences.len() || listed.len() != self.running.len() + self.queue.len() {
            return Err(format!("{} sequences, {} running, {} waiting", self.sequences.len(), self.running.len(), self.queue.len()));
        }
        let mut running = HashMap::new();
        self.running.iter().for_each(|id| *running.entry(self.sequences[id].namespace).or_default() += 1);
        if self.queue.running() != running {
            return Err(format!("the queue knows of {:?} running sequences by key, there are {running:?}", self.queue.running()));
        }
        let owned = self.cache.slots.iter().filter(|slot| self.cache.slots.record(*slot).owner.is_some()).count();
        if owned != self.running.len() {
            return Err(format!("{owned} slots are owned by {} running sequences", self.running.len()));
        }
        match self.suspects.iter().find(|suspect| !self.running.contains(&suspect.id)) {
            Some(suspect) => Err(format!("suspect {} is not running", suspect.id.0)),
            None => Ok(()),
        }
    }

    fn check_running(&self, id: SequenceId) -> Result<(), String> {
        let sequence = self.sequences.get(&id).ok_or_else(|| format!("sequence {} runs and is not live", id.0))?;
        let slot: Slot = sequence.slot().ok_or_else(|| format!("sequence {} runs without a slot", id.0))?;
        let record = self.cache.slots.record(slot);
        if record.owner != Some(id) || record.namespace != sequence.namespace {
            return Err(format!("slot {} of sequence {} belongs to {:?}", slot.0, id.0, record.owner));
        }
        let held = position(self.cache.held(slot));
        if held >= sequence.tokens.len() || record.held != sequence.tokens[..held] {
            return Err(format!("slot {} does not hold a part of sequence {}", slot.0, id.0));
        }
        Ok(())
    }
}
