//! All that is measured of a model on this machine, for a person to read: attention, chunks of prompts, decode steps.
//!
//! Takes seconds to minutes. A start measures the part of it that it needs (`calibration`).

use super::{
    calibration::{attention_times, row_seconds, sizes},
    loaded::GeneratingModel,
    runner::LlamaRunner,
};
use crate::{
    engine::runner::{KvOp, ModelRunner, Row, Slot, Step},
    protocol::{SequenceId, Token},
};
use std::time::Instant;

/// Numbers of rows of one prompt that are measured.
const CHUNKS: [u32; 13] = [1, 2, 4, 8, 16, 24, 32, 33, 40, 48, 64, 128, 256];
/// Numbers of sequences of decode steps that are measured.
const SEQUENCES: [u32; 6] = [1, 2, 4, 8, 16, 32];
/// Number of decode steps of each kind; the shortest counts.
const STEPS: u32 = 8;

/// See the module. Times are the shortest of several, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurements {
    /// Attention at several sizes; empty on a GPU, with quantized cells, or if the model has no attention of the
    /// usual kind.
    pub attention: Vec<AttentionMeasurement>,
    /// Number of rows of one prompt in a step, and the time of the step.
    pub chunks: Vec<(u32, f64)>,
    /// Number of sequences in a decode step, one row each, and the time of the step.
    pub decode: Vec<(u32, f64)>,
}

/// The time of attention in two layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionMeasurement {
    /// Number of sequences.
    pub sequences: u32,
    /// Number of rows of each.
    pub rows: u32,
    /// Number of positions of each.
    pub positions: u32,
    /// Seconds with a matrix of scores.
    pub plain: f64,
    /// Seconds in blocks (flash attention).
    pub flash: f64,
}

impl GeneratingModel {
    /// Measures the model with its options. Needs an empty `runner` of it and leaves it empty.
    #[must_use]
    pub fn measurements(&self, runner: &mut LlamaRunner<'_>) -> Measurements {
        let plan = &self.file.plan;
        let head = self.calibration.head.filter(|_| !self.file.on_gpu);
        let times = head.and_then(|head| attention_times(&sizes(head, plan.max_model_len), plan.threads)).unwrap_or_default();
        let attention = times.into_iter().map(|times| AttentionMeasurement {
            sequences: times.size.sequences,
            rows: times.size.rows,
            positions: times.size.positions,
            plain: times.plain,
            flash: times.blocks,
        });
        let attention = attention.collect();
        let token = self.first_token();
        let chunks = CHUNKS.iter().filter_map(|rows| Some((*rows, row_seconds(runner, *rows, token)?))).collect();
        let decode = SEQUENCES.iter().filter_map(|count| Some((*count, decode_seconds(runner, *count, token)?))).collect();
        Measurements { attention, chunks, decode }
    }
}

/// Seconds of a decode step of `sequences` sequences at their first positions. `None` if the runner has no room for
/// them, or failed. Needs an empty runner and leaves it empty.
fn decode_seconds(runner: &mut dyn ModelRunner, sequences: u32, token: Token) -> Option<f64> {
    let limits = runner.limits();
    if sequences > limits.slots || STEPS > limits.max_model_len || u64::from(sequences * STEPS) > u64::from(limits.kv_cells) {
        return None;
    }
    let slots = || (0..sequences).map(Slot);
    let mut shortest = f64::INFINITY;
    for pos in 0..STEPS {
        let rows = slots().map(|slot| Row { seq: SequenceId(slot.0.into()), slot, pos, token, sample: true }).collect();
        let begun = Instant::now();
        runner.execute(&Step { kv: Vec::new(), rows }).ok()?;
        shortest = shortest.min(begun.elapsed().as_secs_f64());
    }
    let kv = slots().map(|slot| KvOp::Truncate { slot, keep: 0 }).collect();
    runner.execute(&Step { kv, rows: Vec::new() }).ok().map(|()| shortest)
}
