//! Positions at which the prompt rows of a sequence stop for a step, because other sequences will continue from there.
//!
//! Used only for windowed caches (`Limits::windowed`), where a shorter beginning of a slot's content can mostly not be
//! used: a prefix must be copied or saved when the slot holds just that. There are two reasons to stop. A sequence of
//! the queue waits for the prefix that both share. Or a prefix was looked for that a slot or the host memory had only
//! as part of a longer content; it is saved on the way now, so that it is found the next time.

use super::{
    Scheduler,
    kv::{COPIED_PER_OWN, MIN_KEEP},
    sequence::Sequence,
};
use crate::protocol::SequenceId;

impl Scheduler {
    /// Saves the slots of sequences that have stopped for that, and finds the positions at which leaders of waiting
    /// sequences stop. Called once for every step.
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
        for deferral in self.queue.iter().filter_map(|waiting| waiting.deferral) {
            if self.is_computing(&deferral) {
                let stop = self.stops.entry(deferral.leader).or_insert(deferral.common);
                *stop = deferral.common.min(*stop);
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
    /// Notes that the sequence starts with `cached` tokens although a cache has `found` of them as part of something
    /// longer. It stops to be saved at `found` if that is enough longer.
    pub(super) fn save_missed(&mut self, found: u32, cached: u32) {
        self.save_at = (found >= cached + MIN_KEEP && found < self.len()).then_some(found);
    }
}
