//! Masks of constraints that are much work. They are computed before a step is planned, for a few milliseconds. A
//! sequence whose mask is still missing then waits a step while the others go on.
//!
//! A mask allows the same tokens whenever it is computed: waiting delays tokens and never changes them. Masks that are
//! little work are computed after the step was started, on a GPU while it computes.

use super::generation::GenerationState;
use crate::protocol::SequenceId;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Time for such masks before a step. The mask that is begun in that time is finished: some 50 ms more at worst.
const BEFORE_A_STEP: Duration = Duration::from_millis(5);

/// The order in which expensive masks are computed: the generation that has waited longest goes first.
#[derive(Debug, Default)]
pub(super) struct Masks {
    /// The sequences that wait for a mask, with the number of the step since which they wait.
    waiting: HashMap<SequenceId, u64>,
    step: u64,
}

impl Masks {
    /// Computes masks while there is time. Returns the sequences that still have none and must wait; none if all would
    /// have to wait, since no other sequence needs the step then.
    pub(super) fn prepare(&mut self, generations: &mut HashMap<SequenceId, GenerationState>) -> Vec<SequenceId> {
        let begun = Instant::now();
        self.prepare_while(generations, || begun.elapsed() < BEFORE_A_STEP)
    }

    fn prepare_while(&mut self, generations: &mut HashMap<SequenceId, GenerationState>, has_time: impl Fn() -> bool) -> Vec<SequenceId> {
        let owing = generations.iter().filter(|(_, generation)| generation.owes_mask());
        let mut owing: Vec<(u64, SequenceId)> = owing.map(|(id, _)| (*self.waiting.get(id).unwrap_or(&self.step), *id)).collect();
        owing.sort_unstable();
        self.waiting.clear();
        let mut held = Vec::new();
        for (since, id) in owing {
            let Some(generation) = generations.get_mut(&id).filter(|_| has_time()) else {
                self.waiting.insert(id, since);
                held.push(id);
                continue;
            };
            generation.prepare_mask();
        }
        self.step += 1;
        if held.len() < generations.len() { held } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests;
