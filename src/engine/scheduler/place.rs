//! Which slot an admitted sequence gets, and which cached prefix it starts from.
//!
//! Part of the cache, but for `close_gap`, the scheduler's policy of when a sequence moves. Two wishes pull apart:
//! active slots should be packed at the low end (llama.cpp puts only consecutive sequence ids into one ubatch of a split
//! KV), and what is cached should survive. A copy inside the KV costs milliseconds where computing the same positions
//! costs seconds, so it settles both.

use super::Scheduler;
use super::cache::{Cache, position};
use super::sequence::{Phase, common_prefix, count};
use super::swap::ParkedMatch;
use crate::engine::runner::Slot;
use crate::protocol::{SequenceId, Token};
use std::cmp::Reverse;

/// A shared prefix is copied, loaded, or waited for, from this many tokens on; a shorter one is computed as quickly.
pub(super) const MIN_COPY: u32 = 32;
/// Cached tokens that nobody else holds are copied aside, or parked, from this many on before their slot is used.
pub(super) const MIN_KEEP: u32 = 64;
/// All of a content is moved even for the few of its tokens that nobody else holds. So of those copied aside at least one in
/// this many must be such a token: a copy takes 11 µs a token, computing one takes 900 (default model, 2 cores), and perhaps
/// nobody will ask for it.
pub(super) const COPIED_PER_OWN: u32 = 16;
/// Of those parked, which takes as long again to come back, fresh memory, and the place of others: one in this many.
pub(super) const PARKED_PER_OWN: u32 = 4;

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
    /// What is worth being brought to it instead.
    better: Option<Better>,
}

/// More of what is looked for than the target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    /// In another slot.
    Held(Match),
    /// In host memory, and more than any slot has.
    Parked(ParkedMatch),
}

impl Better {
    fn len(self) -> u32 {
        match self {
            Self::Held(Match { len, .. }) | Self::Parked(ParkedMatch { len, .. }) => len,
        }
    }
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
    /// Gives a sequence a slot that then holds as much of `reusable` as any slot does, or more that was parked. `None` if no
    /// slot is free, or the step being planned moves too much already: the next one will do.
    pub(super) fn place(&mut self, id: SequenceId, reusable: &[Token], namespace: u64) -> Option<Slot> {
        let slot = if self.can_truncate { self.place_by_copy(reusable, namespace)? } else { self.place_as_whole(reusable, namespace)? };
        let clock = self.clock;
        let record = self.record_mut(slot);
        record.owner = Some(id);
        record.namespace = namespace;
        record.last_use = clock;
        Some(slot)
    }

    /// The longest prefix of `reusable` that any slot holds, or that is parked and worth loading, tokens.
    pub(super) fn longest_held(&self, reusable: &[Token], namespace: u64) -> u32 {
        let held = self.longest_match(reusable, namespace, self.slots()).map_or(0, |best| best.len);
        self.parked_match(reusable, namespace, held).map_or(held, |parked| parked.len)
    }

    /// How many of `reusable` [`Self::place`] would find now, tokens; with no slot free, how many are held anywhere.
    pub(super) fn would_find(&self, reusable: &[Token], namespace: u64) -> u32 {
        if self.can_truncate {
            return self
                .choose(reusable, namespace)
                .map_or_else(|| self.longest_held(reusable, namespace), |Choice { own, better, .. }| better.map_or(own, Better::len));
        }
        let held = self.continued(reusable, namespace).map_or(0, |slot| self.held(slot));
        self.parked_match(reusable, namespace, held).map_or(held, |parked| parked.len)
    }

    /// The lowest free slot, what it has in common with `reusable`, and what is worth being brought from elsewhere.
    fn choose(&self, reusable: &[Token], namespace: u64) -> Option<Choice> {
        let target = self.slots().find(|slot| self.record(*slot).owner.is_none())?;
        let own = self.longest_match(reusable, namespace, std::iter::once(target)).map_or(0, |own| own.len);
        let best = self.longest_match(reusable, namespace, std::iter::once(target).chain(self.slots()));
        let held = best.filter(|best| best.slot != target && best.len >= own + MIN_COPY);
        let parked = self.parked_match(reusable, namespace, best.map_or(0, |best| best.len));
        Some(Choice { target, own, better: parked.map(Better::Parked).or(held.map(Better::Held)) })
    }

    /// 1. The target is the lowest free slot.
    /// 2. If nothing elsewhere is enough better than what the target holds, it keeps what it has in common.
    /// 3. What is parked is loaded, if the step may still move that much.
    /// 4. What another slot holds is copied; a slot that gave everything it had is emptied.
    /// 5. If cells are too short for a copy, a free slot with the match becomes the target itself.
    ///
    /// Before the target loses what only it holds, that is moved aside or parked.
    fn place_by_copy(&mut self, reusable: &[Token], namespace: u64) -> Option<Slot> {
        // (1)
        let Choice { target, own, better } = self.choose(reusable, namespace)?;
        let best = match better {
            // (2)
            None => {
                self.move_aside(target, own, target);
                self.truncate(target, own);
                self.served(target, own);
                return Some(target);
            }
            // (3)
            Some(Better::Parked(found)) => return self.place_by_load(target, own, found),
            Some(Better::Held(best)) => best,
        };
        // (4)
        self.move_aside(target, own, best.slot);
        if self.make_room(best.len.saturating_sub(self.held(target)), &[best.slot, target]) {
            self.served(best.slot, best.len);
            self.copy(best.slot, target, best.len);
            let clock = self.clock;
            self.record_mut(best.slot).last_use = clock;
            if self.record(best.slot).owner.is_none() && self.held(best.slot) == best.len {
                self.truncate(best.slot, 0);
            }
            return Some(target);
        }
        // (5)
        let (slot, keep) = if self.record(best.slot).owner.is_none() { (best.slot, best.len) } else { (target, own) };
        if self.held(slot) >= keep + MIN_KEEP {
            self.park(slot);
        }
        self.truncate(slot, keep);
        self.served(slot, keep);
        Some(slot)
    }

    /// Fills the target with parked content. `own` is what it has in common with that.
    fn place_by_load(&mut self, target: Slot, own: u32, found: ParkedMatch) -> Option<Slot> {
        if !self.can_load(target, found.parked) {
            return None;
        }
        self.load(target, own, found);
        Some(target)
    }

    /// A slot gave so many tokens to a sequence.
    fn served(&mut self, slot: Slot, len: u32) {
        let record = self.record_mut(slot);
        record.hits = if len >= MIN_COPY { record.hits.saturating_add(1) } else { 0 };
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
    /// the one of least worth, emptied. The latter two get parked content if that is a longer prefix.
    fn place_as_whole(&mut self, reusable: &[Token], namespace: u64) -> Option<Slot> {
        let continued = self.continued(reusable, namespace);
        let held = continued.map_or(0, |slot| self.held(slot));
        let parked = self.parked_match(reusable, namespace, held);
        if let (Some(slot), None) = (continued, parked) {
            self.served(slot, held);
            return continued;
        }
        let free = self.slots().filter(|slot| self.record(*slot).owner.is_none());
        let slot = free.min_by_key(|slot| (self.held(*slot) > 0, if self.held(*slot) > 0 { self.worth(*slot) } else { 0 }))?;
        if let Some(found) = parked {
            return self.place_by_load(slot, 0, found);
        }
        self.park(slot);
        self.truncate(slot, 0);
        self.served(slot, 0);
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
    /// that no other slot holds; without such a slot it is parked. Evicts nobody else.
    /// `reused` is what the next user keeps; `source` is not to be overwritten.
    fn move_aside(&mut self, target: Slot, reused: u32, source: Slot) {
        let record = self.record(target);
        let held = count(record.held.len());
        if held < reused + MIN_KEEP {
            return;
        }
        let others = self.slots().filter(|slot| *slot != target);
        let elsewhere = self.longest_match(&record.held, record.namespace, others).map_or(0, |other| other.len);
        if !is_worth_moving(held, elsewhere, COPIED_PER_OWN) {
            return;
        }
        let usable = |slot: &Slot| *slot != target && *slot != source && self.record(*slot).owner.is_none();
        let has_room = |slot: &Slot| held.saturating_sub(self.held(*slot)) <= self.free_cells();
        let aside = self.slots().filter(|slot| usable(slot) && has_room(slot)).min_by_key(|slot| (self.loss(*slot), Reverse(*slot)));
        match aside.filter(|aside| self.loss(*aside) < self.loss(target)) {
            Some(aside) => {
                self.park(aside);
                self.copy(target, aside, held);
            }
            None => self.park(target),
        }
    }

    /// What would be lost with a free slot's content.
    fn loss(&self, slot: Slot) -> Loss {
        match self.held(slot) {
            0 => Loss::Nothing,
            1..MIN_KEEP => Loss::Scrap,
            MIN_KEEP.. => Loss::Worth(self.worth(slot)),
        }
    }

    /// The beginning that a slot holds.
    pub(super) fn begun(&self, slot: Slot) -> Begun<'_> {
        let record = self.record(slot);
        Begun { tokens: &record.held, shortest: record.shortest, namespace: record.namespace }
    }

    /// The longest match among `slots`; the first of equals.
    fn longest_match(&self, wanted: &[Token], namespace: u64, slots: impl Iterator<Item = Slot>) -> Option<Match> {
        let contents = slots.map(|slot| (slot, self.begun(slot)));
        longest_prefix(wanted, namespace, contents).map(|(slot, len)| Match { slot, len })
    }
}

/// Whether `held` tokens, of which others hold the first `elsewhere`, are worth being moved if that takes one of its own for
/// every `per_own`.
pub(super) fn is_worth_moving(held: u32, elsewhere: u32, per_own: u32) -> bool {
    let own = held.saturating_sub(elsewhere);
    own >= MIN_KEEP && own.saturating_mul(per_own) >= held
}

/// A content of which the beginning may be wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun<'a> {
    pub(super) tokens: &'a [Token],
    /// A shorter beginning is not to be had.
    pub(super) shortest: u32,
    pub(super) namespace: u64,
}

/// The content that has the longest usable beginning of `wanted`, and the length of that; the first of equals.
pub(super) fn longest_prefix<'a, K>(wanted: &[Token], namespace: u64, contents: impl Iterator<Item = (K, Begun<'a>)>) -> Option<(K, u32)> {
    let mut best = None;
    let mut len = 0;
    for (key, begun) in contents {
        // One comparison rules out most: a longer match must agree behind the best so far.
        let longer = begun.tokens.get(len).is_some_and(|token| wanted.get(len) == Some(token));
        if longer && begun.namespace == namespace {
            let common = common_prefix(begun.tokens, wanted);
            if position(common) > len && common >= begun.shortest {
                len = position(common);
                best = Some((key, common));
            }
        }
    }
    best
}

/// What goes with a cached content, in order: nothing, less than is worth keeping, or its worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    Nothing,
    Scrap,
    Worth(u64),
}
