//! What every slot holds: the record of KV positions, who owns them, and room for more.
//!
//! Owns the prefix cache and the count of cells. Every change of a slot goes through here and leaves its `KvOp` in the
//! next step, so the record and the runner cannot drift apart: operations are always applied, also when the rows of the
//! step then fail. Rows are held only after they were computed. Copies count in full, though a unified KV shares them.
//!
//! What a free slot loses may first be parked in host memory (`swap`).
//!
//! ```text
//! cells   |◀─ owned by running ─▶|◀─ cached in free slots ─▶|◀ promised ▶|◀─ free ─▶|
//!                                  evicted least worth        rows of the step
//!                                  first, tail first          in the making
//! ```

use super::sequence::count;
use super::swap::{Swap, worth};
use crate::engine::runner::{KvOp, Limits, Row, Slot};
use crate::protocol::{SequenceId, Token};

/// Cells taken from a cached slot at a time: every step of a full cache needs a few, and each is an operation.
const MIN_EVICT: u32 = 64;

/// One slot's content. Empty: `held` is, and `namespace` and `last_use` mean nothing.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The tokens whose KV the slot holds, by position.
    pub(super) held: Vec<Token>,
    /// Number of them that it must keep if it keeps any (`ModelRunner::shortest`).
    pub(super) shortest: u32,
    /// The namespace (API key) that may use it.
    pub(super) namespace: u64,
    /// `Cache::clock` when it last served a sequence.
    pub(super) last_use: u64,
    /// Sequences that its content served since it was computed, in whatever slot.
    pub(super) hits: u32,
    /// The running sequence in it; without one the slot is free and its content is cache.
    pub(super) owner: Option<SequenceId>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) records: Vec<Record>,
    pub(super) can_truncate: bool,
    windowed: bool,
    /// Steps since start.
    pub(super) clock: u64,
    kv_cells: u32,
    /// Sum of all `held`.
    held_cells: u32,
    /// Cells for rows that are planned and not yet held.
    promised: u32,
    /// For the next step.
    pub(super) ops: Vec<KvOp>,
    pub(super) swap: Swap,
}

impl Cache {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            records: (0..limits.slots).map(|_| Record::default()).collect(),
            can_truncate: limits.can_truncate,
            windowed: limits.windowed,
            clock: 0,
            kv_cells: limits.kv_cells,
            held_cells: 0,
            promised: 0,
            ops: Vec::new(),
            swap: Swap::new(limits),
        }
    }

    pub(super) fn record(&self, slot: Slot) -> &Record {
        &self.records[index(slot)]
    }

    pub(super) fn record_mut(&mut self, slot: Slot) -> &mut Record {
        &mut self.records[index(slot)]
    }

    /// Every slot, lowest first.
    pub(super) fn slots(&self) -> impl DoubleEndedIterator<Item = Slot> + use<> {
        (0..count(self.records.len())).map(Slot)
    }

    /// Positions that a slot holds.
    pub(super) fn held(&self, slot: Slot) -> u32 {
        count(self.record(slot).held.len())
    }

    /// Cells that running sequences hold.
    pub(super) fn owned_cells(&self) -> u32 {
        self.records.iter().filter(|record| record.owner.is_some()).map(|record| count(record.held.len())).sum()
    }

    /// Cells that neither hold anything nor are promised.
    pub(super) fn free_cells(&self) -> u32 {
        self.kv_cells.saturating_sub(self.held_cells + self.promised)
    }

    /// Cells that could be free if every cached slot were emptied.
    pub(super) fn reclaimable_cells(&self) -> u32 {
        self.kv_cells.saturating_sub(self.owned_cells() + self.promised)
    }

    /// What a slot's content is worth; see [`worth`].
    pub(super) fn worth(&self, slot: Slot) -> u64 {
        let record = self.record(slot);
        worth(record.last_use, count(record.held.len()), record.hits)
    }

    /// Evicts cached slots, least worth first, until `cells` are free. False if that was not enough.
    pub(super) fn make_room(&mut self, cells: u32, protected: &[Slot]) -> bool {
        loop {
            let short = cells.saturating_sub(self.free_cells());
            if short == 0 {
                return true;
            }
            let evictable = |slot: &Slot| {
                let record = self.record(*slot);
                record.owner.is_none() && !record.held.is_empty() && !protected.contains(slot)
            };
            let Some(slot) = self.slots().filter(evictable).min_by_key(|slot| self.worth(*slot)) else { return false };
            self.park(slot);
            // The tail goes first: a beginning is what others may share.
            let keep = if self.can_truncate { self.held(slot).saturating_sub(short.max(MIN_EVICT)) } else { 0 };
            self.truncate(slot, keep);
        }
    }

    /// Empties every cached slot. False if all were empty.
    pub(super) fn evict_all(&mut self) -> bool {
        let before = self.held_cells;
        for slot in self.slots() {
            if self.record(slot).owner.is_none() {
                self.park(slot);
                self.truncate(slot, 0);
            }
        }
        self.held_cells < before
    }

    /// Empties every slot, whatever is recorded of it.
    pub(super) fn forget_slots(&mut self) {
        for slot in self.slots() {
            *self.record_mut(slot) = Record::default();
            self.ops.push(KvOp::Truncate { slot, keep: 0 });
        }
        self.held_cells = 0;
        self.promised = 0;
    }

    /// Sets cells aside for planned rows. The caller made room.
    pub(super) fn promise(&mut self, cells: u32) {
        self.promised += cells;
    }

    /// Rows of the step in flight were computed.
    pub(super) fn commit(&mut self, rows: &[Row]) {
        for row in rows {
            let record = &mut self.records[index(row.slot)];
            debug_assert_eq!(count(record.held.len()), row.pos, "rows go on from what the slot holds");
            record.held.push(row.token);
        }
        self.held_cells += count(rows.len());
        self.promised = 0;
        self.clock += 1;
    }

    /// The step in flight failed: its rows need no cells any more.
    pub(super) fn abandon(&mut self) {
        self.promised = 0;
    }

    /// Takes note of what the slots must keep now; before the rows of the step in flight are recorded or given up.
    pub(super) fn learn_shortest(&mut self, shortest: impl Fn(Slot) -> u32) {
        if self.windowed {
            for slot in self.slots() {
                self.record_mut(slot).shortest = shortest(slot);
            }
        }
    }

    /// Brings a slot whose content is uncertain behind what is recorded back to the record, or empties it where only that is possible.
    pub(super) fn repair(&mut self, slot: Slot) {
        if self.can_truncate && self.held(slot) >= self.record(slot).shortest {
            self.ops.push(KvOp::Truncate { slot, keep: self.held(slot) });
        } else {
            self.drop_behind(slot, 0);
            self.ops.push(KvOp::Truncate { slot, keep: 0 });
        }
    }

    /// Its sequence has gone; what it holds is cache from now on.
    pub(super) fn release(&mut self, slot: Slot) {
        let clock = self.clock;
        let record = self.record_mut(slot);
        record.owner = None;
        record.last_use = clock;
    }

    /// Drops what a slot holds from position `keep` on, or all of it where less is not to be had.
    pub(super) fn truncate(&mut self, slot: Slot, keep: u32) {
        let keep = if keep < self.record(slot).shortest { 0 } else { keep };
        if keep < self.held(slot) {
            self.drop_behind(slot, keep);
            self.ops.push(KvOp::Truncate { slot, keep });
        }
    }

    /// Makes `to` hold the first `len` positions of `from` and nothing else. The caller made room.
    pub(super) fn copy(&mut self, from: Slot, to: Slot, len: u32) {
        let source = self.record(from);
        let (held, namespace, last_use, hits) = (source.held[..position(len)].to_vec(), source.namespace, source.last_use, source.hits);
        self.hold(to, held, hits);
        let target = self.record_mut(to);
        target.namespace = namespace;
        target.last_use = last_use;
        self.ops.push(KvOp::Copy { from, to, len });
    }

    /// Records that a slot holds this and nothing else. The caller made room, and the operation that makes it true.
    pub(super) fn hold(&mut self, slot: Slot, held: Vec<Token>, hits: u32) {
        self.drop_behind(slot, 0);
        self.held_cells += count(held.len());
        let shortest = if self.windowed { count(held.len()) } else { 0 };
        let record = self.record_mut(slot);
        record.held = held;
        record.hits = hits;
        // Until the runner says more.
        record.shortest = shortest;
    }

    /// Whether the step being planned copies into a slot. The copy may be made as late as the step's rows.
    pub(super) fn is_copied_to(&self, slot: Slot) -> bool {
        self.ops.iter().any(|op| matches!(op, KvOp::Copy { to, .. } if *to == slot))
    }

    /// Whether it copies from the slot; see [`Self::is_copied_to`].
    pub(super) fn is_copied_from(&self, slot: Slot) -> bool {
        self.ops.iter().any(|op| matches!(op, KvOp::Copy { from, .. } if *from == slot))
    }

    /// The operations that lead to the present record, for the step being planned.
    pub(super) fn take_ops(&mut self) -> Vec<KvOp> {
        self.swap.next_step();
        std::mem::take(&mut self.ops)
    }

    /// What is wrong with the count of cells and bytes, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        let sum: usize = self.records.iter().map(|record| record.held.len()).sum();
        if count(sum) != self.held_cells {
            return Err(format!("slots hold {sum} cells, {} are counted", self.held_cells));
        }
        if self.held_cells + self.promised > self.kv_cells {
            return Err(format!("{} cells held and {} promised of {}", self.held_cells, self.promised, self.kv_cells));
        }
        self.swap.check()
    }

    fn drop_behind(&mut self, slot: Slot, keep: u32) {
        let dropped = self.held(slot).saturating_sub(keep);
        let record = self.record_mut(slot);
        record.held.truncate(position(keep));
        if keep == 0 {
            record.shortest = 0;
        }
        self.held_cells -= dropped;
    }
}

/// A slot's place in `Cache::records`.
fn index(slot: Slot) -> usize {
    position(slot.0)
}

/// A position as an index.
pub(super) fn position(pos: u32) -> usize {
    usize::try_from(pos).expect("usize has at least 32 bits wherever this runs")
}
