//! Measures what depends on the processor: whether chunks of whole tiles are faster, and both ways of attention.
//!
//! The times are kept in the user's cache folder (`notes`), so that only the first start of a model on a machine
//! measures. The tile is chosen by them. The way of attention is not: people are told how fast flash attention is here
//! and choose it by an option, because its logits depend on the number of threads, which changes while a server runs.
//! Measures nothing for a GPU.

use super::{
    cpu,
    notes::TimeNotes,
    plan::{Attention, CELLS_PER_BLOCK, Given, Plan, UNMEASURED_TILE},
    raw::{
        self,
        attention::{AttentionGraph, AttentionSize},
    },
};
use crate::{
    engine::runner::{KvOp, ModelRunner, Row, Slot, Step},
    protocol::{CalibrationInfo, EngineOptions, FlashAttention, KvType, LoadError, SequenceId, Token},
};
use std::time::{Duration, Instant};

/// Sizes at which both ways are compared: sequences, rows of each, positions of each. They are those of streams with
/// short and long histories, and of chunks of prompts in whole tiles.
const CASES: [(u32, u32, u32); 6] = [(1, 1, 150), (4, 1, 150), (4, 1, 900), (1, 1, 2000), (1, FLASH_TILE, 900), (1, 128, 400)];
/// Least number of rows of one sequence that flash attention on a CPU computes together (`GGML_FA_TILE_Q` in ggml's
/// `ggml-cpu/common.h`). With fewer it takes one row at a time: 32 rows take twice as long as with plain attention.
const FLASH_TILE: u32 = 64;
/// Largest number of cells of a sequence. More are as far apart for the caches of a processor, and take address space.
const MOST_ALLOCATED: u32 = 2048;
/// Largest time of one case with both ways of attention, unless two runs of each take longer.
const CASE_TIME: Duration = Duration::from_millis(150);
/// Largest number of runs of a case. The shortest counts: nothing makes a run faster than it is.
const MOST_RUNS: u32 = 200;
/// Rows that some kernels compute together: those for AMX take two tiles of 16 (`TILE_M` in ggml's `amx/mmq.cpp`).
const TILE: u32 = UNMEASURED_TILE;
/// A number of rows that takes as long as 64 where kernels compute whole tiles, and five quarters of 32 elsewhere.
const CUT_ROWS: u32 = 40;
/// Number of times that 40 rows must take longer than 32 to be a sign of tiles: halfway between 1.25 and 2.
const TILED: f64 = 1.6;
/// Number of measurements of both numbers of rows, of which the shortest counts, unless they take too long.
const TURNS: u32 = 3;
/// Largest time of the measurement with the model, approximately; more is not worth what it finds.
const MODEL_SECONDS: f64 = 2.0;
/// Approximate time of 72 rows in two steps, in times of one row: rows that are computed together read the weights
/// once.
const MODEL_ROWS: f64 = 16.0;

/// What is measured of a model on this machine, and what was found.
pub(super) struct Calibration {
    /// The sizes of an attention of the model; `None` if that is of no usual kind.
    pub(super) head: Option<AttentionSize>,
    /// Earlier measurements; `None` if nothing is to be measured.
    notes: Option<TimeNotes>,
    /// The speed of flash attention as a multiple of plain attention's, the geometric mean over all sizes, if it was
    /// measured.
    flash_gain: Option<f64>,
}

impl Calibration {
    /// Nothing measured yet; nothing ever, unless `measures`.
    pub(super) fn new(head: Option<AttentionSize>, measures: bool) -> Self {
        let notes = measures.then(|| TimeNotes::of_user(&cpu::description(&raw::system_info())));
        Self { head, notes, flash_gain: None }
    }

    /// Compares both ways of attention on the CPU where `options` leave the choice open.
    ///
    /// # Errors
    /// Those of [`Plan::new`].
    pub(super) fn compare_attention(&mut self, options: &EngineOptions, given: Given) -> Result<(), LoadError> {
        if let (Some(notes), Some(head), FlashAttention::Auto) = (&self.notes, self.head, options.flash_attn) {
            let plan = Plan::new(options, given)?;
            self.flash_gain = flash_gain(notes, head, plan.max_model_len, plan.threads);
        }
        Ok(())
    }

    /// Number of rows that the processor computes together with this model and attention; `None` if nothing is to be
    /// measured. `model` names the model's shape. Needs an empty runner and leaves it empty.
    pub(super) fn tile(&self, runner: &mut dyn ModelRunner, plan: &Plan, model: &str, token: Token) -> Option<u32> {
        let notes = self.notes.as_ref()?;
        let is_tiled = plan.attention == Attention::Blocks && plan.kv_type == KvType::F16;
        if is_tiled { Some(FLASH_TILE) } else { tile(notes, runner, model, token) }
    }

    /// What was found, for people; `None` if nothing was to be measured.
    pub(super) fn info(&self, tile: Option<u32>) -> Option<CalibrationInfo> {
        self.notes.as_ref()?;
        // The cast saturates.
        let flash_percent = self.flash_gain.map(|gain| (100.0 * gain).round() as u32);
        Some(CalibrationInfo { flash_percent, tile })
    }
}

/// The seconds of one size with both ways of attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct AttentionTimes {
    pub(super) size: AttentionSize,
    pub(super) plain: f64,
    pub(super) blocks: f64,
}

/// The speed of flash attention as a multiple of plain attention's for a model whose heads have the sizes in `head`
/// (its sequences, rows and cells are ignored), with contexts of up to `max_len` positions. `None` if ggml failed.
fn flash_gain(notes: &TimeNotes, head: AttentionSize, max_len: u32, threads: u32) -> Option<f64> {
    let sizes = sizes(head, max_len);
    let key = format!("attention {head:?} {max_len} {threads} threads");
    let count = 2 * sizes.len();
    let times = notes.get(&key).filter(|seconds| seconds.len() == count).or_else(|| {
        let times = attention_times(&sizes, threads)?;
        let seconds: Vec<f64> = times.iter().flat_map(|times| [times.plain, times.blocks]).collect();
        notes.put(&key, &seconds);
        Some(seconds)
    })?;
    let ratios = times.chunks_exact(2).map(|pair| pair[0] / pair[1]);
    Some((ratios.map(f64::ln).sum::<f64>() / sizes.len() as f64).exp())
}

/// The sizes to compare, with the heads of `head`, where contexts have up to `max_len` positions.
pub(super) fn sizes(head: AttentionSize, max_len: u32) -> Vec<AttentionSize> {
    let max_len = max_len.max(1);
    let allocated = max_len.min(MOST_ALLOCATED).next_multiple_of(CELLS_PER_BLOCK);
    let sized = |sequences, rows, positions: u32| {
        let positions = positions.min(max_len);
        AttentionSize { sequences, rows, positions, cells: positions.next_multiple_of(CELLS_PER_BLOCK), allocated, ..head }
    };
    let cases = CASES.map(|(sequences, rows, positions)| sized(sequences, rows, positions));
    cases.into_iter().filter(|size| size.rows <= max_len).collect()
}

/// Measures both ways of attention at these sizes. `None` if ggml failed.
pub(super) fn attention_times(sizes: &[AttentionSize], threads: u32) -> Option<Vec<AttentionTimes>> {
    sizes
        .iter()
        .map(|size| {
            let mut graphs = [AttentionGraph::new(*size, false, threads)?, AttentionGraph::new(*size, true, threads)?];
            let mut shortest = [Duration::MAX; 2];
            let begun = Instant::now();
            // In turns, so that another program's use of the cores meets both.
            for run in 0..=MOST_RUNS {
                for (graph, shortest) in graphs.iter_mut().zip(&mut shortest) {
                    let elapsed = graph.run()?;
                    // The first run maps the memory.
                    *shortest = if run == 0 { *shortest } else { elapsed.min(*shortest) };
                }
                if run > 1 && begun.elapsed() > CASE_TIME {
                    break;
                }
            }
            let [plain, blocks] = shortest.map(|time| time.as_secs_f64().max(1e-9));
            Some(AttentionTimes { size: *size, plain, blocks })
        })
        .collect()
}

/// [`Calibration::tile`] from the times of steps; `None` if they would take too long, or the runner has no room for
/// them.
fn tile(notes: &TimeNotes, runner: &mut dyn ModelRunner, model: &str, token: Token) -> Option<u32> {
    let key = format!("rows {model}");
    let measured = notes.get(&key).filter(|seconds| seconds.len() == 2).or_else(|| {
        if MODEL_ROWS * row_seconds(runner, 1, token)? > MODEL_SECONDS {
            return None;
        }
        let mut seconds = [f64::INFINITY; 2];
        // In turns, so that another program's use of the cores meets both.
        for _ in 0..TURNS {
            for (seconds, rows) in seconds.iter_mut().zip([TILE, CUT_ROWS]) {
                *seconds = seconds.min(row_seconds(runner, rows, token)?);
            }
            if seconds.iter().sum::<f64>() > MODEL_SECONDS / 4.0 {
                break;
            }
        }
        notes.put(&key, &seconds);
        Some(seconds.to_vec())
    });
    measured.map(|seconds| tile_by([seconds[0], seconds[1]]))
}

/// The tile by the times of 32 and of 40 rows.
fn tile_by([whole, cut]: [f64; 2]) -> u32 {
    if cut < TILED * whole { 1 } else { TILE }
}

/// Seconds of a step with `rows` rows of one prompt: the shorter of two, unless one takes too long. `None` if the
/// runner has no room for the rows, or failed.
pub(super) fn row_seconds(runner: &mut dyn ModelRunner, rows: u32, token: Token) -> Option<f64> {
    let limits = runner.limits();
    if rows > limits.max_rows.min(limits.max_model_len) {
        return None;
    }
    let mut once = || {
        let rows = (0..rows).map(|pos| Row { seq: SequenceId(0), slot: Slot(0), pos, token, sample: pos + 1 == rows }).collect();
        let begun = Instant::now();
        let computed = runner.execute(&Step { kv: Vec::new(), rows });
        let elapsed = begun.elapsed();
        let empty = Step { kv: vec![KvOp::Truncate { slot: Slot(0), keep: 0 }], rows: Vec::new() };
        runner.execute(&empty).and(computed).ok().map(|()| elapsed)
    };
    let first = once()?;
    let shortest = if first.as_secs_f64() > MODEL_SECONDS / 8.0 { first } else { first.min(once()?) };
    Some(shortest.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: AttentionSize = AttentionSize {
        heads: 4,
        kv_heads: 2,
        key: 64,
        value: 64,
        bf16: false,
        sequences: 1,
        rows: 1,
        positions: 1,
        cells: 256,
        allocated: 256,
    };

    #[test]
    fn sizes_to_compare_fit_into_the_context() {
        assert!(sizes(HEAD, 32_768).iter().any(|size| size.positions == 2000));
        let short: Vec<u32> = sizes(HEAD, 40).iter().map(|size| size.cells.max(size.positions)).collect();
        assert_eq!(short, [256; 4], "chunks of 64 rows are longer than the context");
    }

    #[test]
    fn attention_is_compared_once_and_then_taken_from_the_notes() {
        let folder = tempfile::tempdir().unwrap();
        let notes = TimeNotes::in_folder(folder.path(), "machine");
        let measured = || flash_gain(&notes, HEAD, 300, 1).unwrap();

        let first = measured();
        assert!(first.is_finite() && first > 0.0);
        assert!((measured() / first - 1.0).abs() < 1e-9);

        let key = format!("attention {HEAD:?} 300 1 threads");
        let count = notes.get(&key).unwrap().len();
        notes.put(&key, &[1.0, 0.5].repeat(count / 2));
        assert!((measured() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_tile_is_assumed_where_forty_rows_take_far_longer_than_thirty_two() {
        let folder = tempfile::tempdir().unwrap();
        let notes = TimeNotes::in_folder(folder.path(), "machine");
        for (cut, expected) in [(1.25, 1), (1.9, 32)] {
            notes.put("rows m", &[1.0, cut]);
            assert_eq!(notes.get("rows m").map(|seconds| tile_by([seconds[0], seconds[1]])), Some(expected), "{cut}");
        }
    }
}
