//! The choice of the queue's sequences that are admitted to a step.
//!
//! They are admitted in order of the queue, while rows, slots and cells allow. A sequence that shares a prefix with a
//! running one waits until the prefix is computed and lets others pass. Owns no state: the queue owns the order, and
//! the cache the slots.

use super::{
    Scheduler,
    kv::MIN_COPY,
    lengths::{common_prefix, count, position},
    queue::{Deferral, QueuedSequence},
    sequence::Sequence,
};
use crate::engine::runner::Row;
use crate::protocol::SequenceId;

/// Largest number of sequences in the queue that are examined in each step, where they wait for a prefix.
const LOOKED_AT: usize = 32;

impl Scheduler {
    /// Number of sequences that would use prompt rows in the step being planned: those whose prompts are not computed
    /// yet and that have a slot or could get one.
    pub(super) fn waiting_for_rows(&self, prefilling: &[SequenceId]) -> u32 {
        let admissible = self.queue.len().min(position(self.limits.slots) - self.running.len());
        count(prefilling.len() + admissible)
    }

    /// True if a sequence of the queue could be admitted now. Rows are then kept for it beside long prompts: it is
    /// short, or the sequence after it may be.
    pub(super) fn could_admit(&self) -> bool {
        if self.running.len() >= position(self.limits.slots) || self.queue.is_paused() {
            return false;
        }
        let may_start = |waiting: &QueuedSequence| {
            let is_deferred = waiting.deferral.is_some_and(|deferral| self.is_computing(&deferral));
            !is_deferred && self.find_leader(&self.sequences[&waiting.id]).is_none()
        };
        let next = self.queue.iter().take(LOOKED_AT).find(may_start).map(|waiting| &self.sequences[&waiting.id]);
        next.is_some_and(|next| self.cells_committed() + next.cells_wanted() <= u64::from(self.limits.kv_cells))
    }

    /// Number of cells that running sequences may come to need.
    fn cells_committed(&self) -> u64 {
        self.running.iter().map(|id| self.sequences[id].cells_wanted()).sum()
    }

    /// Admits sequences in order of the queue. A deferred one is passed. One that lacks cells is not passed, so that it
    /// gets them in time. If streams wait for the step, contents that are saved or loaded to place a sequence count
    /// like prompt rows.
    pub(super) fn admit(&mut self, mut budget: u32, beside_streams: bool, rows: &mut Vec<Row>) {
        let is_full = self.running.len() >= position(self.limits.slots);
        if budget == 0 || is_full || (self.queue.is_paused() && !self.running.is_empty()) {
            return;
        }
        let mut committed = self.cells_committed();
        let mut walk = self.queue.walk();
        while budget > 0 && self.running.len() < position(self.limits.slots) {
            let Some(QueuedSequence { id, deferral }) = self.queue.next(&walk) else { return };
            committed += self.sequences[&id].cells_wanted();
            if committed > u64::from(self.limits.kv_cells) {
                return;
            }
            let deferral = self.still_deferred(id, deferral);
            self.queue.defer(&walk, deferral);
            if deferral.is_some() {
                committed -= self.sequences[&id].cells_wanted();
                self.queue.pass(&mut walk);
                continue;
            }
            let moved_before = self.cache.moved_bytes();
            if !self.start(id) {
                return;
            }
            self.queue.admit(&mut walk);
            if beside_streams {
                budget = self.costs.rows_left(budget, self.cache.moved_bytes() - moved_before);
            }
            budget = self.plan_chunk(id, budget, rows);
        }
    }

    /// Moves a sequence to a slot; the caller takes it out of the queue. Returns false if no slot is free, or none can
    /// be filled in this step.
    fn start(&mut self, id: SequenceId) -> bool {
        let Some(sequence) = self.sequences.get_mut(&id) else { return false };
        let (reusable, namespace) = (sequence.reusable(), sequence.namespace);
        // Looked for before the slot loses its content.
        let seen = if self.limits.windowed { self.cache.longest_seen(reusable, namespace) } else { 0 };
        let Some(slot) = self.cache.place(id, reusable, namespace) else { return false };
        let cached = self.cache.held(slot);
        sequence.run_in(slot, cached);
        sequence.save_missed(seen, cached);
        self.running.push(id);
        if !sequence.started {
            sequence.started = true;
            self.started.push((id, cached));
            self.totals.prefix_queries += u64::from(sequence.len());
            self.totals.prefix_hits += u64::from(cached);
        }
        true
    }

    /// The deferral of a waiting sequence, if it should wait for a running one to compute a prefix: `deferral` while
    /// its leader computes the prefix, else one that is found now.
    ///
    /// Cheap while nothing has changed. The wait ends when the prefix is computed or the leader is no longer running.
    /// It cannot recur without end. A sequence that passes this one shares too little to become its leader, or would be
    /// deferred likewise. And each further leader has at least `MIN_COPY` tokens more in common with it than a running
    /// sequence already holds.
    fn still_deferred(&self, id: SequenceId, deferral: Option<Deferral>) -> Option<Deferral> {
        deferral.filter(|deferral| self.is_computing(deferral)).or_else(|| self.find_leader(&self.sequences[&id]))
    }

    /// True if the leader still computes the prefix that the other sequence waits for.
    pub(super) fn is_computing(&self, deferral: &Deferral) -> bool {
        let slot = self.sequences.get(&deferral.leader).and_then(Sequence::slot);
        slot.is_some_and(|slot| self.cache.held(slot) < deferral.common)
    }

    /// The running sequence that will hold the longest prefix of `sequence`, if this prefix is enough longer than the
    /// longest one that is cached now.
    fn find_leader(&self, sequence: &Sequence) -> Option<Deferral> {
        if !self.cache.can_truncate {
            return None;
        }
        let reusable = sequence.reusable();
        let enough = self.cache.longest_held(reusable, sequence.namespace) + MIN_COPY;
        let last = position(enough - 1);
        let token = reusable.get(last)?;
        let shares_enough = |other: &Sequence| {
            // This comparison alone excludes nearly all sequences.
            other.namespace == sequence.namespace && other.tokens.get(last) == Some(token)
        };
        self.running
            .iter()
            .map(|leader| (*leader, &self.sequences[leader]))
            .filter(|(_, other)| shares_enough(other))
            .map(|(leader, other)| Deferral { leader, common: common_prefix(&other.tokens, reusable) })
            // A prefix that the leader holds already was covered by `longest_held`, or a windowed cache is unable to
            // give it.
            .filter(|deferral| deferral.common >= enough && self.is_computing(deferral))
            .max_by_key(|deferral| deferral.common)
    }
}
