//! The sequences that wait for a slot, in the order in which they are admitted.
//!
//! Owns the order, the prefixes that some of the sequences wait for, and the pause in admissions after the KV cache ran
//! out of room. `admission` decides which sequences are admitted, and when; no other file changes the order.

use crate::protocol::SequenceId;
use std::collections::VecDeque;

/// Number of completed steps without admissions after the runner had no room; a sequence that ends lifts the pause
/// sooner.
const PAUSE_STEPS: u32 = 16;

/// A wait of a sequence for another one, which computes a prefix that both share. Sequences after it in the queue may
/// pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deferral {
    /// The running sequence that computes the prefix.
    pub(super) leader: SequenceId,
    /// The length of the prefix, tokens.
    pub(super) common: u32,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueuedSequence {
    pub(super) id: SequenceId,
    /// Set when the sequence was last examined; `Scheduler::is_computing` tells whether it still holds.
    pub(super) deferral: Option<Deferral>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct WaitingQueue {
    /// The sequences, next first. Bounded by the number that the gateway lets wait (`max_waiting`).
    waiting: VecDeque<QueuedSequence>,
    /// Number of completed steps to wait for before the next admission.
    pause: u32,
}

impl WaitingQueue {
    /// Adds a new sequence at the end.
    pub(super) fn push(&mut self, id: SequenceId) {
        self.waiting.push_back(QueuedSequence { id, deferral: None });
    }

    /// Adds a sequence that gave its cells to others at the front.
    pub(super) fn put_back(&mut self, id: SequenceId) {
        self.waiting.push_front(QueuedSequence { id, deferral: None });
    }

    /// Forgets a sequence, if it waits.
    pub(super) fn remove(&mut self, id: SequenceId) {
        self.waiting.retain(|other| other.id != id);
    }

    /// Removes the sequence at an index, because it was admitted.
    pub(super) fn admit(&mut self, index: usize) {
        self.waiting.remove(index);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The sequence at an index, counted from the next one to be admitted.
    pub(super) fn get(&self, index: usize) -> Option<QueuedSequence> {
        self.waiting.get(index).copied()
    }

    /// All waiting sequences, next first.
    pub(super) fn iter(&self) -> impl Iterator<Item = QueuedSequence> {
        self.waiting.iter().copied()
    }

    /// Sets the prefix that the sequence at an index waits for.
    pub(super) fn defer(&mut self, index: usize, deferral: Option<Deferral>) {
        if let Some(waiting) = self.waiting.get_mut(index) {
            waiting.deferral = deferral;
        }
    }

    // === The pause ===

    /// Stops admissions for [`PAUSE_STEPS`] completed steps. Returns true if no step was completed since the last pause
    /// began.
    pub(super) fn pause(&mut self) -> bool {
        std::mem::replace(&mut self.pause, PAUSE_STEPS) == PAUSE_STEPS
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause > 0
    }

    /// Counts a completed step.
    pub(super) fn on_step(&mut self) {
        self.pause = self.pause.saturating_sub(1);
    }

    /// Ends the pause, because a sequence has ended and gave its cells back.
    pub(super) fn resume(&mut self) {
        self.pause = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(queue: &WaitingQueue) -> Vec<u64> {
        queue.iter().map(|waiting| waiting.id.0).collect()
    }

    #[test]
    fn new_sequences_come_last_and_those_that_gave_way_first() {
        let mut queue = WaitingQueue::default();
        (1..=3).for_each(|id| queue.push(SequenceId(id)));
        queue.put_back(SequenceId(9));
        assert_eq!(ids(&queue), [9, 1, 2, 3]);

        queue.admit(1);
        queue.remove(SequenceId(3));

        assert_eq!(ids(&queue), [9, 2]);
    }

    #[test]
    fn a_pause_ends_after_its_steps_or_when_a_sequence_ends() {
        let mut queue = WaitingQueue::default();
        assert!(!queue.pause() && queue.is_paused());
        assert!(queue.pause(), "no step was completed in between");

        (0..PAUSE_STEPS).for_each(|_| queue.on_step());
        assert!(!queue.is_paused());

        assert!(!queue.pause());
        queue.resume();
        assert!(!queue.is_paused());
    }
}
