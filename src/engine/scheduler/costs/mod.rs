//! The cost of steps, learnt from the time that they took: seconds of decode rows, prompt rows, draft rows and moved
//! bytes.
//!
//! `observe` decides which of the four models learns from an executed step; the other functions answer the scheduler's
//! questions from the models. Owns the estimates; reads no clock.

mod decode;
mod drafts;
mod line;
mod moves;
mod prompts;
#[cfg(test)]
mod tests;

use super::{in_flight::StepInFlight, lengths::count};
use crate::engine::runner::{KvOp, Step};
use decode::{DecodeCost, NEW_WEIGHT, PROBE_EVERY};
use drafts::DraftCost;
use moves::MoveCost;
use prompts::PromptBudget;
pub(super) use prompts::whole_tiles;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(super) struct Costs {
    decode: DecodeCost,
    prompts: PromptBudget,
    drafts: DraftCost,
    moves: MoveCost,
    /// Number of steps with drafts since the last pure decode step.
    drafted_in_a_row: u32,
}

impl Costs {
    /// Costs without measurements. `max_rows` and `tile` as in `Limits`, `prefill_step_ratio` as in `EngineOptions`.
    pub(super) fn new(max_rows: u32, tile: u32, prefill_step_ratio: f32) -> Self {
        Self {
            decode: DecodeCost::default(),
            prompts: PromptBudget::new(max_rows, tile, prefill_step_ratio),
            drafts: DraftCost::default(),
            moves: MoveCost::default(),
            drafted_in_a_row: 0,
        }
    }

    /// Keeps steps with decode and prompt rows within `target_seconds`; prompts get a few rows in any case.
    pub(super) fn set_target(&mut self, target_seconds: f64) {
        self.prompts.set_target(target_seconds);
    }

    // === Questions ===

    /// Number of prompt rows that may join `decode_rows` in a step while `waiting` sequences, ≥ 1, would use some. It
    /// is 0 now and then, for one step.
    pub(super) fn prompt_rows(&self, decode_rows: u32, waiting: u32) -> u32 {
        self.prompts.rows(decode_rows, waiting, &self.decode)
    }

    /// Time until `rows` prompt rows of `waiting` sequences, ≥ 1, are computed beside `decode_rows`, seconds. `None`
    /// until enough was measured.
    pub(super) fn prompt_seconds(&self, rows: u64, decode_rows: u32, waiting: u32) -> Option<f64> {
        self.prompts.seconds(rows, decode_rows, waiting, &self.decode)
    }

    /// The number of prompt rows, of `rows` beside others, that are left if `moved_bytes` bytes are moved in the same
    /// step.
    pub(super) fn rows_left(&self, rows: u32, moved_bytes: u64) -> u32 {
        self.prompts.rows_left(rows, self.moves.seconds(moved_bytes), &self.decode)
    }

    /// The time of a step with only `decode_rows` rows, seconds. `None` until a step like it was measured.
    pub(super) fn decode_seconds(&self, decode_rows: u32) -> Option<f64> {
        self.decode.expected(decode_rows)
    }

    /// The time that draft rows add to a step with `sequences` sequences, seconds: fixed, and per row. `None` until
    /// some were measured.
    pub(super) fn draft_cost(&self, sequences: u32) -> Option<(f64, f64)> {
        self.drafts.expected(sequences, &self.decode)
    }

    /// True if the time of draft rows beside `sequences` sequences should be measured: it is unknown, or old.
    pub(super) fn wants_drafts(&self, sequences: u32) -> bool {
        self.drafts.is_old(sequences)
    }

    /// True if the next step should go without drafts, so that the time of a pure decode step becomes known.
    pub(super) fn wants_pure_decode(&self, decode_rows: u32) -> bool {
        !self.decode.knows(decode_rows) || self.drafted_in_a_row >= PROBE_EVERY
    }

    // === Measurements ===

    /// Learns from an executed step.
    pub(super) fn observe(&mut self, step: &Step, in_flight: StepInFlight, elapsed: Duration) {
        let StepInFlight { prompt_rows, draft_rows, moved_bytes } = in_flight;
        self.drafts.pass_step();
        let copies = step.kv.iter().any(|op| matches!(op, KvOp::Copy { .. }));
        if moved_bytes > 0
            && draft_rows == 0
            && !copies
            && let Some(expected) = self.expected(step)
        {
            self.moves.observe(moved_bytes, elapsed.as_secs_f64() - expected);
        }
        if draft_rows > 0 {
            self.observe_drafts(step, draft_rows, elapsed);
        } else if prompt_rows == 0 && shape(step).1 > 0 {
            // These rows are forced tokens. Neither decode steps nor prompt rows can be learnt from them.
            self.prompts.on_step_without_prompts();
        } else {
            self.observe_rows(step, elapsed);
        }
    }

    /// Learns from an executed step without drafts and forced tokens.
    fn observe_rows(&mut self, step: &Step, elapsed: Duration) {
        if step.kv.iter().any(|op| matches!(op, KvOp::Copy { .. } | KvOp::Save { .. } | KvOp::Load { .. })) {
            // Copies and moves take time that is not the rows'.
            return;
        }
        let seconds = elapsed.as_secs_f64();
        match shape(step) {
            (0, 0) => {}
            (0, prompt) => self.prompts.observe_alone(prompt, seconds),
            (decode, 0) => {
                // If no such step was measured for long, the old estimate may be for contexts of another length.
                let weight = if self.prompts.wants_pure_decode() { 1.0 } else { NEW_WEIGHT };
                self.prompts.on_step_without_prompts();
                self.drafted_in_a_row = 0;
                self.decode.observe(decode, seconds, weight);
            }
            (decode, prompt) => self.prompts.observe_mixed(decode, prompt, seconds, &self.decode),
        }
    }

    /// Learns from an executed step whose rows decode or are drafts, one sequence after the other.
    fn observe_drafts(&mut self, step: &Step, draft_rows: u32, elapsed: Duration) {
        self.drafted_in_a_row += 1;
        let sequences = count(step.rows.chunk_by(|a, b| a.seq == b.seq).count());
        if step.kv.iter().all(|op| matches!(op, KvOp::Truncate { .. }))
            && let Some(decode_seconds) = self.decode.expected(sequences)
        {
            // A row takes no longer than a step of its own: what took longer is assumed to have been something else.
            let most = f64::from(draft_rows) * decode_seconds;
            self.drafts.observe(sequences, draft_rows, (elapsed.as_secs_f64() - decode_seconds).clamp(0.0, most));
        }
    }

    /// The expected time of a step, seconds, without its moves. `None` until enough was measured.
    fn expected(&self, step: &Step) -> Option<f64> {
        let (decode, prompt) = shape(step);
        self.prompts.step_seconds(decode, prompt, &self.decode)
    }
}

/// The numbers of decode rows and of prompt rows in a step. A sequence with a single row that samples decodes.
fn shape(step: &Step) -> (u32, u32) {
    step.rows.chunk_by(|a, b| a.seq == b.seq).fold((0, 0), |(decode, prompt), rows| match rows {
        [row] if row.sample => (decode + 1, prompt),
        _ => (decode, prompt + count(rows.len())),
    })
}
