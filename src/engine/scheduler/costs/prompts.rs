//! The cost of prompt rows, and the number of them that a step may carry beside rows that decode.
//!
//! Running streams wait for the whole step, so prompt rows stretch the gap between their tokens; and a prompt waits
//! for the streams' rows in each of its steps. The budget keeps the expected time of a step with prompt rows within
//! `prefill_step_ratio` times that of a step without, which bounds both. All bounds follow from the decode step of
//! the model at hand: seconds that suit a small model leave a large one no room for a chunk.
//!
//! The time that prompt rows may add grows with the number of sequences that wait for their prompts: otherwise a batch
//! would fill at the pace of its first stream. And it grows more slowly than the decode step where many sequences
//! stream, because all of them wait for one prompt. If a target in seconds is set, it is the bound instead, however
//! many sequences wait.
//!
//! Model: `time(decode, prompt) = decode.expected(decode) + level * (fixed + prompt * per_row)`. Mixing has a fixed
//! cost, that of one more graph in the step, which reads all weights once more. Smaller chunks pay this cost more
//! often for the same prompt and would delay the streams longer, if more evenly. So a step has at least so many
//! prompt rows that they are computed at 85 % of the largest rate and fill a tile of the kernels, as long as the time
//! is within the bound for many that wait. The shape (`fixed`, `per_row`) is learnt slowly and the level quickly:
//! rows late in a long prompt cost more than early ones.

use super::{
    decode::{DecodeCost, NEW_WEIGHT, PROBE_EVERY},
    line::CostLine,
};

/// Smallest number of prompt rows in a step with decode rows, whatever the estimates say, so that prefill always
/// progresses.
const MIN_ROWS: f64 = 4.0;
/// Smallest share of the largest number of prompt rows a second, 0–1: a chunk at which they are computed slower wastes
/// the time of everybody.
const LEAST_RATE: f64 = 0.85;
/// The same where a target in seconds is set: the operator wants short steps and not a high rate.
const LEAST_RATE_IN_TARGET: f64 = 1.0 / 3.0;
/// Number of successive mixed steps after which one goes without prompt rows if no step with this number of decode
/// rows was measured yet. The estimate from smaller numbers is too low, and so is the budget.
const PROBE_NEW_AFTER: u32 = 8;
/// Number of prompt rows beside decode rows before anything was measured.
const START_ROWS: u32 = 8;
/// Largest number of decode rows beside which prompt rows get the full multiple of a decode step. Beside more streams
/// they get the same share in proportion to this number: each gap delays more streams for the same prompt, and a batch
/// that is full already gains little by one sequence more.
const FEW_STREAMS: f64 = 4.0;
/// Longest step that is never too long, seconds: sixteen tokens a second are twice the speed of reading, and prompts
/// in smaller chunks take up to twice as long.
const UNNOTICED_SECONDS: f64 = 0.06;
/// Largest time that prompt rows add because many sequences wait, in multiples of a decode step, unless the usual
/// share is more. Prompts then have nineteen twentieths of the machine, as long as a step takes no more than
/// [`MAX_STEP_SECONDS`].
const MAX_BURST_STEPS: f64 = 19.0;
/// The same in seconds, for models whose decode steps are short.
const MAX_BURST_SECONDS: f64 = 0.25;
/// Longest time of prompt rows in a step, seconds, approximately, unless a decode step takes longer: arrivals and
/// cancellations wait for its end.
const MAX_STEP_SECONDS: f64 = 2.0;

/// See the module.
#[derive(Debug)]
pub(super) struct PromptBudget {
    max_rows: u32,
    /// Number of rows that kernels compute together, ≥ 1.
    tile: u32,
    /// The time that prompt rows may add, as a share of the time of a decode step.
    extra: f64,
    /// Longest time of a step with prompt rows, seconds, if the operator set it (`--target-itl-ms`).
    target: Option<f64>,
    /// The time that prompt rows added to steps.
    added: CostLine,
    /// The time added in recent mixed steps in proportion to the estimate `added`; 1 if the estimate is exact.
    level: f64,
    /// Largest number of prompt rows beside decode rows: twice the largest number ever measured, because estimates are
    /// not trusted far from the measurements.
    ceiling: u32,
    /// Number of steps with decode and prompt rows since the last pure decode step.
    mixed_in_a_row: u32,
}

impl PromptBudget {
    pub(super) fn new(max_rows: u32, tile: u32, prefill_step_ratio: f32) -> Self {
        Self {
            max_rows,
            tile,
            extra: f64::from(prefill_step_ratio - 1.0).max(0.0),
            target: None,
            added: CostLine::default(),
            level: 1.0,
            ceiling: START_ROWS,
            mixed_in_a_row: 0,
        }
    }

    /// See `Costs::set_target`.
    pub(super) fn set_target(&mut self, target_seconds: f64) {
        self.target = Some(target_seconds);
    }

    /// Number of prompt rows that may join `decode_rows` in a step while `waiting` sequences, ≥ 1, would use some. It
    /// is 0 now and then, for one step.
    pub(super) fn rows(&self, decode_rows: u32, waiting: u32, decode: &DecodeCost) -> u32 {
        let probe_after = if decode.is_empty() {
            1
        } else if decode.knows(decode_rows) {
            PROBE_EVERY
        } else {
            PROBE_NEW_AFTER
        };
        let probes = decode_rows > 0 && self.mixed_in_a_row >= probe_after;
        if probes { 0 } else { self.usual_rows(decode_rows, waiting, decode) }
    }

    /// As [`Self::rows`], for every step but those without prompt rows.
    fn usual_rows(&self, decode_rows: u32, waiting: u32, decode: &DecodeCost) -> u32 {
        let room = self.max_rows.saturating_sub(decode_rows);
        if decode_rows == 0 {
            return self.added.fit(0.0).map_or(room, |(_, per_row)| room.min((MAX_STEP_SECONDS / per_row).max(MIN_ROWS) as u32));
        }
        let (Some(decode_seconds), Some((fixed, per_row))) = (decode.expected(decode_rows), self.added_beside(decode)) else {
            return START_ROWS.min(room);
        };
        // `n` rows have the rate n / (fixed + n * per_row).
        let seconds_at = |rate: f64| rate / (1.0 - rate) * fixed;
        let (allowed, least) = match self.target {
            Some(target) => ((target - decode_seconds).max(0.0), seconds_at(LEAST_RATE_IN_TARGET)),
            None => {
                let usual = self.extra * decode_seconds * (FEW_STREAMS / f64::from(decode_rows)).min(1.0);
                let usual = usual.min(MAX_STEP_SECONDS.max(decode_seconds));
                let usual = usual.max(UNNOTICED_SECONDS - decode.at_most(decode_rows));
                let burst = (MAX_BURST_STEPS * decode_seconds).clamp(MAX_BURST_SECONDS, MAX_STEP_SECONDS).max(usual);
                let whole_tile = f64::from(self.tile) * per_row;
                ((shares(decode_rows, waiting) * usual).min(burst), seconds_at(LEAST_RATE).max(whole_tile).min(burst))
            }
        };
        let rows = (allowed / self.level - fixed).max(least) / per_row;
        // The division may leave a whole tile just below itself. The cast saturates.
        ((rows + 1e-3).max(MIN_ROWS) as u32).min(self.ceiling).min(room)
    }

    /// Time until `rows` prompt rows of `waiting` sequences, ≥ 1, are computed beside `decode_rows`, seconds. `None`
    /// until enough was measured.
    pub(super) fn seconds(&self, rows: u64, decode_rows: u32, waiting: u32, decode: &DecodeCost) -> Option<f64> {
        if rows == 0 {
            return Some(0.0);
        }
        let decode_seconds = if decode_rows == 0 { 0.0 } else { decode.expected(decode_rows)? };
        let (fixed, per_row) = if decode_rows == 0 { self.added.fit(0.0)? } else { self.added_beside(decode)? };
        let level = if decode_rows == 0 { 1.0 } else { self.level };
        let per_step = whole_tiles(self.usual_rows(decode_rows, waiting, decode), self.tile).max(1);
        // Far below 2⁵³.
        let (steps, rows) = (rows.div_ceil(per_step.into()) as f64, rows as f64);
        Some(steps * (decode_seconds + level * fixed) + level * rows * per_row)
    }

    /// The time of a step with these numbers of rows, seconds. `None` until enough was measured.
    pub(super) fn step_seconds(&self, decode_rows: u32, prompt_rows: u32, decode: &DecodeCost) -> Option<f64> {
        if decode_rows == 0 {
            return self.added.fit(0.0).map(|(_, per_row)| per_row * f64::from(prompt_rows));
        }
        let seconds = decode.expected(decode_rows)?;
        if prompt_rows == 0 {
            return Some(seconds);
        }
        self.added_beside(decode).map(|(fixed, per_row)| seconds + self.level * (fixed + per_row * f64::from(prompt_rows)))
    }

    /// The number of prompt rows, of `rows` beside others, that are left if something else takes `seconds`.
    pub(super) fn rows_left(&self, rows: u32, seconds: f64, decode: &DecodeCost) -> u32 {
        let Some((_, per_row)) = self.added_beside(decode) else { return rows };
        // The casts saturate.
        rows.saturating_sub((seconds / (self.level * per_row)) as u32).max(rows.min(MIN_ROWS as u32))
    }

    /// True if it is time for a step without prompt rows.
    pub(super) fn wants_pure_decode(&self) -> bool {
        self.mixed_in_a_row >= PROBE_EVERY
    }

    /// Notes that a step without prompt rows was executed: the next one may have some again.
    pub(super) fn on_step_without_prompts(&mut self) {
        self.mixed_in_a_row = 0;
    }

    /// Learns that a step with only `prompt_rows` rows took `seconds`.
    pub(super) fn observe_alone(&mut self, prompt_rows: u32, seconds: f64) {
        self.added.observe(prompt_rows.into(), seconds);
    }

    /// Learns that a step with decode and prompt rows took `seconds`.
    pub(super) fn observe_mixed(&mut self, decode_rows: u32, prompt_rows: u32, seconds: f64, decode: &DecodeCost) {
        self.mixed_in_a_row += 1;
        let Some(decode_seconds) = decode.expected(decode_rows) else { return };
        let added = (seconds - decode_seconds).max(0.0);
        if let Some((fixed, per_row)) = self.added_beside(decode) {
            let off = added / (fixed + per_row * f64::from(prompt_rows));
            self.level += NEW_WEIGHT * (off.clamp(0.5, 2.0) - self.level);
        }
        self.added.observe(prompt_rows.into(), added);
        self.ceiling = self.ceiling.max(prompt_rows.saturating_mul(2));
    }

    /// The time that prompt rows add to decode rows, seconds: fixed, and per row.
    fn added_beside(&self, decode: &DecodeCost) -> Option<(f64, f64)> {
        self.added.fit(decode.max_fixed())
    }
}

/// The number of shares of the usual time that prompts of `waiting` sequences may take. It is small while more
/// sequences stream than wait, and large while more wait, since each of those waits for the steps of all the others.
fn shares(decode_rows: u32, waiting: u32) -> f64 {
    let crowd = 1.0 + f64::from(waiting.saturating_sub(1)) / f64::from(decode_rows);
    crowd * crowd
}

/// The largest number of rows up to `rows` that fills whole tiles of `tile` rows, ≥ 1; `rows` itself if it is less
/// than one tile.
pub(in crate::engine::scheduler) fn whole_tiles(rows: u32, tile: u32) -> u32 {
    if rows < tile { rows } else { rows / tile * tile }
}
