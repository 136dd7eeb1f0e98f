//! Builds a step: decode rows first, then prompt rows of running sequences, then admissions.
//!
//! Owns the policy of who gets the rows and the cells of a step. Does not decide where a sequence goes (`place`) or how
//! many prompt rows a step bears (`budget`).

use super::Scheduler;
use super::budget::Demand;
use super::cache::position;
use super::place::MIN_COPY;
use super::sequence::{Hold, Phase, Sequence, common_prefix, count};
use crate::engine::runner::{Row, Step};
use crate::protocol::SequenceId;

/// Rows that matrix kernels compute together: 33 take a quarter longer than 32, and 40 as long as 64 (llama-bench on AMX).
const TILE: u32 = 32;

/// Of a long queue of sequences that wait for a prefix, so many are looked at in each step.
const LOOKED_AT: usize = 32;

impl Scheduler {
    /// What to compute next; `None` if nothing waits or runs.
    ///
    /// The step is then in flight: `complete` or `fail` comes before the next call.
    ///
    /// 1. Room is made for a row of each decoding sequence: cached slots are evicted, then the latest admission is put back.
    /// 2. If a step failed, its sequences run alone, one after the other.
    /// 3. One row for every sequence that generates and is not held, and its forced tokens' where there is room; rows of drafts where
    ///    nobody waits for a prompt. Before that, a gap between slots may be closed.
    /// 4. Prompt chunks of the other running sequences under the budget, half of it for short ones and the rest for the others,
    ///    oldest first.
    /// 5. Admissions from the queue while rows, slots and cells allow, each with its first chunk.
    /// 6. Rows in order of slots: llama.cpp computes the sequences of a split KV together only where their ids follow
    ///    each other in the batch (`llama_batch_allocr::split_equal`).
    pub fn next_step(&mut self) -> Option<Step> {
        if self.sequences.is_empty() {
            return None;
        }
        let mut rows = Vec::new();
        self.drafts_in_flight = 0;
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
            decoding.retain(|id| !self.held.contains(id));
            self.plan_decoding(&decoding, &mut rows);
            self.plan_drafts(&decoding, &prefilling, &mut rows);
            let room = self.limits.max_rows - count(rows.len());
            let budget = self.budget.prompt_rows(count(decoding.len()), self.demand(&prefilling)).min(room);
            // (4)
            let budget = self.plan_prompts(&prefilling, budget, &mut rows);
            // (5)
            self.admit(budget, !decoding.is_empty(), &mut rows);
        }
        self.held.clear();
        // (6) Stable, so that the rows of a slot stay in order.
        rows.sort_by_key(|row| row.slot);
        self.prefill_in_flight = count(rows.iter().filter(|row| row.pos < self.sequences[&row.seq].prompt_len).count());
        self.moved_in_flight = self.cache.swap.step_bytes();
        Some(Step { kv: self.cache.take_ops(), rows })
    }

    pub(super) fn demand(&self, prefilling: &[SequenceId]) -> Demand {
        let admissible = self.waiting.len().min(position(self.limits.slots) - self.running.len());
        let next = self.waiting.front().filter(|_| admissible > 0);
        let short = prefilling.iter().chain(next).any(|id| self.sequences[id].is_short());
        Demand { sequences: count(prefilling.len() + admissible), short }
    }

    /// Whether a sequence of the queue could be admitted now. Rows are kept for it beside long prompts: it is short, or what comes
    /// behind it may be.
    fn could_admit(&self) -> bool {
        if self.running.len() >= position(self.limits.slots) || self.admission_pause > 0 {
            return false;
        }
        let may_start = |sequence: &&Sequence| match sequence.phase {
            Phase::Waiting { hold } => !hold.is_some_and(|hold| self.is_computing(&hold)) && self.find_leader(sequence).is_none(),
            Phase::Running { .. } => false,
        };
        let next = self.waiting.iter().take(LOOKED_AT).map(|id| &self.sequences[id]).find(may_start);
        next.is_some_and(|next| self.cells_committed() + next.cells_wanted() <= u64::from(self.limits.kv_cells))
    }

    /// Cells that running sequences may come to need.
    fn cells_committed(&self) -> u64 {
        self.running.iter().map(|id| self.sequences[id].cells_wanted()).sum()
    }

    /// A row for each sequence that generates. What is left of the step's rows and of the KV takes forced tokens.
    fn plan_decoding(&mut self, decoding: &[SequenceId], rows: &mut Vec<Row>) {
        let each = count(decoding.len());
        let mut spare = (self.limits.max_rows - each).min(self.cache.reclaimable_cells().saturating_sub(each));
        for id in decoding {
            spare += 1;
            spare -= self.plan_rows(*id, spare, rows);
        }
    }

    /// A lone sequence always has room: `submit` refuses what the whole KV could not hold.
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

    /// Shares the budget among prompts: half of it goes to short ones first, so that none is stuck behind a long one, and the
    /// rest to the others, oldest first. Returns what is left for admissions.
    fn plan_prompts(&mut self, prefilling: &[SequenceId], budget: u32, rows: &mut Vec<Row>) -> u32 {
        let (short, long): (Vec<_>, Vec<_>) = prefilling.iter().partition(|id| self.sequences[id].is_short());
        let for_short = if long.is_empty() { budget } else { budget.div_ceil(2) };
        let mut left = for_short;
        for id in short {
            left = self.plan_chunk(id, left, rows);
        }
        // Only beside long prompts does anything depend on the queue.
        let for_next = if !long.is_empty() && self.could_admit() { left } else { 0 };
        let mut left = budget - for_short + left - for_next;
        for id in long {
            left = self.plan_chunk(id, left, rows);
        }
        left + for_next
    }

    /// Adds the next rows of a prompt, all or as many whole tiles of them as the budget has. Returns what is left of that:
    /// nothing behind a prompt that was cut.
    fn plan_chunk(&mut self, id: SequenceId, budget: u32, rows: &mut Vec<Row>) -> u32 {
        if self.left(id) <= budget {
            return budget - self.plan_rows(id, budget, rows);
        }
        let most = whole_tiles(budget);
        let planned = self.plan_rows(id, most, rows);
        // Something else bounds a prompt whose logits are wanted.
        if planned < most { budget - planned } else { 0 }
    }

    /// Adds the next rows of a running sequence, `most` at most, and returns how many.
    fn plan_rows(&mut self, id: SequenceId, most: u32, rows: &mut Vec<Row>) -> u32 {
        let sequence = &self.sequences[&id];
        let Some(slot) = sequence.slot() else { return 0 };
        let (held, len) = (self.cache.held(slot), sequence.len());
        let wanted = count(rows.iter().filter(|row| row.sample).count());
        let most = self.rows_before_stop(id, held, most.min(len - held));
        let mut planned = sequence.rows_within(held, most, self.limits.scored_rows().saturating_sub(wanted));
        if planned > self.cache.free_cells() {
            planned = planned.min(self.cache.reclaimable_cells());
            self.cache.make_room(planned, &[]);
        }
        self.cache.promise(planned);
        rows.extend((held..held + planned).map(|pos| Row {
            seq: id,
            slot,
            pos,
            token: sequence.tokens[position(pos)],
            sample: sequence.wants_logits(pos),
        }));
        planned
    }

    /// Admits in order of the queue. One that is held back is passed; one that lacks cells is not, so that it gets them in time.
    /// Where streams wait for the step, what is saved or loaded to place a sequence counts like prompt rows.
    fn admit(&mut self, mut budget: u32, beside_streams: bool, rows: &mut Vec<Row>) {
        if self.admission_pause > 0 && !self.running.is_empty() {
            return;
        }
        let mut committed = self.cells_committed();
        let mut next = 0;
        while budget > 0 && self.running.len() < position(self.limits.slots) {
            let Some(id) = self.waiting.get(next).copied() else { return };
            committed += self.sequences[&id].cells_wanted();
            if committed > u64::from(self.limits.kv_cells) {
                return;
            }
            if self.hold_back(id) {
                committed -= self.sequences[&id].cells_wanted();
                next += 1;
                continue;
            }
            let moved_before = self.cache.swap.step_bytes();
            if !self.start(id) {
                return;
            }
            self.waiting.remove(next);
            if beside_streams {
                let moved = self.cache.swap.step_bytes() - moved_before;
                budget = self.budget.rows_left(budget, self.moves.seconds(moved));
            }
            budget = self.plan_chunk(id, budget, rows);
        }
    }

    /// Moves a sequence from the queue (the caller takes it out) to a slot. False if none is free, or can be filled in this step.
    fn start(&mut self, id: SequenceId) -> bool {
        let Some(sequence) = self.sequences.get_mut(&id) else { return false };
        let (reusable, namespace) = (sequence.reusable(), sequence.namespace);
        // Before the slot loses what it holds.
        let seen = if self.limits.windowed { self.cache.longest_seen(reusable, namespace) } else { 0 };
        let Some(slot) = self.cache.place(id, reusable, namespace) else { return false };
        let cached = self.cache.held(slot);
        sequence.run_in(slot, cached);
        sequence.save_missed(seen, cached);
        self.running.push(id);
        if !sequence.started {
            sequence.started = true;
            self.started.push((id, cached));
            self.counts.prefix_queries += u64::from(sequence.len());
            self.counts.prefix_hits += u64::from(cached);
        }
        true
    }

    /// Whether a waiting sequence had better let a running one finish the prefix that both share.
    ///
    /// Cheap while nothing changed. It ends when the prefix is computed or the leader is no longer running. It cannot
    /// recur without end: whoever passes shares too little to become a leader, or would be held back likewise; and
    /// each further leader has at least `MIN_COPY` tokens more in common than a running sequence already holds.
    fn hold_back(&mut self, id: SequenceId) -> bool {
        let sequence = &self.sequences[&id];
        let Phase::Waiting { hold } = sequence.phase else { return false };
        if hold.is_some_and(|hold| self.is_computing(&hold)) {
            return true;
        }
        let hold = self.find_leader(sequence);
        if let Some(sequence) = self.sequences.get_mut(&id) {
            sequence.phase = Phase::Waiting { hold };
        }
        hold.is_some()
    }

    pub(super) fn is_computing(&self, hold: &Hold) -> bool {
        let slot = self.sequences.get(&hold.leader).and_then(Sequence::slot);
        slot.is_some_and(|slot| self.cache.held(slot) < hold.common)
    }

    /// The running sequence that will hold the longest prefix of `sequence`, if that beats what is held now by enough.
    fn find_leader(&self, sequence: &Sequence) -> Option<Hold> {
        if !self.cache.can_truncate {
            return None;
        }
        let reusable = sequence.reusable();
        let enough = self.cache.longest_held(reusable, sequence.namespace) + MIN_COPY;
        let last = position(enough - 1);
        let token = reusable.get(last)?;
        let shares_enough = |other: &Sequence| {
            // The one comparison rules out most.
            other.namespace == sequence.namespace && other.tokens.get(last) == Some(token)
        };
        self.running
            .iter()
            .map(|leader| (*leader, &self.sequences[leader]))
            .filter(|(_, other)| shares_enough(other))
            .map(|(leader, other)| Hold { leader, common: common_prefix(&other.tokens, reusable) })
            // Its present length was looked for before; a windowed cache may be unable to give a beginning of it.
            .filter(|hold| hold.common >= enough && self.is_computing(hold))
            .max_by_key(|hold| hold.common)
    }
}

/// Of so many rows as many as fill whole tiles, or all where there is not one.
pub(super) fn whole_tiles(rows: u32) -> u32 {
    if rows < TILE { rows } else { rows / TILE * TILE }
}
