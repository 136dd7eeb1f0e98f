//! How many prompt rows a step may carry, learnt from how long steps took.
//!
//! Running streams wait for the whole step, so prompt rows stretch their inter-token gap. The budget keeps the expected
//! time of a step with prompt rows within `prefill_step_ratio` times a step without. What prompt rows may add grows with
//! the sequences that wait for their prompts: else a batch would fill at the pace of its first stream. It doubles for a
//! short prompt, which is over in a few steps. Where a target is set in seconds, that is the bound instead, whoever waits.
//! Owns the estimates; reads no clock.
//!
//! Model: `time(decode, prompt) = decode_seconds(decode) + level * (fixed + prompt * per_row)`. Mixing has a fixed cost,
//! that of a graph more in the step. Smaller chunks pay it more often for the same prompt, so the rows of a step are never
//! so few that more than two thirds of their time went there: they would delay the streams longer, if more evenly. The shape
//! (`fixed`, `per_row`) is learnt slowly and the level quickly: rows late in a long prompt cost more than early ones.

use super::{line::Line, plan::whole_tiles, sequence::count};
use crate::engine::runner::{KvOp, Step};
use std::{collections::BTreeMap, time::Duration};

/// Prompt rows in a step with decode rows, whatever the estimates say, so that prefill always gets on.
const MIN_ROWS: f64 = 4.0;
/// The time that rows take is at least this share of what is fixed.
const LEAST_USE: f64 = 0.5;
/// Prompt rows beside decode rows before anything was measured.
const START_ROWS: u32 = 8;
/// A step up to this long is never too long, seconds: sixteen tokens a second are twice what people read, and prompts in
/// smaller chunks take up to twice as long.
const UNNOTICED_SECONDS: f64 = 0.06;
/// At most this many times the usual share goes to prompts, however many wait for one that streams …
const MOST_SHARES: f64 = 16.0;
/// … and not so much that a step takes longer than this for it, seconds, unless the usual share is more.
const MAX_BURST_SECONDS: f64 = 0.25;
/// A step without decode rows takes about this long at most, seconds: arrivals and cancellations wait for its end.
const MAX_STEP_SECONDS: f64 = 2.0;
/// Weight of a new measurement of a pure decode step.
const NEW_WEIGHT: f64 = 0.25;
/// After this many mixed steps in a row one goes without prompt rows: under constant load the time of a pure decode
/// step would else never be seen. Costs less than 1 % of the prefill speed.
const PROBE_EVERY: u32 = 64;

/// What a short prompt may take, in shares of a long one.
const SHORT_PROMPT_SHARES: f64 = 2.0;

/// Who would use prompt rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    /// Sequences whose prompts are not computed yet and that have a slot or could get one.
    pub(super) sequences: u32,
    /// Whether one of those whose turn it is has few rows in all.
    pub(super) short: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Budget {
    max_rows: u32,
    /// Share of a decode step's time that prompt rows may add.
    extra: f64,
    /// What a step with prompt rows may take, seconds, if somebody said so.
    target: Option<f64>,
    /// Seconds of a step with only that many decode rows; at most one entry per slot.
    decode_seconds: BTreeMap<u32, f64>,
    /// What prompt rows added.
    added: Line,
    /// Recent mixed steps in proportion to what `added` says, 1 when it is exact.
    level: f64,
    /// Twice the most prompt rows ever measured beside decode rows: estimates are not trusted far from where they were made.
    ceiling: u32,
    /// Mixed steps since the last pure decode step.
    mixed_in_a_row: u32,
    /// What draft rows added to steps with 1, 2–3, 4–7 … sequences: beside others they may be a graph more.
    drafted: [Line; BATCHES],
    /// Steps with drafts since the last pure decode step.
    drafted_in_a_row: u32,
}

impl Budget {
    pub(super) fn new(max_rows: u32, prefill_step_ratio: f32) -> Self {
        Self {
            max_rows,
            extra: f64::from(prefill_step_ratio - 1.0).max(0.0),
            target: None,
            decode_seconds: BTreeMap::new(),
            added: Line::default(),
            level: 1.0,
            ceiling: START_ROWS,
            mixed_in_a_row: 0,
            drafted: std::array::from_fn(|_| Line::default()),
            drafted_in_a_row: 0,
        }
    }

    /// Keeps steps with decode and prompt rows within so many seconds, as far as prompts get on at all.
    pub(super) fn set_target(&mut self, target: f64) {
        self.target = Some(target);
    }

    /// Prompt rows that may join `decode_rows` in a step. 0 now and then, for one step.
    pub(super) fn prompt_rows(&self, decode_rows: u32, demand: Demand) -> u32 {
        let room = self.max_rows.saturating_sub(decode_rows);
        if decode_rows == 0 {
            return self.added.fit(0.0).map_or(room, |(_, per_row)| room.min((MAX_STEP_SECONDS / per_row).max(MIN_ROWS) as u32));
        }
        let probe_after = if self.decode_seconds.is_empty() { 1 } else { PROBE_EVERY };
        if self.mixed_in_a_row >= probe_after {
            return 0;
        }
        let (Some(decode_seconds), Some((fixed, per_row))) = (self.expected_decode(decode_rows), self.expected_added()) else {
            return START_ROWS.min(room);
        };
        let allowed = match self.target {
            Some(target) => (target - decode_seconds).max(0.0),
            None => {
                let usual = (self.extra * decode_seconds).max(UNNOTICED_SECONDS - self.most_decode(decode_rows));
                (shares(decode_rows, demand) * usual).min(usual.max(MAX_BURST_SECONDS))
            }
        };
        let rows = (allowed / self.level - fixed).max(LEAST_USE * fixed) / per_row;
        // The cast saturates.
        (rows.max(MIN_ROWS) as u32).min(self.ceiling).min(room)
    }

    /// After a step with forced tokens and no prompt rows: it teaches neither what decode steps take nor what prompt rows
    /// add, and it is a step without prompt rows all the same, after which there may be some again.
    pub(super) fn pass(&mut self) {
        self.mixed_in_a_row = 0;
    }

    /// Learns from an executed step.
    pub(super) fn observe(&mut self, step: &Step, elapsed: Duration) {
        if step.kv.iter().any(|op| matches!(op, KvOp::Copy { .. } | KvOp::Save { .. } | KvOp::Load { .. })) {
            // These take time that no row is to blame for.
            return;
        }
        let (decode, prompt) = shape(step);
        let seconds = elapsed.as_secs_f64();
        if decode == 0 {
            if prompt > 0 {
                self.added.observe(prompt.into(), seconds);
            }
            return;
        }
        if prompt == 0 {
            // After a long time without one, what was known may be of other contexts.
            let weight = if self.mixed_in_a_row >= PROBE_EVERY { 1.0 } else { NEW_WEIGHT };
            self.mixed_in_a_row = 0;
            self.drafted_in_a_row = 0;
            self.decode_seconds.entry(decode).and_modify(|old| *old += weight * (seconds - *old)).or_insert(seconds);
            return;
        }
        self.mixed_in_a_row += 1;
        if let Some(decode_seconds) = self.expected_decode(decode) {
            let added = (seconds - decode_seconds).max(0.0);
            if let Some((fixed, per_row)) = self.expected_added() {
                let off = added / (fixed + per_row * f64::from(prompt));
                self.level += NEW_WEIGHT * (off.clamp(0.5, 2.0) - self.level);
            }
            self.added.observe(prompt.into(), added);
            self.ceiling = self.ceiling.max(prompt.saturating_mul(2));
        }
    }

    /// Learns from an executed step whose rows decode or are drafts, one sequence after the other.
    pub(super) fn observe_drafts(&mut self, step: &Step, draft_rows: u32, elapsed: Duration) {
        self.drafted_in_a_row += 1;
        let sequences = count(step.rows.chunk_by(|a, b| a.seq == b.seq).count());
        if step.kv.iter().all(|op| matches!(op, KvOp::Truncate { .. }))
            && let Some(decode_seconds) = self.expected_decode(sequences)
        {
            self.drafted[batch(sequences)].observe(draft_rows.into(), (elapsed.as_secs_f64() - decode_seconds).max(0.0));
        }
    }

    /// Seconds that draft rows add to a step with so many sequences: fixed, and per row. `None` until some were measured.
    pub(super) fn draft_cost(&self, sequences: u32) -> Option<(f64, f64)> {
        self.drafted[batch(sequences)].fit(self.expected_decode(2).unwrap_or(f64::INFINITY))
    }

    /// Whether a step had better go without drafts, so that the time of a pure decode step is known.
    pub(super) fn wants_pure_decode(&self, decode_rows: u32) -> bool {
        self.expected_decode(decode_rows).is_none() || self.drafted_in_a_row >= PROBE_EVERY
    }

    /// Seconds until `rows` prompt rows of `demand` are computed beside `decode_rows`. `None` until enough was measured.
    pub(super) fn prompt_seconds(&self, rows: u64, decode_rows: u32, demand: Demand) -> Option<f64> {
        if rows == 0 {
            return Some(0.0);
        }
        let decode_seconds = if decode_rows == 0 { 0.0 } else { self.expected_decode(decode_rows)? };
        let (fixed, per_row) = if decode_rows == 0 { self.added.fit(0.0)? } else { self.expected_added()? };
        let level = if decode_rows == 0 { 1.0 } else { self.level };
        let per_step = whole_tiles(self.prompt_rows(decode_rows, demand)).max(1);
        // Far below 2⁵³.
        let (steps, rows) = (rows.div_ceil(per_step.into()) as f64, rows as f64);
        Some(steps * (decode_seconds + level * fixed) + level * rows * per_row)
    }

    /// What a step was expected to take, seconds, if it moved nothing. `None` until enough was measured.
    pub(super) fn expected(&self, step: &Step) -> Option<f64> {
        let (decode, prompt) = shape(step);
        if decode == 0 {
            return self.added.fit(0.0).map(|(_, per_row)| per_row * f64::from(prompt));
        }
        let seconds = self.expected_decode(decode)?;
        if prompt == 0 {
            return Some(seconds);
        }
        self.expected_added().map(|(fixed, per_row)| seconds + self.level * (fixed + per_row * f64::from(prompt)))
    }

    /// Of `rows` prompt rows beside others, those that are left if something else takes so many seconds.
    pub(super) fn rows_left(&self, rows: u32, seconds: f64) -> u32 {
        let Some((_, per_row)) = self.expected_added() else { return rows };
        // The casts saturate.
        rows.saturating_sub((seconds / (self.level * per_row)) as u32).max(rows.min(MIN_ROWS as u32))
    }

    /// Seconds of a step with `decode_rows` rows that decode and no others. `None` until one like it was measured.
    pub(super) fn decode_seconds(&self, decode_rows: u32) -> Option<f64> {
        self.expected_decode(decode_rows)
    }

    /// Too high rather than too low: the time of the next number of rows that was measured.
    fn most_decode(&self, rows: u32) -> f64 {
        let above = self.decode_seconds.range(rows..).next().or_else(|| self.decode_seconds.last_key_value());
        above.map_or(f64::INFINITY, |(_, seconds)| *seconds)
    }

    /// Fixed seconds and seconds a row that prompt rows add.
    fn expected_added(&self) -> Option<(f64, f64)> {
        // A graph with hardly any rows takes about as long whether they decode or not.
        self.added.fit(self.expected_decode(2).unwrap_or(f64::INFINITY))
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

/// Kinds of batches, by size: up to 256 sequences.
const BATCHES: usize = 9;

/// The kind of a batch of so many sequences, ≥ 1.
fn batch(sequences: u32) -> usize {
    (sequences.max(1).ilog2() as usize).min(BATCHES - 1)
}

/// The shares of the usual time that prompts of this demand may take: few while more sequences stream than wait, many while
/// more wait, since each of those waits for the steps of all the others.
fn shares(decode_rows: u32, demand: Demand) -> f64 {
    let others = f64::from(demand.sequences.saturating_sub(1));
    let crowd = 1.0 + others / f64::from(decode_rows);
    (crowd * crowd * if demand.short { SHORT_PROMPT_SHARES } else { 1.0 }).min(MOST_SHARES)
}

/// Decode rows and prompt rows of a step. A sequence with a single row that samples decodes.
pub(super) fn shape(step: &Step) -> (u32, u32) {
    step.rows.chunk_by(|a, b| a.seq == b.seq).fold((0, 0), |(decode, prompt), rows| match rows {
        [row] if row.sample => (decode + 1, prompt),
        _ => (decode, prompt + count(rows.len())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::runner::{Parked, Row, Slot};
    use crate::protocol::{SequenceId, Token};

    /// A step with that many decode rows and one prompt chunk.
    fn step(decode: u32, prompt: u32) -> Step {
        let row = |seq: u32, pos, sample| Row { seq: SequenceId(seq.into()), slot: Slot(seq), pos, token: Token(0), sample };
        let mut rows: Vec<Row> = (0..decode).map(|seq| row(seq, 5, true)).collect();
        rows.extend((0..prompt).map(|pos| row(999, pos, false)));
        Step { kv: Vec::new(), rows }
    }

    fn long(sequences: u32) -> Demand {
        Demand { sequences, short: false }
    }

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms / 1000.0)
    }

    /// A budget that has seen steps of `base` ms without prompt rows and so many mixed ones of `cost(rows)` ms more.
    fn learnt(ratio: f32, decode: u32, base: f64, steps: usize, cost: impl Fn(f64) -> f64) -> Budget {
        let mut budget = Budget::new(512, ratio);
        budget.observe(&step(decode, 0), ms(base));
        for _ in 0..steps {
            let rows = budget.prompt_rows(decode, long(1));
            let added = if rows > 0 { cost(f64::from(rows)) } else { 0.0 };
            budget.observe(&step(decode, rows), ms(base + added));
        }
        budget
    }

    #[test]
    fn without_decode_rows_a_step_is_filled_up() {
        assert_eq!(Budget::new(512, 3.0).prompt_rows(0, long(1)), 512);
    }

    #[test]
    fn a_step_without_decode_rows_takes_two_seconds_at_most_when_rows_are_slow() {
        let mut budget = Budget::new(512, 3.0);
        budget.observe(&step(0, 512), ms(51_200.0));

        assert_eq!(budget.prompt_rows(0, long(1)), 20);
    }

    #[test]
    fn a_step_that_copies_saves_or_loads_teaches_nothing() {
        let mut budget = Budget::new(512, 3.0);
        let copy = KvOp::Copy { from: Slot(0), to: Slot(1), len: 9 };
        let save = KvOp::Save { slot: Slot(0), to: Parked(0) };
        let load = KvOp::Load { from: Parked(0), slot: Slot(1), len: 9 };
        for op in [copy, save, load] {
            budget.observe(&Step { kv: vec![op], ..step(4, 0) }, ms(500.0));
        }

        assert_eq!(budget.expected_decode(4), None);
    }

    #[test]
    fn before_any_measurement_a_few_rows_are_allowed_and_then_a_decode_step_is_measured() {
        let mut budget = Budget::new(512, 3.0);
        assert_eq!(budget.prompt_rows(2, long(1)), 8);
        assert_eq!(Budget::new(5, 3.0).prompt_rows(2, long(1)), 3, "never above max_rows");

        budget.observe(&step(2, 8), ms(50.0));
        assert_eq!(budget.prompt_rows(2, long(1)), 0);

        budget.observe(&step(2, 0), ms(10.0));
        assert_eq!(budget.prompt_rows(2, long(1)), 8);
    }

    #[test]
    fn rows_converge_to_the_allowed_ratio_with_doubling_at_most() {
        let rows: Vec<u32> = (0..20).map(|steps| learnt(3.0, 4, 20.0, steps, |rows| 0.5 * rows).prompt_rows(4, long(1))).collect();

        // 20 ms may become 60 ms: 40 ms for rows of 0.5 ms.
        assert_eq!(rows[..4], [8, 16, 32, 64]);
        assert!(rows[5..].iter().all(|rows| (78..=80).contains(rows)), "{rows:?}");
    }

    #[test]
    fn a_target_in_seconds_bounds_the_step_whoever_waits() {
        for demand in [long(1), long(9), Demand { sequences: 9, short: true }] {
            let mut budget = Budget::new(512, 3.0);
            budget.set_target(0.05);
            for _ in 0..30 {
                let rows = budget.prompt_rows(4, demand);
                budget.observe(&step(4, rows), ms(20.0 + if rows > 0 { 5.0 + 0.5 * f64::from(rows) } else { 0.0 }));
            }

            let rows = budget.prompt_rows(4, demand);
            assert!((46..=52).contains(&rows), "25 ms are left for rows of 0.5 ms, got {rows}");
        }
    }

    #[test]
    fn prompts_get_on_even_where_the_target_cannot_be_held() {
        let mut budget = learnt(3.0, 4, 20.0, 30, |rows| 0.5 * rows);
        budget.set_target(0.001);

        assert!(budget.prompt_rows(4, long(1)) >= 4);
    }

    #[test]
    fn a_fixed_cost_of_mixing_is_learnt() {
        let rows = learnt(3.0, 4, 20.0, 60, |rows| 10.0 + 0.5 * rows).prompt_rows(4, long(1));

        assert!((56..=62).contains(&rows), "30 ms are left for rows of 0.5 ms, got {rows}");
    }

    #[test]
    fn prefill_alone_teaches_what_chunks_will_cost() {
        let mut budget = Budget::new(512, 3.0);
        budget.observe(&step(4, 0), ms(20.0));
        for rows in [100, 400] {
            budget.observe(&step(0, rows), ms(10.0 + 0.5 * f64::from(rows)));
        }
        budget.observe(&step(4, 40), ms(20.0 + 10.0 + 0.5 * 40.0));

        let rows = budget.prompt_rows(4, long(1));
        assert!((56..=62).contains(&rows), "30 ms are left for rows of 0.5 ms, got {rows}");
    }

    #[test]
    fn rows_that_grow_dearer_soon_become_fewer() {
        let mut budget = learnt(3.0, 4, 20.0, 30, |rows| 5.0 + 0.5 * rows);
        for _ in 0..20 {
            let rows = budget.prompt_rows(4, long(1));
            budget.observe(&step(4, rows), ms(20.0 + 10.0 + f64::from(rows)));
        }

        let rows = budget.prompt_rows(4, long(1));
        assert!((25..=33).contains(&rows), "40 ms for a fixed 10 ms and rows of 1 ms, got {rows}");
    }

    #[test]
    fn dear_rows_still_get_the_minimum() {
        let mut budget = Budget::new(512, 1.0);
        budget.observe(&step(4, 0), ms(20.0));
        budget.observe(&step(4, 8), ms(500.0));

        assert_eq!(budget.prompt_rows(4, long(1)), 4);
    }

    #[test]
    fn a_chunk_is_not_so_small_that_most_of_its_time_is_the_fixed_cost() {
        let mut budget = Budget::new(512, 1.5);
        budget.observe(&step(4, 0), ms(60.0));
        for rows in [8, 100] {
            budget.observe(&step(0, rows), ms(28.0 + f64::from(rows)));
        }
        budget.observe(&step(4, 20), ms(60.0 + 28.0 + 20.0));

        // 30 ms are allowed, 2 more than is fixed.
        assert!((13..=15).contains(&budget.prompt_rows(4, long(1))), "{}", budget.prompt_rows(4, long(1)));
    }

    #[test]
    fn a_step_that_nobody_notices_is_allowed_whatever_the_ratio() {
        let rows = learnt(2.0, 1, 5.0, 30, |rows| rows).prompt_rows(1, long(1));

        assert!((54..=55).contains(&rows), "60 ms in all, got {rows}");
    }

    #[test]
    fn more_waiting_sequences_get_more_rows_until_a_step_takes_a_quarter_of_a_second_more() {
        let mut budget = learnt(2.0, 4, 40.0, 30, |rows| 4.0 * rows);
        budget.observe(&step(4, 100), ms(440.0));

        assert_eq!([1, 2, 3, 9, 100].map(|sequences| budget.prompt_rows(4, long(sequences))), [10, 15, 22, 62, 62]);
        assert_eq!([1, 3].map(|sequences| budget.prompt_rows(4, Demand { sequences, short: true })), [20, 44]);
    }

    #[test]
    fn a_slow_machine_gives_a_prompt_its_share_though_that_takes_longer() {
        assert_eq!(learnt(2.0, 4, 400.0, 30, |rows| 40.0 * rows).prompt_rows(4, long(100)), 10);
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
                let rows = budget.prompt_rows(1, long(1));
                budget.observe(&step(1, rows), ms(5.0 + f64::from(rows)));
                rows == 0
            })
            .count();

        assert_eq!(zeros, 2);
    }
}
