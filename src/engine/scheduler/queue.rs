//! The sequences that wait for a slot, in the order in which they are admitted.
//!
//! Sequences that gave their cells to others come first. Of the others, keys take turns (`turns`); within a key the
//! oldest comes first. Owns the order, the prefixes that some of the sequences wait for, and the pause in admissions
//! after the KV cache ran out of room. `admission` decides which sequences are admitted, and when; no other file
//! changes the order.

use super::turns::{KeyTurns, Rank};
use crate::protocol::SequenceId;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

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

impl QueuedSequence {
    fn new(id: SequenceId) -> Self {
        Self { id, deferral: None }
    }
}

/// See the module. All sequences together are bounded by the number that the gateway lets wait (`max_waiting`).
#[derive(Debug, Default)]
pub(super) struct WaitingQueue {
    /// Sequences that gave way, with their keys, next first.
    returned: VecDeque<(u64, QueuedSequence)>,
    /// The other sequences by key, oldest first; no list is empty.
    by_key: BTreeMap<u64, VecDeque<QueuedSequence>>,
    turns: KeyTurns,
    /// Number of completed steps to wait for before the next admission.
    pause: u32,
}

/// A pass over the queue in the order of admission. Sequences that were passed are not looked at again.
#[derive(Debug)]
pub(super) struct QueuePass {
    /// Number of returned sequences that were passed.
    returned: usize,
    /// Keys with sequences that were not passed, next first.
    order: BTreeSet<Rank>,
    /// Number of passed sequences by key.
    passed: HashMap<u64, usize>,
}

impl QueuePass {
    fn passed(&self, key: u64) -> usize {
        self.passed.get(&key).copied().unwrap_or(0)
    }
}

impl WaitingQueue {
    /// Adds a new sequence after those of its key.
    pub(super) fn push(&mut self, key: u64, id: SequenceId) {
        self.by_key.entry(key).or_default().push_back(QueuedSequence::new(id));
    }

    /// Adds a running sequence that gave its cells to others, before all.
    pub(super) fn put_back(&mut self, key: u64, id: SequenceId) {
        self.turns.on_end(key);
        self.returned.push_front((key, QueuedSequence::new(id)));
    }

    /// Forgets a sequence, if it waits.
    pub(super) fn remove(&mut self, key: u64, id: SequenceId) {
        self.returned.retain(|(_, other)| other.id != id);
        if let Some(waiting) = self.by_key.get_mut(&key) {
            waiting.retain(|other| other.id != id);
            self.drop_if_empty(key);
        }
    }

    /// Counts the end of a running sequence, which gave its cells back: admissions go on.
    pub(super) fn on_end(&mut self, key: u64) {
        self.turns.on_end(key);
        self.pause = 0;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn len(&self) -> usize {
        self.returned.len() + self.by_key.values().map(VecDeque::len).sum::<usize>()
    }

    /// Number of sequences that waited for a prefix when they were last examined.
    pub(super) fn deferred(&self) -> usize {
        let all = self.returned.iter().map(|(_, waiting)| waiting).chain(self.by_key.values().flatten());
        all.filter(|waiting| waiting.deferral.is_some()).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.by_key.is_empty()
    }

    /// All waiting sequences in the order in which they are looked at, as long as none starts.
    pub(super) fn iter(&self) -> impl Iterator<Item = QueuedSequence> {
        let listed = self.order().into_iter().flat_map(|rank| self.by_key.get(&rank.key).into_iter().flatten());
        self.returned.iter().map(|(_, waiting)| waiting).chain(listed).copied()
    }

    /// The waiting sequences that would about be admitted before a new one of a key. They come in no order.
    pub(super) fn ahead_of(&self, key: u64) -> impl Iterator<Item = SequenceId> {
        let own = self.by_key.get(&key).map_or(0, VecDeque::len);
        // Another key has a turn before each one of this key.
        let listed = self.by_key.iter().flat_map(move |(other, waiting)| waiting.iter().take(if *other == key { own } else { own + 1 }));
        self.returned.iter().map(|(_, waiting)| waiting).chain(listed).map(|waiting| waiting.id)
    }

    /// Keys that run sequences, with the numbers of these.
    pub(super) fn running(&self) -> HashMap<u64, u32> {
        self.turns.running()
    }

    fn order(&self) -> BTreeSet<Rank> {
        self.by_key.keys().map(|key| self.turns.rank(*key)).collect()
    }

    fn drop_if_empty(&mut self, key: u64) {
        if self.by_key.get(&key).is_some_and(VecDeque::is_empty) {
            self.by_key.remove(&key);
        }
    }

    // === Admission ===

    /// Begins a pass over the queue.
    pub(super) fn walk(&self) -> QueuePass {
        QueuePass { returned: 0, order: self.order(), passed: HashMap::new() }
    }

    /// The sequence that is next in a pass.
    pub(super) fn next(&self, walk: &QueuePass) -> Option<QueuedSequence> {
        self.at(walk).map(|(_, next)| next)
    }

    /// The sequence that is next in a pass, with its key.
    fn at(&self, walk: &QueuePass) -> Option<(u64, QueuedSequence)> {
        if let Some(next) = self.returned.get(walk.returned) {
            return Some(*next);
        }
        let key = walk.order.first()?.key;
        Some((key, *self.by_key.get(&key)?.get(walk.passed(key))?))
    }

    /// Sets the prefix that the next sequence of a pass waits for.
    pub(super) fn defer(&mut self, walk: &QueuePass, deferral: Option<Deferral>) {
        let next = match (self.returned.get_mut(walk.returned), walk.order.first()) {
            (Some((_, next)), _) => Some(next),
            (None, Some(rank)) => self.by_key.get_mut(&rank.key).and_then(|waiting| waiting.get_mut(walk.passed(rank.key))),
            (None, None) => None,
        };
        if let Some(next) = next {
            next.deferral = deferral;
        }
    }

    /// Passes the next sequence of a pass.
    pub(super) fn pass(&self, walk: &mut QueuePass) {
        if walk.returned < self.returned.len() {
            walk.returned += 1;
        } else if let Some(rank) = walk.order.first().copied() {
            *walk.passed.entry(rank.key).or_default() += 1;
            self.place_again(walk, rank);
        }
    }

    /// Takes out the next sequence of a pass, because it was admitted.
    pub(super) fn admit(&mut self, walk: &mut QueuePass) {
        let Some((key, _)) = self.at(walk) else { return };
        let rank = self.turns.rank(key);
        if walk.returned < self.returned.len() {
            self.returned.remove(walk.returned);
        } else if let Some(waiting) = self.by_key.get_mut(&key) {
            waiting.remove(walk.passed(key));
            self.drop_if_empty(key);
        }
        self.turns.on_start(key);
        self.place_again(walk, rank);
    }

    /// Gives a key its present place in a pass; it had the place `rank`.
    fn place_again(&self, walk: &mut QueuePass, rank: Rank) {
        walk.order.remove(&rank);
        if self.by_key.get(&rank.key).is_some_and(|waiting| waiting.len() > walk.passed(rank.key)) {
            walk.order.insert(self.turns.rank(rank.key));
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
        let by_key = &self.by_key;
        self.turns.forget_idle(|key| by_key.contains_key(&key));
    }
}

#[cfg(test)]
mod tests;
