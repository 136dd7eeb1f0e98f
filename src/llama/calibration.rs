//! Measures whether this processor computes rows in large tiles, with the model that is loaded.
//!
//! The times are kept in the user's cache folder (`notes`), so that only the first start of a model on a machine
//! measures. All other costs are learnt from the steps of requests (`engine::scheduler::costs`).

use super::{notes::TimeNotes, plan::UNMEASURED_TILE};
use crate::{
    engine::runner::{KvOp, ModelRunner, Row, Slot, Step},
    protocol::{SequenceId, Token},
};
use std::time::Instant;

/// Least number of rows of one sequence that flash attention on a CPU computes together over f16 cells
/// (`GGML_FA_TILE_Q` in ggml's `ggml-cpu/common.h`). With fewer it takes one row at a time: 32 rows take twice as long
/// as with plain attention.
pub(super) const FLASH_TILE: u32 = 64;
/// Rows that some kernels compute together: those for AMX take two tiles of 16 (`TILE_M` in ggml's `amx/mmq.cpp`).
const TILE: u32 = UNMEASURED_TILE;
/// Rows that other kernels compute together: those for AVX2 and AVX-512 take 16 (`ggml_gemm_q4_0_8x8_q8_0` in ggml's
/// `ggml-cpu/arch/x86/repack.cpp`), and the rest of a chunk by smaller and slower ones. Where kernels take fewer, it
/// costs at most that chunks have up to 15 rows less.
const SMALL_TILE: u32 = 16;
/// A number of rows that takes as long as 64 where kernels compute tiles of 32, and five quarters of 32 elsewhere.
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

/// Number of rows that the processor computes together: chunks that are cut should have a multiple of it. `None` if
/// the measurement would take too long, or the runner has no room for the rows. `model` names everything on which the
/// time of rows depends, apart from the machine. Needs an empty runner and leaves it empty.
pub(super) fn tile(notes: &TimeNotes, runner: &mut dyn ModelRunner, model: &str, token: Token) -> Option<u32> {
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
    if cut < TILED * whole { SMALL_TILE } else { TILE }
}

/// Seconds of a step with `rows` rows of one prompt: the shorter of two, unless one takes too long. `None` if the
/// runner has no room for the rows, or failed, which is logged. Needs an empty runner and leaves it empty.
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
        match runner.execute(&empty).and(computed) {
            Ok(()) => Some(elapsed),
            Err(error) => {
                tracing::warn!(%error, "a step that was to be measured failed");
                None
            }
        }
    };
    let first = once()?;
    let shortest = if first.as_secs_f64() > MODEL_SECONDS / 8.0 { first } else { first.min(once()?) };
    Some(shortest.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::runner::{Limits, StepError, SwapLimits};

    /// A runner that nobody may use.
    struct Untouched;

    impl ModelRunner for Untouched {
        fn limits(&self) -> Limits {
            Limits {
                slots: 1,
                max_rows: 39,
                max_model_len: 100,
                kv_cells: 100,
                can_truncate: true,
                windowed: false,
                consecutive_slots: false,
                tile: 32,
                vocabulary_size: 10,
                swap: SwapLimits::default(),
            }
        }

        fn execute(&mut self, step: &Step) -> Result<(), StepError> {
            panic!("{step:?}")
        }

        fn logits(&self, _: usize) -> Option<&[f32]> {
            None
        }
    }

    #[test]
    fn a_large_tile_is_assumed_where_forty_rows_take_far_longer_than_thirty_two() {
        assert_eq!([1.0, 1.25, 1.59, 1.61, 2.0].map(|cut| tile_by([1.0, cut])), [16, 16, 16, 32, 32]);
    }

    #[test]
    fn times_that_were_kept_are_not_measured_again() {
        let folder = tempfile::tempdir().unwrap();
        let notes = TimeNotes::in_folder(folder.path(), "machine");
        notes.put("rows m", &[1.0, 1.2]);

        assert_eq!(tile(&notes, &mut Untouched, "m", Token(0)), Some(SMALL_TILE));
    }

    #[test]
    fn more_rows_than_a_step_has_room_for_are_not_tried() {
        assert_eq!(row_seconds(&mut Untouched, 40, Token(0)), None);
    }
}
