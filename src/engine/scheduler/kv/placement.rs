//! The choice of the slot that an admitted sequence gets, and of the cached prefix it starts from.
//!
//! Two aims conflict: active slots should be packed at the low end (llama.cpp puts only consecutive sequence ids into
//! one ubatch of a split KV), and cached contents should survive. A copy inside the KV costs milliseconds where
//! computing the same positions costs seconds, so copies serve both aims.

use super::{
    KvCache,
    host::ParkedMatch,
    policy::{COPIED_PER_OWN, MIN_COPY, MIN_KEEP, is_worth_moving},
    slots::SlotMatch,
};
use crate::engine::{runner::Slot, scheduler::lengths::count};
use crate::protocol::{SequenceId, Token};
use std::{cmp::Reverse, iter::once};

/// The slot that a sequence would get, and the prefix it would start from.
#[derive(Debug, Clone, Copy)]
struct PlacementTarget {
    slot: Slot,
    /// Number of wanted tokens that the slot's content begins with.
    own: u32,
    /// A longer prefix that is worth being brought to the slot.
    better: Option<BetterPrefix>,
}

/// The place of a longer prefix than the target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BetterPrefix {
    /// It is in another slot.
    Held(SlotMatch),
    /// It is in host memory, and longer than any slot's.
    Parked(ParkedMatch),
}

impl BetterPrefix {
    fn len(self) -> u32 {
        match self {
            Self::Held(SlotMatch { len, .. }) | Self::Parked(ParkedMatch { len, .. }) => len,
        }
    }
}

impl KvCache {
    /// Gives a sequence a slot, which then holds as much of `reusable` as any slot does, or more that was parked.
    /// `None` if no slot is free, or if the step being planned moves too much already; the next step can place the
    /// sequence then.
    pub(in crate::engine::scheduler) fn place(&mut self, id: SequenceId, reusable: &[Token], namespace: u64) -> Option<Slot> {
        let slot = if self.can_truncate { self.place_by_copy(reusable, namespace)? } else { self.place_as_whole(reusable, namespace)? };
        self.slots.assign(slot, id, namespace);
        Some(slot)
    }

    /// Length of the longest prefix of `reusable` that any slot holds, or that is parked and worth loading, tokens.
    pub(in crate::engine::scheduler) fn longest_held(&self, reusable: &[Token], namespace: u64) -> u32 {
        let held = self.slots.longest_match(reusable, namespace, self.slots.iter()).map_or(0, |best| best.len);
        self.parked_match(reusable, namespace, held).map_or(held, |parked| parked.len)
    }

    /// Number of tokens of `reusable` that [`Self::place`] would find now; if no slot is free, the number held
    /// anywhere.
    pub(in crate::engine::scheduler) fn would_find(&self, reusable: &[Token], namespace: u64) -> u32 {
        if self.can_truncate {
            return match self.choose(reusable, namespace) {
                Some(PlacementTarget { own, better, .. }) => better.map_or(own, BetterPrefix::len),
                None => self.longest_held(reusable, namespace),
            };
        }
        let held = self.continued(reusable, namespace).map_or(0, |slot| self.held(slot));
        self.parked_match(reusable, namespace, held).map_or(held, |parked| parked.len)
    }

    /// The lowest free slot, the length of its common prefix with `reusable`, and a longer prefix that is worth being
    /// brought there.
    fn choose(&self, reusable: &[Token], namespace: u64) -> Option<PlacementTarget> {
        let slot = self.slots.free().next()?;
        let own = self.slots.longest_match(reusable, namespace, once(slot)).map_or(0, |own| own.len);
        let best = self.slots.longest_match(reusable, namespace, once(slot).chain(self.slots.iter()));
        let held = best.filter(|best| best.slot != slot && best.len >= own + MIN_COPY);
        let parked = self.parked_match(reusable, namespace, best.map_or(0, |best| best.len));
        Some(PlacementTarget { slot, own, better: parked.map(BetterPrefix::Parked).or(held.map(BetterPrefix::Held)) })
    }

    /// 1. The target is the lowest free slot.
    /// 2. If no prefix elsewhere is enough longer than the target's, the target keeps its own.
    /// 3. A parked prefix is loaded, if the step may still move that much.
    /// 4. A prefix of another slot is copied; a slot that gave all of its content is emptied.
    /// 5. If there are too few cells for a copy, a free slot with the match becomes the target itself.
    ///
    /// Before the target loses content that no other slot holds, the content is moved aside or parked.
    fn place_by_copy(&mut self, reusable: &[Token], namespace: u64) -> Option<Slot> {
        // (1)
        let PlacementTarget { slot: target, own, better } = self.choose(reusable, namespace)?;
        let best = match better {
            // (2)
            None => {
                self.move_aside(target, own, target);
                self.truncate(target, own);
                self.served(target, own);
                return Some(target);
            }
            // (3)
            Some(BetterPrefix::Parked(found)) => return self.place_by_load(target, own, found),
            Some(BetterPrefix::Held(best)) => best,
        };
        // (4)
        self.move_aside(target, own, best.slot);
        if self.make_room(best.len.saturating_sub(self.held(target)), &[best.slot, target]) {
            self.served(best.slot, best.len);
            self.copy(best.slot, target, best.len);
            self.slots.touch(best.slot);
            if self.slots.is_free(best.slot) && self.held(best.slot) == best.len {
                self.truncate(best.slot, 0);
            }
            return Some(target);
        }
        // (5)
        let (slot, keep) = if self.slots.is_free(best.slot) { (best.slot, best.len) } else { (target, own) };
        if self.held(slot) >= keep + MIN_KEEP {
            self.park(slot);
        }
        self.truncate(slot, keep);
        self.served(slot, keep);
        Some(slot)
    }

    /// Fills the target with parked content. `own` is the length of their common prefix.
    fn place_by_load(&mut self, target: Slot, own: u32, found: ParkedMatch) -> Option<Slot> {
        if !self.can_load(target, found.parked) {
            return None;
        }
        self.load(target, own, found);
        Some(target)
    }

    /// Notes that a slot gave `len` tokens to a sequence.
    fn served(&mut self, slot: Slot, len: u32) {
        let record = self.slots.record_mut(slot);
        record.hits = if len >= MIN_COPY { record.hits.saturating_add(1) } else { 0 };
    }

    /// Moves a running sequence to a free slot and empties its own. Returns false if there is nothing to move or no
    /// room for a copy.
    pub(in crate::engine::scheduler) fn relocate(&mut self, from: Slot, to: Slot) -> bool {
        let len = self.held(from);
        if len == 0 || len > self.slots.reclaimable_cells() {
            return false;
        }
        self.move_aside(to, 0, from);
        if !self.make_room(len.saturating_sub(self.held(to)), &[from, to]) {
            return false;
        }
        self.copy(from, to, len);
        self.slots.record_mut(to).owner = self.slots.record_mut(from).owner.take();
        self.truncate(from, 0);
        true
    }

    /// Places a sequence in KV that can neither be cut nor copied: in a free slot whose whole content is a prefix, else
    /// in an empty slot, else in the slot of least worth, which is emptied. An empty slot gets parked content if that
    /// is a longer prefix.
    fn place_as_whole(&mut self, reusable: &[Token], namespace: u64) -> Option<Slot> {
        let continued = self.continued(reusable, namespace);
        let held = continued.map_or(0, |slot| self.held(slot));
        let parked = self.parked_match(reusable, namespace, held);
        if let (Some(slot), None) = (continued, parked) {
            self.served(slot, held);
            return continued;
        }
        let cost = |slot: &Slot| if self.held(*slot) > 0 { (true, self.slots.worth(*slot)) } else { (false, 0) };
        let slot = self.slots.free().min_by_key(cost)?;
        if let Some(found) = parked {
            return self.place_by_load(slot, 0, found);
        }
        self.park(slot);
        self.truncate(slot, 0);
        self.served(slot, 0);
        Some(slot)
    }

    /// The free slot with the longest content that is, as a whole, a prefix of `reusable`.
    fn continued(&self, reusable: &[Token], namespace: u64) -> Option<Slot> {
        let is_prefix = |slot: &Slot| {
            let record = self.slots.record(*slot);
            !record.held.is_empty() && record.namespace == namespace && reusable.starts_with(&record.held)
        };
        self.slots.free().filter(is_prefix).max_by_key(|slot| (self.held(*slot), Reverse(*slot)))
    }

    /// Copies a free slot's content to another free slot whose content is worth less, if the target's next user drops
    /// enough of it that no other slot holds. Without such a slot the content is parked. No other slot is evicted.
    /// `reused` is the number of tokens that the next user keeps; `source` must not be overwritten.
    fn move_aside(&mut self, target: Slot, reused: u32, source: Slot) {
        let record = self.slots.record(target);
        let held = count(record.held.len());
        if held < reused + MIN_KEEP {
            return;
        }
        let others = self.slots.iter().filter(|slot| *slot != target);
        let elsewhere = self.slots.longest_match(&record.held, record.namespace, others).map_or(0, |other| other.len);
        if !is_worth_moving(held, elsewhere, COPIED_PER_OWN) {
            return;
        }
        let usable = |slot: &Slot| *slot != target && *slot != source;
        let has_room = |slot: &Slot| held.saturating_sub(self.held(*slot)) <= self.slots.free_cells();
        let aside = self.slots.free().filter(|slot| usable(slot) && has_room(slot)).min_by_key(|slot| (self.loss(*slot), Reverse(*slot)));
        match aside.filter(|aside| self.loss(*aside) < self.loss(target)) {
            Some(aside) => {
                self.park(aside);
                self.copy(target, aside, held);
            }
            None => self.park(target),
        }
    }

    /// The loss if a free slot's content were dropped.
    fn loss(&self, slot: Slot) -> Loss {
        match self.held(slot) {
            0 => Loss::Nothing,
            1..MIN_KEEP => Loss::Scrap,
            MIN_KEEP.. => Loss::Worth(self.slots.worth(slot)),
        }
    }
}

/// The loss if a cached content is dropped, in order: nothing, less than is worth keeping, or its worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    Nothing,
    Scrap,
    Worth(u64),
}
