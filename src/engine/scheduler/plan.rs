//! Builds a step: decode rows first, then prompt rows of running sequences, then admissions.
//!
//! Owns the policy that divides the rows and the cells of a step. `admission` decides who is admitted, `kv::placement`
//! which slot a sequence gets, and `costs` how many prompt rows a step may carry.

use super::{
    Scheduler,
    costs::whole_tiles,
    in_flight::StepInFlight,
    lengths::{count, position},
};
use crate::engine::runner::{DecodeSlots, Row, Step};
use crate::protocol::SequenceId;

impl Scheduler {
    /// The next step; `None` if no sequence waits or runs.
    ///
    /// The step is then in flight: `complete` or `fail` must be called before the next call.
    ///
    /// 1. Room is made for a row of each decoding sequence: cached slots are evicted, then the sequence that was
    ///    admitted last is put back.
    /// 2. If a step failed, its sequences run alone, one after the other.
    /// 3. One row for every sequence that generates and is not left out, and rows of its forced tokens if there is
    ///    room; rows of drafts if no sequence waits for its prompt. Before that, a gap between slots may be closed.
    /// 4. Prompt chunks of the other running sequences within the budget: half of it for short prompts and the rest for
    ///    the others, oldest first.
    /// 5. Admissions from the queue while rows, slots and cells allow, each with its first chunk.
    /// 6. Rows in order of slots: llama.cpp computes the sequences of a split KV together only where their ids follow
    ///    each other in the batch (`llama_batch_allocr::split_equal`).
    pub fn next_step(&mut self) -> Option<Step> {
        if self.sequences.is_empty() {
            return None;
        }
        let mut rows = Vec::new();
        let mut draft_rows = 0;
        // (1)
        self.make_room_for_running();
        self.plan_stops();
        if let Some(suspect) = self.suspects.front() {
            // (2)
            self.plan_rows(suspect.id, self.limits.max_rows, &mut rows);
        } else {
            self.close_gap();
            // (3)
            let (mut decoding, prefilling): (Vec<_>, Vec<_>) = self.running.iter().partition(|id| self.decodes(**id));
            decoding.retain(|id| !self.left_out.contains(id));
            self.plan_decoding(&decoding, &mut rows);
            draft_rows = self.plan_drafts(&decoding, &prefilling, &mut rows);
            let room = self.limits.max_rows - count(rows.len());
            let budget = self.costs.prompt_rows(count(decoding.len()), self.waiting_for_rows(&prefilling)).min(room);
            // (4)
            let budget = self.plan_prompts(&prefilling, budget, &mut rows);
            // (5)
            self.admit(budget, !decoding.is_empty(), &mut rows);
        }
        self.left_out.clear();
        // (6) The sort is stable, so that the rows of a slot stay in order.
        rows.sort_by_key(|row| row.slot);
        let prompt_rows = count(rows.iter().filter(|row| row.pos < self.sequences[&row.seq].prompt_len).count());
        self.in_flight = Some(StepInFlight { prompt_rows, draft_rows, moved_bytes: self.cache.moved_bytes() });
        Some(Step { kv: self.cache.take_ops(), rows })
    }

    /// Plans a row for each sequence that generates. The rest of the step's rows and of the KV cells is for forced
    /// tokens.
    fn plan_decoding(&mut self, decoding: &[SequenceId], rows: &mut Vec<Row>) {
        let each = count(decoding.len());
        let mut spare = (self.limits.max_rows - each).min(self.cache.slots.reclaimable_cells().saturating_sub(each));
        for id in decoding {
            spare += 1;
            spare -= self.plan_rows(*id, spare, rows);
        }
    }

    /// Makes room for a row of each decoding sequence. A lone sequence always has room: `submit` refuses a sequence
    /// that the whole KV could not hold.
    fn make_room_for_running(&mut self) {
        loop {
            let decoding = self.running.iter().filter(|id| self.decodes(**id)).count();
            let needed = count(decoding.max(1));
            if self.running.len() <= 1 || self.cache.make_room(needed, &[]) {
                return;
            }
            self.preempt_latest();
        }
    }

    /// Shares the budget among prompts: half of it goes to short ones first, so that none waits for a long one, and the
    /// rest to the others, oldest first. Returns the rest of the budget, for admissions.
    fn plan_prompts(&mut self, prefilling: &[SequenceId], budget: u32, rows: &mut Vec<Row>) -> u32 {
        let (short, long): (Vec<_>, Vec<_>) = prefilling.iter().partition(|id| self.sequences[id].is_short());
        let for_short = if long.is_empty() { budget } else { budget.div_ceil(2) };
        let mut left = for_short;
        for id in short {
            left = self.plan_chunk(id, left, rows);
        }
        // The queue matters only beside long prompts.
        let for_next = if !long.is_empty() && self.could_admit() { left } else { 0 };
        let mut left = budget - for_short + left - for_next;
        for id in long {
            left = self.plan_chunk(id, left, rows);
        }
        left + for_next
    }

    /// Adds the next rows of a prompt: all, or as many whole tiles of them as the budget has, and one more if that is
    /// computed elsewhere. Returns the rest of the budget, which is 0 after a prompt that was cut.
    pub(super) fn plan_chunk(&mut self, id: SequenceId, budget: u32, rows: &mut Vec<Row>) -> u32 {
        // An earlier chunk may have had one row more than its share.
        let room = self.limits.max_rows - count(rows.len());
        let budget = budget.min(room);
        if self.left(id) <= budget {
            return budget - self.plan_rows(id, budget, rows);
        }
        let tiles = whole_tiles(budget, self.limits.tile);
        let max_rows = (tiles + self.row_beside_decoding(id, tiles, rows)).min(room);
        let planned = self.plan_rows(id, max_rows, rows);
        // Fewer rows were planned than the budget has, since a prompt with wanted logits has another bound.
        if planned < max_rows { budget - planned } else { 0 }
    }

    /// 1 if the last of a sequence's next rows is computed with the decode rows and not with the `tiles` rows before
    /// it, otherwise 0. A chunk that ends earlier for another reason lacks that row in its tiles.
    fn row_beside_decoding(&self, id: SequenceId, tiles: u32, rows: &[Row]) -> u32 {
        let decoding = DecodeSlots::of(rows).filter(|_| self.limits.consecutive_slots && tiles >= self.limits.tile);
        let slot = self.sequences[&id].slot();
        let is_taken = decoding.zip(slot).is_some_and(|(decoding, slot)| decoding.take(slot, self.cache.held(slot)));
        u32::from(is_taken)
    }

    /// Adds the next rows of a running sequence, up to `max_rows`, and returns their number.
    fn plan_rows(&mut self, id: SequenceId, max_rows: u32, rows: &mut Vec<Row>) -> u32 {
        let sequence = &self.sequences[&id];
        let Some(slot) = sequence.slot() else { return 0 };
        let (held, len) = (self.cache.held(slot), sequence.len());
        let wanted = count(rows.iter().filter(|row| row.sample).count());
        let max_rows = sequence.rows_before_last(held, max_rows.min(len - held));
        let max_rows = self.rows_before_stop(id, held, max_rows);
        let mut planned = sequence.rows_within(held, max_rows, self.limits.scored_rows().saturating_sub(wanted));
        if planned > self.cache.slots.free_cells() {
            planned = planned.min(self.cache.slots.reclaimable_cells());
            self.cache.make_room(planned, &[]);
        }
        self.cache.slots.promise(planned);
        rows.extend((held..held + planned).map(|pos| Row {
            seq: id,
            slot,
            pos,
            token: sequence.tokens[position(pos)],
            sample: sequence.wants_logits(pos),
        }));
        planned
    }
}
