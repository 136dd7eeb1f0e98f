//! The first tier: the record of every slot's content and owner, and the count of cells.
//!
//! Rows are held only after they were computed. Copies count in full, although a unified KV shares them. `KvCache`
//! makes the changes that need an operation of the runner, and adds that operation to the next step.
//!
//! ```text
//! cells   |◀─ owned by running ─▶|◀─ cached in free slots ─▶|◀ promised ▶|◀─ free ─▶|
//!                                  evicted least worth        rows of the step
//!                                  first, tail first          in the making
//! ```

use super::policy::{CachedPrefix, longest_prefix, worth};
use crate::engine::{
    runner::{Limits, Row, Slot},
    scheduler::lengths::{count, position},
};
use crate::protocol::{SequenceId, Token};

/// One slot's content. If `held` is empty, `namespace` and `last_use` mean nothing.
#[derive(Debug, Default)]
pub(in crate::engine::scheduler) struct SlotRecord {
    /// The tokens whose KV the slot holds, by position.
    pub(in crate::engine::scheduler) held: Vec<Token>,
    /// Number of positions that the slot must keep if it keeps any (`ModelRunner::shortest`).
    pub(super) shortest: u32,
    /// The namespace (API key) that may use the content.
    pub(in crate::engine::scheduler) namespace: u64,
    /// `Slots::clock` at the time when the content last served a sequence.
    pub(super) last_use: u64,
    /// Number of sequences that the content served since it was computed, in whatever slot.
    pub(super) hits: u32,
    /// The running sequence in the slot; without one the slot is free and its content is cache.
    pub(in crate::engine::scheduler) owner: Option<SequenceId>,
}

impl SlotRecord {
    /// The content as a prefix that may be wanted.
    pub(super) fn prefix(&self) -> CachedPrefix<'_> {
        CachedPrefix { tokens: &self.held, shortest: self.shortest, namespace: self.namespace }
    }
}

/// A slot whose content begins with wanted tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotMatch {
    pub(super) slot: Slot,
    /// Number of tokens in common.
    pub(super) len: u32,
}

/// See the module.
#[derive(Debug)]
pub(in crate::engine::scheduler) struct Slots {
    records: Vec<SlotRecord>,
    windowed: bool,
    /// Number of completed steps since the start.
    clock: u64,
    kv_cells: u32,
    /// Sum of the lengths of all `held`.
    held_cells: u32,
    /// Number of cells for rows that are planned and not yet held.
    promised: u32,
}

impl Slots {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            records: (0..limits.slots).map(|_| SlotRecord::default()).collect(),
            windowed: limits.windowed,
            clock: 0,
            kv_cells: limits.kv_cells,
            held_cells: 0,
            promised: 0,
        }
    }

    // === Contents ===

    pub(in crate::engine::scheduler) fn record(&self, slot: Slot) -> &SlotRecord {
        &self.records[index(slot)]
    }

    pub(super) fn record_mut(&mut self, slot: Slot) -> &mut SlotRecord {
        &mut self.records[index(slot)]
    }

    /// Records one position more than the slot holds, without counting it: a contradiction, for tests.
    #[cfg(test)]
    pub(in crate::engine::scheduler) fn corrupt(&mut self, slot: Slot) {
        self.record_mut(slot).held.push(Token(0));
    }

    /// Every slot, lowest first.
    pub(in crate::engine::scheduler) fn iter(&self) -> impl DoubleEndedIterator<Item = Slot> + use<> {
        (0..count(self.records.len())).map(Slot)
    }

    /// The slots without a running sequence, lowest first.
    pub(in crate::engine::scheduler) fn free(&self) -> impl Iterator<Item = Slot> {
        self.iter().filter(|slot| self.is_free(*slot))
    }

    pub(super) fn is_free(&self, slot: Slot) -> bool {
        self.record(slot).owner.is_none()
    }

    /// Number of positions that a slot holds.
    pub(in crate::engine::scheduler) fn held(&self, slot: Slot) -> u32 {
        count(self.record(slot).held.len())
    }

    /// The worth of a slot's content; see [`worth`].
    pub(super) fn worth(&self, slot: Slot) -> u64 {
        let record = self.record(slot);
        worth(record.last_use, count(record.held.len()), record.hits)
    }

    /// Number of completed steps since the start.
    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    /// The slot of `slots` with the longest match; the first of equals.
    pub(super) fn longest_match(&self, wanted: &[Token], namespace: u64, slots: impl Iterator<Item = Slot>) -> Option<SlotMatch> {
        let contents = slots.map(|slot| (slot, self.record(slot).prefix()));
        longest_prefix(wanted, namespace, contents).map(|(slot, len)| SlotMatch { slot, len })
    }

    /// The cached slot of least worth that is not `protected`.
    pub(super) fn least_worth(&self, protected: &[Slot]) -> Option<Slot> {
        let evictable = self.free().filter(|slot| self.held(*slot) > 0 && !protected.contains(slot));
        evictable.min_by_key(|slot| self.worth(*slot))
    }

    // === Cells ===

    /// Number of cells that running sequences hold.
    pub(in crate::engine::scheduler) fn owned_cells(&self) -> u32 {
        self.records.iter().filter(|record| record.owner.is_some()).map(|record| count(record.held.len())).sum()
    }

    /// Number of cells that slots hold.
    pub(super) fn held_cells(&self) -> u32 {
        self.held_cells
    }

    /// Number of cells that neither hold anything nor are promised.
    pub(in crate::engine::scheduler) fn free_cells(&self) -> u32 {
        self.kv_cells.saturating_sub(self.held_cells + self.promised)
    }

    /// Number of cells that could be free if every cached slot were emptied.
    pub(in crate::engine::scheduler) fn reclaimable_cells(&self) -> u32 {
        self.kv_cells.saturating_sub(self.owned_cells() + self.promised)
    }

    /// Sets cells aside for planned rows. The caller has made room.
    pub(in crate::engine::scheduler) fn promise(&mut self, cells: u32) {
        self.promised += cells;
    }

    // === The step in flight ===

    /// Records the number of positions that each slot must keep now. Called before the rows of the step in flight are
    /// recorded or given up.
    pub(in crate::engine::scheduler) fn learn_shortest(&mut self, shortest: impl Fn(Slot) -> u32) {
        if self.windowed {
            for slot in self.iter() {
                self.record_mut(slot).shortest = shortest(slot);
            }
        }
    }

    /// Records that the rows of the step in flight were computed.
    pub(in crate::engine::scheduler) fn commit(&mut self, rows: &[Row]) {
        for row in rows {
            let record = &mut self.records[index(row.slot)];
            debug_assert_eq!(count(record.held.len()), row.pos, "rows go on from what the slot holds");
            record.held.push(row.token);
        }
        self.held_cells += count(rows.len());
        self.promised = 0;
        self.clock += 1;
    }

    /// Notes that the step in flight failed: its rows need no cells any more.
    pub(in crate::engine::scheduler) fn abandon(&mut self) {
        self.promised = 0;
    }

    // === Owners ===

    /// Records that a sequence runs in a slot from now on.
    pub(super) fn assign(&mut self, slot: Slot, id: SequenceId, namespace: u64) {
        let clock = self.clock;
        let record = self.record_mut(slot);
        record.owner = Some(id);
        record.namespace = namespace;
        record.last_use = clock;
    }

    /// Records that a slot's sequence has left it; the content is cache from now on.
    pub(in crate::engine::scheduler) fn release(&mut self, slot: Slot) {
        self.record_mut(slot).owner = None;
        self.touch(slot);
    }

    /// Records that a slot's content was used now.
    pub(super) fn touch(&mut self, slot: Slot) {
        self.record_mut(slot).last_use = self.clock;
    }

    // === Changes that leave an operation (`KvCache`) ===

    /// Records that a slot holds these tokens and nothing else.
    pub(super) fn fill(&mut self, slot: Slot, held: Vec<Token>, hits: u32) {
        self.cut(slot, 0);
        self.held_cells += count(held.len());
        // Assumed until the runner reports the number.
        let shortest = if self.windowed { count(held.len()) } else { 0 };
        let record = self.record_mut(slot);
        record.held = held;
        record.hits = hits;
        record.shortest = shortest;
    }

    /// Records that a slot keeps its first `keep` positions.
    pub(super) fn cut(&mut self, slot: Slot, keep: u32) {
        let dropped = self.held(slot).saturating_sub(keep);
        let record = self.record_mut(slot);
        record.held.truncate(position(keep));
        if keep == 0 {
            record.shortest = 0;
        }
        self.held_cells -= dropped;
    }

    /// Records that all slots are empty and free, whatever was recorded.
    pub(super) fn forget(&mut self) {
        self.records.iter_mut().for_each(|record| *record = SlotRecord::default());
        self.held_cells = 0;
        self.promised = 0;
    }

    /// # Errors
    /// The first contradiction in the count of cells, as a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        let sum: usize = self.records.iter().map(|record| record.held.len()).sum();
        if count(sum) != self.held_cells {
            return Err(format!("slots hold {sum} cells, {} are counted", self.held_cells));
        }
        if self.held_cells + self.promised > self.kv_cells {
            return Err(format!("{} cells held and {} promised of {}", self.held_cells, self.promised, self.kv_cells));
        }
        Ok(())
    }
}

/// A slot's index in `Slots::records`.
fn index(slot: Slot) -> usize {
    position(slot.0)
}
