//! Moves of a running sequence that make the slots of running sequences follow each other.

use super::Scheduler;
use crate::engine::runner::Slot;
use crate::protocol::SequenceId;

/// Positions to move for each step that a gap between running sequences stays open. On a CPU, copying 100 positions
/// takes about as long as the gap costs in one step (default model, 2 cores); on a GPU a move copies a whole stream, at
/// the bandwidth of its memory.
const CELLS_PER_GAP_STEP: u32 = 64;

impl Scheduler {
    /// Moves the sequence in the highest slot to a free slot between the others, when that slot was free for long
    /// enough.
    ///
    /// A gap costs each step one more graph. A waiting sequence would fill the gap, so nothing moves while one waits.
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

    /// The highest slot with a running sequence, the lowest free slot between two running ones, and the sequence in the
    /// highest slot.
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
