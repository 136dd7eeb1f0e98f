//! How many prompt rows a step may carry, learnt from how long steps took.
//!
//! Running streams wait for the whole step, so prompt rows stretch their inter-token gap. The budget keeps the expected
//! time of a step with prompt rows within `prefill_step_ratio` times a step without. Owns the estimates; reads no clock.
//!
//! Model: `time(decode, prompt) = decode_seconds(decode) + prompt * row_seconds`. What a mixed batch costs extra however
//! few prompt rows it has ends up in `row_seconds`, which is measured at about the sizes that are used.

use crate::engine::runner::Step;
use std::{collections::BTreeMap, time::Duration};

/// Prompt rows in a step with decode rows, whatever the estimates say, so that prefill always gets on.
const MIN_ROWS: u32 = 4;
/// Prompt rows beside decode rows before anything was measured.
const START_ROWS: u32 = 8;
/// Weight of a new measurement of a pure decode step.
const NEW_WEIGHT: f64 = 0.25;
/// What remains of the earlier mixed steps' sums when one is added.
const DECAY: f64 = 0.8;
/// After this many mixed steps in a row one goes without prompt rows: under constant load the time of a pure decode
/// step would else never be seen. Costs less than 1 % of the prefill speed.
const PROBE_EVERY: u32 = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Budget {
    max_rows: u32,
    /// Share of a decode step's time that prompt rows may add.
    extra: f64,
    /// Seconds of a step with only that many decode rows; at most one entry per slot.
    decode_seconds: BTreeMap<u32, f64>,
    /// Decaying sum of what prompt rows added, seconds.
    added_seconds: f64,
    /// Decaying sum of the prompt rows that added it.
    added_rows: f64,
    /// Twice the most prompt rows ever measured beside decode rows: estimates are not trusted far from where they were made.
    ceiling: u32,
    /// Mixed steps since the last pure decode step.
    mixed_in_a_row: u32,
}

impl Budget {
    pub(super) fn new(max_rows: u32, prefill_step_ratio: f32) -> Self {
        Self {
            max_rows,
            extra: f64::from(prefill_step_ratio - 1.0).max(0.0),
            decode_seconds: BTreeMap::new(),
            added_seconds: 0.0,
            added_rows: 0.0,
            ceiling: START_ROWS,
            mixed_in_a_row: 0,
        }
    }

    /// Prompt rows that may join `decode_rows` in a step. 0 now and then, for one step.
    pub(super) fn prompt_rows(&self, decode_rows: u32) -> u32 {
        let room = self.max_rows.saturating_sub(decode_rows);
        if decode_rows == 0 {
            return room;
        }
        let probe_after = if self.decode_seconds.is_empty() { 1 } else { PROBE_EVERY };
        if self.mixed_in_a_row >= probe_after {
            return 0;
        }
        let Some(decode_seconds) = self.expected_decode(decode_rows).filter(|_| self.added_rows > 0.0) else {
            return START_ROWS.min(room);
        };
        let row_seconds = self.added_seconds / self.added_rows;
        // The cast saturates; the ceiling is far below.
        let rows = if row_seconds > 0.0 { (self.extra * decode_seconds / row_seconds) as u32 } else { self.ceiling };
        rows.clamp(MIN_ROWS, self.ceiling).min(room)
    }

    /// Learns from an executed step.
    pub(super) fn observe(&mut self, step: &Step, elapsed: Duration) {
        let (decode, prompt) = shape(step);
        let seconds = elapsed.as_secs_f64();
        if decode == 0 {
            return;
        }
        if prompt == 0 {
            self.mixed_in_a_row = 0;
            self.decode_seconds.entry(decode).and_modify(|old| *old += NEW_WEIGHT * (seconds - *old)).or_insert(seconds);
            return;
        }
        self.mixed_in_a_row += 1;
        if let Some(decode_seconds) = self.expected_decode(decode) {
            // A quotient of sums: the last few rows of a prompt, dear each, weigh no more than they are.
            self.added_seconds = DECAY * self.added_seconds + (seconds - decode_seconds).max(0.0);
            self.added_rows = DECAY * self.added_rows + f64::from(prompt);
            self.ceiling = self.ceiling.max(prompt.saturating_mul(2));
        }
    }

    /// Seconds of a pure decode step with `rows` rows: measured, or from the nearest counts that were. Too low rather than too high.
    fn expected_decode(&self, rows: u32) -> Option<f64> {
        let below = self.decode_seconds.range(..=rows).next_back();
        let above = self.decode_seconds.range(rows..).next();
        match (below, above) {
            (Some((low, a)), Some((high, b))) if low < high => Some(a + (b - a) * f64::from(rows - low) / f64::from(high - low)),
            (Some((_, a)), _) => Some(*a),
            // A step's time grows slower than its rows, so this is the least that fewer rows can take.
            (None, Some((high, b))) => Some(b * f64::from(rows) / f64::from(*high)),
            (None, None) => None,
        }
    }
}

/// Decode rows and prompt rows of a step. A sequence with a single row that samples decodes.
pub(super) fn shape(step: &Step) -> (u32, u32) {
    step.rows.chunk_by(|a, b| a.seq == b.seq).fold((0, 0), |(decode, prompt), rows| match rows {
        [row] if row.sample => (decode + 1, prompt),
        _ => (decode, prompt + super::sequence::count(rows.len())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::runner::{Row, Slot};
    use crate::protocol::{SequenceId, Token};

    /// A step with that many decode rows and one prompt chunk.
    fn step(decode: u32, prompt: u32) -> Step {
        let row = |seq: u32, pos, sample| Row { seq: SequenceId(seq.into()), slot: Slot(seq), pos, token: Token(0), sample };
        let mut rows: Vec<Row> = (0..decode).map(|seq| row(seq, 5, true)).collect();
        rows.extend((0..prompt).map(|pos| row(999, pos, false)));
        Step { kv: Vec::new(), rows }
    }

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms / 1000.0)
    }

    #[test]
    fn without_decode_rows_a_step_is_filled_up() {
        assert_eq!(Budget::new(512, 3.0).prompt_rows(0), 512);
    }

    #[test]
    fn before_any_measurement_a_few_rows_are_allowed_and_then_a_decode_step_is_measured() {
        let mut budget = Budget::new(512, 3.0);
        assert_eq!(budget.prompt_rows(2), 8);
        assert_eq!(Budget::new(5, 3.0).prompt_rows(2), 3, "never above max_rows");

        budget.observe(&step(2, 8), ms(50.0));
        assert_eq!(budget.prompt_rows(2), 0);

        budget.observe(&step(2, 0), ms(10.0));
        assert_eq!(budget.prompt_rows(2), 8);
    }

    #[test]
    fn rows_converge_to_the_allowed_ratio_with_doubling_at_most() {
        let mut budget = Budget::new(512, 3.0);
        budget.observe(&step(4, 0), ms(20.0));

        let mut seen = Vec::new();
        for _ in 0..20 {
            let rows = budget.prompt_rows(4);
            seen.push(rows);
            budget.observe(&step(4, rows), ms(20.0 + 0.5 * f64::from(rows)));
        }

        // 20 ms may become 60 ms: 40 ms for rows of 0.5 ms.
        assert_eq!(seen[..5], [8, 16, 32, 64, 80]);
        assert!((79..=80).contains(&seen[19]), "{seen:?}");
    }

    #[test]
    fn a_fixed_cost_of_mixing_is_learnt() {
        let mut budget = Budget::new(512, 3.0);
        budget.observe(&step(4, 0), ms(20.0));

        for _ in 0..60 {
            let rows = budget.prompt_rows(4);
            budget.observe(&step(4, rows), ms(20.0 + 20.0 + 1.0 * f64::from(rows)));
        }

        let rows = budget.prompt_rows(4);
        assert!((18..=21).contains(&rows), "20 ms are left for rows of 1 ms, got {rows}");
    }

    #[test]
    fn dear_rows_still_get_the_minimum() {
        let mut budget = Budget::new(512, 1.0);
        budget.observe(&step(4, 0), ms(20.0));
        budget.observe(&step(4, 8), ms(500.0));

        assert_eq!(budget.prompt_rows(4), MIN_ROWS);
    }

    #[test]
    fn unseen_row_counts_are_interpolated_and_never_overestimated() {
        let mut budget = Budget::new(512, 3.0);
        assert_eq!(budget.expected_decode(3), None);

        budget.observe(&step(4, 0), ms(20.0));
        budget.observe(&step(8, 0), ms(30.0));

        let near = |rows, expected: f64| {
            let seconds = budget.expected_decode(rows).unwrap();
            assert!((seconds - expected / 1000.0).abs() < 1e-9, "{rows} rows: {seconds}");
        };
        near(4, 20.0);
        near(6, 25.0);
        near(16, 30.0);
        near(1, 5.0);
    }

    #[test]
    fn under_constant_prefill_a_pure_decode_step_is_measured_now_and_then() {
        let mut budget = Budget::new(512, 3.0);
        budget.observe(&step(1, 0), ms(5.0));

        let zeros = (0..130)
            .filter(|_| {
                let rows = budget.prompt_rows(1);
                budget.observe(&step(1, rows), ms(5.0 + f64::from(rows)));
                rows == 0
            })
            .count();

        assert_eq!(zeros, 2);
    }
}
