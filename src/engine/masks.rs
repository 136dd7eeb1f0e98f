//! Masks of constraints that are much work, before a step is planned: a few milliseconds of them, and whoever is left waits
//! a step while the others go on.
//!
//! A mask allows the same tokens whenever it is computed: waiting delays tokens and never changes them. Masks that
//! are little work are left to the draw, beside a GPU that computes.

use super::generation::Generation;
use crate::protocol::SequenceId;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Time for such masks before a step. The one that is begun in it is finished: some 50 ms more at worst.
const BEFORE_A_STEP: Duration = Duration::from_millis(5);

/// The order in which generations have their expensive masks computed.
#[derive(Debug, Default)]
pub(super) struct Masks {
    /// The last that had its mask computed; the next are those with higher ids, and then the lowest.
    last: SequenceId,
}

impl Masks {
    /// Computes masks for as long as there is time. Returns the sequences that are still without and have to wait: none if
    /// all would, since the step is then for nobody else.
    pub(super) fn prepare(&mut self, generations: &mut HashMap<SequenceId, Generation>) -> Vec<SequenceId> {
        let begun = Instant::now();
        self.prepare_while(generations, || begun.elapsed() < BEFORE_A_STEP)
    }

    fn prepare_while(&mut self, generations: &mut HashMap<SequenceId, Generation>, has_time: impl Fn() -> bool) -> Vec<SequenceId> {
        let mut owing: Vec<SequenceId> = generations.iter().filter(|(_, generation)| generation.owes_mask()).map(|(id, _)| *id).collect();
        owing.sort_unstable_by_key(|id| (*id <= self.last, *id));
        let mut held = Vec::new();
        for id in owing {
            let Some(generation) = generations.get_mut(&id).filter(|_| has_time()) else {
                held.push(id);
                continue;
            };
            generation.prepare_mask();
            self.last = id;
        }
        if held.len() < generations.len() { held } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests;
