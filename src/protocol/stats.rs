//! The counts of an engine: its state after a step, and totals since it started.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign};

/// The counts of an engine, reported with each step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStats {
    /// The state after the step.
    pub gauges: EngineGauges,
    /// The counts since the engine started.
    pub totals: EngineTotals,
}

/// The state of an engine after a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineGauges {
    /// Number of sequences that hold a slot.
    pub running: u32,
    /// Number of sequences that wait for a slot.
    pub waiting: u32,
    /// Number of these that wait until another sequence has computed a common prefix.
    pub deferred: u32,
    /// Number of KV cells that running sequences hold.
    pub kv_cells_used: u32,
    /// Number of all KV cells.
    pub kv_cells_total: u32,
    /// CPU threads of a step; 0 if the runner has no such number.
    pub threads: u32,
    /// Bytes of parked KV in host memory.
    pub parked_bytes: u64,
}

/// Counts that only grow. The totals of successive engines are added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineTotals {
    /// Steps that finished.
    pub steps: u64,
    /// Prompt tokens that were looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Prompt tokens found in the prefix cache.
    pub prefix_hits: u64,
    /// Prompt rows that were computed.
    pub prefill_rows: u64,
    /// Sequences that were put back to wait because the KV cache was full.
    pub preemptions: u64,
    /// Tokens that a constraint left no choice about and that were computed in one step with the token before.
    pub forced_rows: u64,
    /// Draft tokens that were computed to see whether they are right.
    pub draft_rows: u64,
    /// Draft tokens that were right.
    pub drafts_accepted: u64,
    /// Tokens whose KV was saved to host memory.
    pub parked_tokens: u64,
    /// Tokens whose KV was loaded from host memory instead of being computed.
    pub loaded_tokens: u64,
    /// Tokens whose KV was read from disk.
    pub restored_tokens: u64,
    /// Number of times that the whole cache was dropped because its record contradicted itself.
    pub cache_resets: u64,
}

impl AddAssign for EngineTotals {
    fn add_assign(&mut self, other: Self) {
        // Without `..`: a new count cannot be forgotten here.
        let Self {
            steps,
            prefix_queries,
            prefix_hits,
            prefill_rows,
            preemptions,
            forced_rows,
            draft_rows,
            drafts_accepted,
            parked_tokens,
            loaded_tokens,
            restored_tokens,
            cache_resets,
        } = other;
        self.steps += steps;
        self.prefix_queries += prefix_queries;
        self.prefix_hits += prefix_hits;
        self.prefill_rows += prefill_rows;
        self.preemptions += preemptions;
        self.forced_rows += forced_rows;
        self.draft_rows += draft_rows;
        self.drafts_accepted += drafts_accepted;
        self.parked_tokens += parked_tokens;
        self.loaded_tokens += loaded_tokens;
        self.restored_tokens += restored_tokens;
        self.cache_resets += cache_resets;
    }
}

impl Add for EngineTotals {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_total_is_added_to_its_own() {
        let numbered = |first: u64| EngineTotals {
            steps: first,
            prefix_queries: first + 1,
            prefix_hits: first + 2,
            prefill_rows: first + 3,
            preemptions: first + 4,
            forced_rows: first + 5,
            draft_rows: first + 6,
            drafts_accepted: first + 7,
            parked_tokens: first + 8,
            loaded_tokens: first + 9,
            restored_tokens: first + 10,
            cache_resets: first + 11,
        };

        assert_eq!(numbered(100) + EngineTotals::default(), numbered(100));
        assert_eq!((numbered(100) + numbered(0)).cache_resets, 122);
        let sum = numbered(100) + numbered(1000);
        assert_eq!((sum.steps, sum.prefix_queries, sum.restored_tokens), (1100, 1102, 1120));
    }
}
