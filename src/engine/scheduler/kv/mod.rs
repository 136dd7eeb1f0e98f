//! The prefix cache: contents of slots, contents parked in host memory, and moves between the two.
//!
//! Owns the operations of the next step. Every change of a slot or of an entry in host memory goes through here and
//! leaves its `KvOp` in that step, so the record and the runner cannot drift apart: operations are always applied, even
//! if the rows of the step then fail.
//!
//! Before a slot loses cached content that is nowhere else, the content is saved in host memory if that pays. A
//! sequence that begins with it later loads it. Most preempted sequences return that way.
//!
//! `slots` and `host` are the two tiers, `policy` has the rules that they share, and `placement` decides which slot a
//! sequence gets.

mod host;
mod placement;
mod policy;
mod slots;

use crate::engine::runner::{KvOp, Limits, Parked, Slot};
use crate::engine::scheduler::lengths::{count, position};
use crate::protocol::Token;
pub use host::ParkedContent;
use host::{Content, HostMemory, ParkedMatch};
use policy::longest_prefix;
pub(super) use policy::{COPIED_PER_OWN, MIN_COPY, MIN_KEEP, PARKED_PER_OWN};
use slots::{SlotRecord, Slots};
use std::cmp::Reverse;

/// Smallest number of cells taken from a cached slot at a time: every step of a full cache needs a few, and each taking
/// is an operation.
const MIN_EVICT: u32 = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct KvCache {
    /// The first tier. Outside this folder it is only read, and given the result of the step in flight.
    pub(super) slots: Slots,
    /// The second tier.
    pub(super) host: HostMemory,
    /// True if a slot's last positions can be dropped and a part of it copied.
    pub(super) can_truncate: bool,
    /// The operations of the next step.
    ops: Vec<KvOp>,
}

impl KvCache {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { slots: Slots::new(limits), host: HostMemory::new(limits), can_truncate: limits.can_truncate, ops: Vec::new() }
    }

    /// Number of positions that a slot holds.
    pub(super) fn held(&self, slot: Slot) -> u32 {
        self.slots.held(slot)
    }

    /// The operations that lead to the present record, for the step being planned.
    pub(super) fn take_ops(&mut self) -> Vec<KvOp> {
        self.host.next_step();
        std::mem::take(&mut self.ops)
    }

    /// Number of bytes that the step being planned saves to host memory and loads from there.
    pub(super) fn moved_bytes(&self) -> u64 {
        self.host.step_bytes()
    }

    /// Largest number of tokens of `wanted` with which a slot or an entry in host memory begins, usable or not.
    pub(super) fn longest_seen(&self, wanted: &[Token], namespace: u64) -> u32 {
        let slots = self.slots.iter().map(|slot| self.slots.record(slot).prefix());
        let whole = slots.chain(self.host.prefixes()).map(|prefix| ((), policy::CachedPrefix { shortest: 0, ..prefix }));
        longest_prefix(wanted, namespace, whole).map_or(0, |((), len)| len)
    }

    // === Room ===

    /// Evicts cached slots, least worth first, until `cells` cells are free. Returns false if that was not enough.
    pub(super) fn make_room(&mut self, cells: u32, protected: &[Slot]) -> bool {
        loop {
            let short = cells.saturating_sub(self.slots.free_cells());
            if short == 0 {
                return true;
            }
            let Some(slot) = self.slots.least_worth(protected) else { return false };
            self.park(slot);
            // The tail is dropped first: other sequences may share a beginning.
            let keep = if self.can_truncate { self.held(slot).saturating_sub(short.max(MIN_EVICT)) } else { 0 };
            self.truncate(slot, keep);
        }
    }

    /// Empties every cached slot. Returns false if all were empty.
    pub(super) fn evict_all(&mut self) -> bool {
        let before = self.slots.held_cells();
        let free: Vec<Slot> = self.slots.free().collect();
        for slot in free {
            self.park(slot);
            self.truncate(slot, 0);
        }
        self.slots.held_cells() < before
    }

    // === Changes of slots ===

    /// Drops a slot's positions from `keep` on, or all of them if so short a beginning cannot be kept.
    pub(super) fn truncate(&mut self, slot: Slot, keep: u32) {
        let keep = if keep < self.slots.record(slot).shortest { 0 } else { keep };
        if keep < self.held(slot) {
            self.slots.cut(slot, keep);
            self.ops.push(KvOp::Truncate { slot, keep });
        }
    }

    /// Makes `to` hold the first `len` positions of `from` and nothing else. The caller has made room.
    fn copy(&mut self, from: Slot, to: Slot, len: u32) {
        let source = self.slots.record(from);
        let (held, namespace, last_use, hits) = (source.held[..position(len)].to_vec(), source.namespace, source.last_use, source.hits);
        self.slots.fill(to, held, hits);
        let target = self.slots.record_mut(to);
        target.namespace = namespace;
        target.last_use = last_use;
        self.ops.push(KvOp::Copy { from, to, len });
    }

    /// Cuts a slot that may hold more than is recorded back to the record, or empties it if only that is possible.
    pub(super) fn repair(&mut self, slot: Slot) {
        let held = self.held(slot);
        let keep = if self.can_truncate && held >= self.slots.record(slot).shortest { held } else { 0 };
        self.slots.cut(slot, keep);
        self.ops.push(KvOp::Truncate { slot, keep });
    }

    /// Forgets everything, in both tiers, whatever the records say.
    pub(super) fn clear(&mut self) {
        self.host.forget(&mut self.ops);
        self.slots.forget();
        self.ops.extend(self.slots.iter().map(|slot| KvOp::Truncate { slot, keep: 0 }));
    }

    /// True if the step being planned copies into a slot. The copy may be made as late as the step's rows.
    fn is_copied_to(&self, slot: Slot) -> bool {
        self.ops.iter().any(|op| matches!(op, KvOp::Copy { to, .. } if *to == slot))
    }

    /// True if the step being planned copies from a slot; see [`Self::is_copied_to`].
    fn is_copied_from(&self, slot: Slot) -> bool {
        self.ops.iter().any(|op| matches!(op, KvOp::Copy { from, .. } if *from == slot))
    }

    // === Moves between the tiers ===

    /// Saves a free slot's content before the slot loses it, unless it is too short or another slot holds it too.
    pub(super) fn park(&mut self, slot: Slot) {
        let record = self.slots.record(slot);
        let can_cut = self.can_truncate;
        let holds_it =
            |other: &SlotRecord| other.namespace == record.namespace && other.prefix().covers(&record.held, PARKED_PER_OWN, can_cut);
        if self.slots.iter().any(|other| other != slot && holds_it(self.slots.record(other))) {
            return;
        }
        // A content that continues a saved one takes its place: that needs little more memory, and the saved one was
        // asked for before.
        self.save(slot, COPIED_PER_OWN);
    }

    /// Saves one free slot's content, whatever other slots hold: the one of highest worth that is worth saving.
    /// `per_more` as for `CachedPrefix::covers`.
    pub(super) fn park_next(&mut self, per_more: u32) {
        let mut free: Vec<Slot> = self.slots.free().collect();
        free.sort_by_key(|slot| Reverse(self.slots.worth(*slot)));
        let before = self.ops.len();
        for slot in free {
            self.save(slot, per_more);
            if self.ops.len() > before {
                return;
            }
        }
    }

    /// Saves a slot's content, unless it is too short, or a parked content covers it (`per_more` as for
    /// `CachedPrefix::covers`), or the step being planned moves too much already.
    pub(super) fn save(&mut self, slot: Slot, per_more: u32) {
        let held = self.held(slot);
        if !self.host.is_there() || held < MIN_KEEP || self.is_copied_to(slot) || !self.host.may_move(held) {
            return;
        }
        let record = self.slots.record(slot);
        let content = Content { prefix: record.prefix(), last_use: record.last_use, hits: record.hits };
        self.host.save(slot, content, per_more, &mut self.ops);
    }

    /// Parked content that is worth loading, if a slot already has `held` tokens in common with `reusable`.
    fn parked_match(&self, reusable: &[Token], namespace: u64, held: u32) -> Option<ParkedMatch> {
        let found = self.host.longest_match(reusable, namespace, self.slots.reclaimable_cells());
        found.filter(|found| found.len >= held + MIN_COPY)
    }

    /// True if a slot can get parked content in the step being planned. If not, it can in the next step.
    fn can_load(&self, target: Slot, parked: Parked) -> bool {
        let is_idle = self.slots.iter().all(|slot| self.slots.is_free(slot));
        !self.is_copied_to(target) && !self.is_copied_from(target) && (is_idle || self.host.may_load(parked))
    }

    /// Fills a free slot with parked content, for which [`Self::parked_match`] found that there is room. The slot's old
    /// content is parked if it is long enough beyond the `own` tokens that it has in common with the loaded one.
    ///
    /// The old content is not moved to another slot: the source of a copy must stay until the rows of the step.
    fn load(&mut self, target: Slot, own: u32, found: ParkedMatch) {
        let ParkedMatch { parked, len } = found;
        // Contents that slots lose now must not take the place of this entry.
        self.host.begin_load(parked);
        if self.held(target) >= own + MIN_KEEP {
            self.park(target);
        }
        self.truncate(target, 0);
        let Some((tokens, hits)) = self.host.serve(parked, self.slots.clock()) else { return };
        let (held, whole) = (tokens[..position(len)].to_vec(), count(tokens.len()));
        // The whole entry is loaded before it is cut.
        self.make_room(whole, &[target]);
        self.slots.fill(target, held, hits);
        self.host.count_load(whole, len);
        self.ops.push(KvOp::Load { from: parked, slot: target, len });
    }

    /// Applies the failure of a step's loads: these slots are empty, and the entries that they were to get are gone.
    pub(super) fn not_loaded(&mut self, kv: &[KvOp], slots: &[Slot]) {
        for op in kv {
            if let KvOp::Load { from, slot, .. } = op
                && slots.contains(slot)
            {
                self.host.remove(*from, &mut self.ops);
            }
        }
        for slot in slots {
            self.truncate(*slot, 0);
        }
    }

    /// # Errors
    /// The first contradiction in the count of cells or bytes, as a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        self.slots.check().and_then(|()| self.host.check())
    }
}
