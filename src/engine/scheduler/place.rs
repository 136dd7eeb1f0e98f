//! Which slot an admitted sequence gets, and which cached prefix it starts from.
//!
//! Part of the cache, but for `close_gap`, the scheduler's policy of when a sequence moves. Two wishes pull apart:
//! active slots should be packed at the low end (llama.cpp puts only consecutive sequence ids into one ubatch of a split
//! KV), and what is cached should survive. A copy inside the KV costs milliseconds where computing the same positions
//! costs seconds, so it settles both.

use super::Scheduler;
use super::cache::Cache;
use super::sequence::{Phase, common_prefix, count};
use crate::engine::runner::Slot;
use crate::protocol::{SequenceId, Token};
use std::cmp::Reverse;

/// A shared prefix is copied, or waited for, from this many tokens on; a shorter one is computed as quickly.
pub(super) const MIN_COPY: u32 = 32;
/// Cached tokens that nobody else holds are copied aside from this many on before their slot is used.
const MIN_KEEP: u32 = 64;

/// A gap between running sequences is closed after one step for so many positions to move. On a CPU a copy takes about as
/// long as the gap costs in one step for every 100 positions (default model, 2 cores); on a GPU it is a whole stream,
/// at the bandwidth of its memory.
const CELLS_PER_GAP_STEP: u32 = 64;

/// A slot that begins with what is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    slot: Slot,
    /// Tokens in common.
    len: u32,
}

/// Where a sequence would go, and what it would start from.
#[derive(Debug, Clone, Copy)]
struct Choice {
    target: Slot,
    /// Tokens that the target has in common with what is looked for.
    own: u32,
    /// Another slot's, if they are worth a copy.
    better: Option<Match>,
}

impl Scheduler {
    /// Moves the sequence in the highest slot to a free one between the others when that was free for long enough.
    ///
    /// A gap costs each step a graph more. Whoever waits would fill it, so nothing moves while somebody does.
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
            sequence.phase = Phase::Running { slot: to };
        }
    }

    /// The highest slot with a running sequence, the lowest free one between two of them, and whose the former is.
    fn gap(&self) -> Option<(Slot, Slot, SequenceId)> {
        if !self.limits.consecutive_slots || !self.cache.can_truncate || !self.waiting.is_empty() {
            return None;
        }
        let owned = || self.cache.slots().filter_map(|slot| Some((slot, self.cache.record(slot).owner?)));
        let (first, (last, id)) = (owned().next()?.0, owned().next_back()?);
        let is_free = |slot: &Slot| self.cache.record(*slot).owner.is_none();
        let to = self.cache.slots().filter(|slot| (first..last).contains(slot)).find(is_free)?;
        Some((last, to, id))
    }
}

impl Cache {
    /// Gives a sequence a slot that then holds as much of `reusable` as any slot does. `None` if no slot is free.
    pub(super) fn place(&mut self, id: SequenceId, reusable: &[Token], namespace: u64) -> Option<Slot> {
        let slot = if self.can_truncate { self.place_by_copy(reusable, namespace)? } else { self.place_as_whole(reusable, namespace)? };
        let clock = self.clock;
        let record = self.record_mut(slot);
        record.owner = Some(id);
        record.namespace = namespace;
        record.last_use = clock;
        Some(slot)
    }

    /// The longest prefix of `reusable` that any slot holds, tokens.
    pub(super) fn longest_held(&self, reusable: &[Token], namespace: u64) -> u32 {
        self.longest_match(reusable, namespace, self.slots()).map_or(0, |best| best.len)
    }

    /// How many of `reusable` [`Self::place`] would find now, tokens; with no slot free, how many are held anywhere.
    pub(super) fn would_find(&self, reusable: &[Token], namespace: u64) -> u32 {
        if self.can_truncate {
            return self.choose(reusable, namespace).map_or_else(
                || self.longest_held(reusable, namespace),
                |Choice { own, better, .. }| better.map_or(own, |better| better.len),
            );
        }
        self.continued(reusable, namespace).map_or(0, |slot| self.held(slot))
    }

    /// The lowest free slot, what it has in common with `reusable`, and what is worth a copy from elsewhere.
    fn choose(&self, reusable: &[Token], namespace: u64) -> Option<Choice> {
        let target = self.slots().find(|slot| self.record(*slot).owner.is_none())?;
        let own = self.longest_match(reusable, namespace, std::iter::once(target)).map_or(0, |own| own.len);
        let best = self.longest_match(reusable, namespace, std::iter::once(target).chain(self.slots()));
        Some(Choice { target, own, better: best.filter(|best| best.slot != target && best.len >= own + MIN_COPY) })
    }

    /// 1. The target is the lowest free slot.
    /// 2. If no slot holds enough more than the target does, it keeps what it has in common.
    /// 3. Otherwise the longest match is copied to it; a slot that gave everything it had is emptied.
    /// 4. If cells are too short for a copy, a free slot with the match becomes the target itself.
    ///
    /// Before the target loses what only it holds, that is moved aside.
    fn place_by_copy(&mut self, reusable: &[Token], namespace: u64) -> Option<Slot> {
        // (1)
        let Choice { target, own, better } = self.choose(reusable, namespace)?;
        // (2)
        let Some(best) = better else {
            self.move_aside(target, own, target);
            self.truncate(target, own);
            return Some(target);
        };
        // (3)
        self.move_aside(target, own, best.slot);
        if self.make_room(best.len.saturating_sub(self.held(target)), &[best.slot, target]) {
            self.copy(best.slot, target, best.len);
            let clock = self.clock;
            self.record_mut(best.slot).last_use = clock;
            if self.record(best.slot).owner.is_none() && self.held(best.slot) == best.len {
                self.truncate(best.slot, 0);
            }
            return Some(target);
        }
        // (4)
        let (slot, keep) = if self.record(best.slot).owner.is_none() { (best.slot, best.len) } else { (target, own) };
        self.truncate(slot, keep);
        Some(slot)
    }

    /// Moves a running sequence to a free slot and leaves its own empty. False if there is nothing to move or no room for a copy.
    fn relocate(&mut self, from: Slot, to: Slot) -> bool {
        let len = self.held(from);
        if len == 0 || len > self.reclaimable_cells() {
            return false;
        }
        self.move_aside(to, 0, from);
        if !self.make_room(len.saturating_sub(self.held(to)), &[from, to]) {
            return false;
        }
        self.copy(from, to, len);
        self.record_mut(to).owner = self.record_mut(from).owner.take();
        self.truncate(from, 0);
        true
    }

    /// For KV that can neither be cut nor copied: a free slot whose whole content is a prefix, else an empty one, else
    /// the least recently used one, emptied.
    fn place_as_whole(&mut self, reusable: &[Token], namespace: u64) -> Option<Slot> {
        let continued = self.continued(reusable, namespace);
        if continued.is_some() {
            return continued;
        }
        let free = self.slots().filter(|slot| self.record(*slot).owner.is_none());
        let slot = free.min_by_key(|slot| {
            let record = self.record(*slot);
            (!record.held.is_empty(), if record.held.is_empty() { 0 } else { record.last_use })
        })?;
        self.truncate(slot, 0);
        Some(slot)
    }

    /// The free slot with the longest content that is a prefix as a whole.
    fn continued(&self, reusable: &[Token], namespace: u64) -> Option<Slot> {
        let is_prefix = |slot: &Slot| {
            let record = self.record(*slot);
            let is_free = record.owner.is_none();
            is_free && !record.held.is_empty() && record.namespace == namespace && reusable.starts_with(&record.held)
        };
        self.slots().filter(is_prefix).max_by_key(|slot| (self.held(*slot), Reverse(*slot)))
    }

    /// Copies a free slot's content to another free slot that holds less of worth, if its next user drops enough of it
    /// that no other slot holds. Evicts nobody else.
    /// `reused` is what the next user keeps; `source` is not to be overwritten.
    fn move_aside(&mut self, target: Slot, reused: u32, source: Slot) {
        let record = self.record(target);
        let (held, last_use) = (count(record.held.len()), record.last_use);
        if held < reused + MIN_KEEP {
            return;
        }
        let others = self.slots().filter(|slot| *slot != target);
        let elsewhere = self.longest_match(&record.held, record.namespace, others).map_or(0, |other| other.len);
        if held < elsewhere + MIN_KEEP {
            return;
        }
        let usable = |slot: &Slot| *slot != target && *slot != source && self.record(*slot).owner.is_none();
        let has_room = |slot: &Slot| held.saturating_sub(self.held(*slot)) <= self.free_cells();
        let aside = self.slots().filter(|slot| usable(slot) && has_room(slot)).min_by_key(|slot| (self.worth(*slot), Reverse(*slot)));
        if let Some(aside) = aside.filter(|aside| self.worth(*aside) < (held, last_use).into()) {
            self.copy(target, aside, held);
        }
    }

    /// What would be lost with a free slot's content.
    fn worth(&self, slot: Slot) -> Worth {
        (self.held(slot), self.record(slot).last_use).into()
    }

    /// The longest match among `slots`; the first of equals.
    fn longest_match(&self, wanted: &[Token], namespace: u64, slots: impl Iterator<Item = Slot>) -> Option<Match> {
        let mut best = None;
        let mut len = 0;
        for slot in slots {
            let record = self.record(slot);
            // One comparison rules out most: a longer match must agree behind the best so far.
            let longer = record.held.get(len).is_some_and(|token| wanted.get(len) == Some(token));
            if longer && record.namespace == namespace {
                let common = common_prefix(&record.held, wanted);
                if super::cache::position(common) > len {
                    len = super::cache::position(common);
                    best = Some(Match { slot, len: common });
                }
            }
        }
        best
    }
}

/// How much a cached content is worth, in order: nothing, less than is worth keeping, then the more recently used the more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Empty,
    Scrap,
    Used(u64),
}

impl From<(u32, u64)> for Worth {
    fn from((held, last_use): (u32, u64)) -> Self {
        match held {
            0 => Self::Empty,
            1..MIN_KEEP => Self::Scrap,
            MIN_KEEP.. => Self::Used(last_use),
        }
    }
}
