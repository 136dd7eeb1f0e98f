//! Changes of KV: slots are cut back, saved to host memory, loaded from there, and copied.
//!
//! Keeps [`LlamaRunner::held`], the lengths of the slots, equal to those that llama.cpp reports. Evaluates no row.

use super::{LlamaRunner, id, refuse};
use crate::{
    engine::runner::{KvOp, Parked, ParkedState, Slot, StepError},
    llama::{copies::Copying, raw},
};
use std::sync::Arc;

impl LlamaRunner<'_> {
    /// Applies one KV change. Adds to `lost` the slots that should have got parked content and are empty instead.
    pub(super) fn apply(&mut self, op: KvOp, lost: &mut Vec<Slot>) -> Result<(), StepError> {
        match op {
            KvOp::Truncate { slot, keep } => self.truncate(self.index(slot)?, keep),
            KvOp::Save { slot, to } => {
                let slot = self.index(slot)?;
                self.save(slot, to);
                Ok(())
            }
            KvOp::Load { from, slot, len } => {
                if !self.load(from, self.index(slot)?, len)? {
                    lost.push(slot);
                }
                Ok(())
            }
            KvOp::Drop { parked } => {
                self.parked.remove(&parked);
                Ok(())
            }
            KvOp::Copy { from, to, .. } if lost.contains(&from) => {
                lost.push(to);
                self.truncate(self.index(to)?, 0)
            }
            KvOp::Copy { from, to, len } => {
                let (from, to) = (self.index(from)?, self.index(to)?);
                if !self.limits.can_truncate || len == 0 || len > self.held[from] {
                    return refuse(&format!("cannot copy {len} of the {} positions of slot {from}", self.held[from]));
                }
                if from == to {
                    return self.truncate(to, len);
                }
                self.copy(from, to, len)
            }
        }
    }

    fn truncate(&mut self, slot: usize, keep: u32) -> Result<(), StepError> {
        if keep >= self.held[slot] {
            return Ok(());
        }
        if keep > 0 && !self.limits.can_truncate {
            return refuse("this model's slots can only be emptied");
        }
        let shortest = self.shortest_of(slot);
        assert!(keep == 0 || keep >= shortest, "slot {slot} cannot be cut to {keep}: what lies before {shortest} was released");
        let from = (keep > 0).then_some(keep);
        let dropped = self.context.clear_kv_cache_seq(Some(slot as u32), from, None) == Ok(true);
        assert!(dropped, "llama.cpp would not drop the positions of slot {slot} from {keep} on");
        self.held[slot] = keep;
        Ok(())
    }

    /// Parks a slot's content. Does nothing if the state cannot be read: a later load of it fails.
    fn save(&mut self, slot: usize, to: Parked) {
        let len = self.held[slot];
        if len == 0 || self.copying.is_awaited(slot) {
            return;
        }
        let mut bytes = Vec::new();
        if raw::save(&self.context, id(slot), &mut bytes) && self.can_load(&bytes, len) {
            self.parked.insert(to, Arc::new(ParkedState { bytes, len }));
        } else {
            tracing::debug!(slot, len, "a slot could not be saved to host memory");
        }
    }

    /// True if a state of `len` positions can be loaded.
    pub(super) fn can_load(&self, bytes: &[u8], len: u32) -> bool {
        !self.limits.can_truncate || self.sizes.continues(bytes, len)
    }

    /// See `ModelRunner::shortest`.
    pub(super) fn shortest_of(&self, slot: usize) -> u32 {
        if !self.limits.windowed {
            return 0;
        }
        // All positions from `oldest` on are there (`llama_kv_cache::apply_ubatch`); a row attends to `window - 1`.
        match u32::try_from(self.context.kv_cache_seq_pos_min(id(slot))) {
            Ok(oldest) if oldest > 0 => oldest + self.sizes.window.saturating_sub(1),
            _ => 0,
        }
    }

    /// Fills a slot with the first `len` positions of parked content. False if that failed: the slot is then empty.
    fn load(&mut self, from: Parked, slot: usize, len: u32) -> Result<bool, StepError> {
        self.truncate(slot, 0)?;
        let Some(content) = self.parked.get(&from) else { return Ok(false) };
        if len == 0 || len > content.len || (len < content.len && !self.limits.can_truncate) {
            return refuse(&format!("cannot load {len} of {} parked positions", content.len));
        }
        if self.copying.is_awaited(slot) || self.copying.is_source(slot) {
            return Ok(false);
        }
        let loaded = raw::restore(&mut self.context, id(slot), &content.bytes);
        let whole = content.len;
        self.measure(slot);
        if loaded && self.held[slot] == whole {
            self.truncate(slot, len)?;
            return Ok(true);
        }
        tracing::warn!(slot, len, "parked content could not be loaded");
        // Remove anything that llama.cpp left there.
        self.held[slot] = whole;
        self.truncate(slot, 0)?;
        Ok(false)
    }

    /// Copies the first `len` positions, ≥ 1, of `from`, which holds at least as many, to another slot.
    fn copy(&mut self, from: usize, to: usize, len: u32) -> Result<(), StepError> {
        let cells_per_slot = self.limits.max_model_len;
        let in_use = self.held[from];
        let copied = match &mut self.copying {
            Copying::Mark => {
                self.truncate(to, 0)?;
                self.context.kv_cache_seq_cp(id(from), id(to), None, Some(len)).is_ok()
            }
            Copying::Streams(copies) => {
                // A content that is copied as a whole only has to be one that can be continued at its end.
                let has_all = |buffer: &[u8]| {
                    let whole = self.limits.windowed && len == in_use;
                    if whole { self.sizes.continues(buffer, len) } else { self.sizes.is_whole(buffer, in_use) }
                };
                let through_host = !copies.whole_stream(in_use, cells_per_slot)
                    && raw::save(&self.context, id(from), &mut copies.buffer)
                    && has_all(&copies.buffer);
                if through_host {
                    raw::restore(&mut self.context, id(to), &copies.buffer)
                } else {
                    copies.pending.push((from, to));
                    self.context.kv_cache_seq_cp(id(from), id(to), None, None).is_ok()
                }
            }
        };
        self.measure(to);
        assert!(
            copied && self.held[to] >= len,
            "{len} positions of slot {from} were to be copied to slot {to}, which holds {}",
            self.held[to]
        );
        self.truncate(to, len)
    }

    /// Asks llama.cpp how many positions a slot holds.
    pub(super) fn measure(&mut self, slot: usize) {
        let last = self.context.kv_cache_seq_pos_max(id(slot));
        self.held[slot] = u32::try_from(last + 1).unwrap_or(0);
    }
}
