//! Moving a running sequence, so that the slots of running sequences follow each other.

use super::Scheduler;
use crate::engine::runner::Slot;
use crate::protocol::SequenceId;

/// A gap between running sequences is closed after one step for so many positions to move. On a CPU a copy takes about
/// as long as the gap costs in one step for every 100 positions (default model, 2 cores); on a GPU it is a whole
/// stream, at the bandwidth of its memory.
const CELLS_PER_GAP_STEP: u32 = 64;

impl Scheduler {
    /// Moves the sequence in the highest slot to a free one between the others when that was free for long enough.
    ///
    /// A gap costs each step a graph more. A waiting sequence would fill it, so nothing moves while the queue has one.
    pub(super) fn close_gap(&mut self) {
        let Some((from, to, id)) = self.gap() else {
            self.gap_steps = 0;
            return;
        };
        self.gap_steps += 1;
        if self.gap_steps <= self.cache.held(from) / CELLS_PER_GAP_STEP {
            return;
        }
        self.gap_steps = 0;
        if self.cache.relocate(from, to)
            && let Some(sequence) = self.sequences.get_mut(&id)
        {
            sequence.move_to(to);
        }
    }

    /// The highest slot with a running sequence, the lowest free one between two of them, and the sequence in the
    /// former.
    fn gap(&self) -> Option<(Slot, Slot, SequenceId)> {
        if !self.limits.consecutive_slots || !self.cache.can_truncate || !self.queue.is_empty() {
            return None;
        }
        let owned = || self.cache.slots.iter().filter_map(|slot| Some((slot, self.cache.slots.record(slot).owner?)));
        let (first, (last, id)) = (owned().next()?.0, owned().next_back()?);
        let to = self.cache.slots.free().find(|slot| (first..last).contains(slot))?;
        Some((last, to, id))
    }
}
