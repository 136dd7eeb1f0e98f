//! Positions at which the prompt rows of a sequence stop for a step, because others will go on from there.
//!
//! Only for windowed caches (`Limits::windowed`), of which a shorter beginning than what a slot holds is mostly not to be had: there
//! a prefix must be copied or saved when the slot holds just that. Two reasons to stop: a sequence of the queue waits for the prefix
//! that both share; or a prefix was looked for that a slot or the host memory had only as part of something longer, and is saved on
//! the way now, so that it is found the next time.

use super::Scheduler;
use super::cache::Cache;
use super::place::{Begun, COPIED_PER_OWN, MIN_KEEP, longest_prefix};
use super::sequence::{Phase, Sequence};
use crate::protocol::{SequenceId, Token};

impl Scheduler {
    /// Saves what has stopped to be saved, and finds out where leaders of the queue stop. Once for every step.
    pub(super) fn plan_stops(&mut self) {
        if !self.limits.windowed {
            return;
        }
        for id in &self.running {
            let Some(sequence) = self.sequences.get_mut(id) else { continue };
            let Some(slot) = sequence.slot() else { continue };
            if sequence.save_at.take_if(|at| *at <= self.cache.held(slot)) == Some(self.cache.held(slot)) {
                self.cache.save(slot, COPIED_PER_OWN);
            }
        }
        self.stops.clear();
        for sequence in self.waiting.iter().map(|id| &self.sequences[id]) {
            if let Phase::Waiting { hold: Some(hold) } = sequence.phase
                && self.is_computing(&hold)
            {
                let stop = self.stops.entry(hold.leader).or_insert(hold.common);
                *stop = hold.common.min(*stop);
            }
        }
    }

    /// Number of the next `rows` of a sequence that come before it stops, if `held` positions of it are computed.
    pub(super) fn rows_before_stop(&self, id: SequenceId, held: u32, rows: u32) -> u32 {
        let stops = self.stops.get(&id).copied().into_iter().chain(self.sequences[&id].save_at);
        stops.filter(|stop| *stop > held).map(|stop| stop - held).fold(rows, u32::min)
    }
}

impl Sequence {
    /// It starts with `cached` tokens of `found`, which a cache has as part of something longer.
    pub(super) fn save_missed(&mut self, found: u32, cached: u32) {
        self.save_at = (found >= cached + MIN_KEEP && found < self.len()).then_some(found);
    }
}

impl Cache {
    /// Tokens of `wanted` that a slot or the host memory begins with, whether they are to be had or not.
    pub(super) fn longest_seen(&self, wanted: &[Token], namespace: u64) -> u32 {
        let slots = self.slots().map(|slot| self.begun(slot));
        let whole = slots.chain(self.swap.begun()).map(|begun| ((), Begun { shortest: 0, ..begun }));
        let seen = longest_prefix(wanted, namespace, whole);
        seen.map_or(0, |((), len)| len)
    }
}
