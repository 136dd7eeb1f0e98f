//! Tables for a person to read: the time of attention, of chunks of prompts and of decode steps, with a model on this
//! machine.
//!
//! Takes seconds to minutes, and decides nothing. Flash attention is not chosen by it, because its logits depend on
//! the number of threads and on whether other sequences decode in the same step.

use super::{
    calibration::{FLASH_TILE, row_seconds},
    loaded::GeneratingModel,
    plan::CELLS_PER_BLOCK,
    raw::attention::{AttentionGraph, AttentionSize},
    runner::LlamaRunner,
};
use crate::{
    engine::runner::{KvOp, ModelRunner, Row, Slot, Step},
    protocol::{SequenceId, Token},
};
use std::time::{Duration, Instant};

/// Sizes at which both ways are compared: sequences, rows of each, positions of each. They are those of streams with
/// short and long histories, and of chunks of prompts in whole tiles.
const CASES: [(u32, u32, u32); 6] = [(1, 1, 150), (4, 1, 150), (4, 1, 900), (1, 1, 2000), (1, FLASH_TILE, 900), (1, 128, 400)];
/// Largest number of cells of a sequence. More are as far apart for the caches of a processor, and take address space.
const MOST_ALLOCATED: u32 = 2048;
/// Largest time of one case with both ways of attention, unless two runs of each take longer.
const CASE_TIME: Duration = Duration::from_millis(150);
/// Largest number of runs of a case. The shortest counts: nothing makes a run faster than it is.
const MOST_RUNS: u32 = 200;
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
        let attention = self.head.map_or_else(Vec::new, |head| {
            attention_times(&sizes(head, plan.max_model_len), plan.threads).unwrap_or_else(|| {
                tracing::warn!("attention cannot be measured: ggml has no memory for it, or failed");
                Vec::new()
            })
        });
        let token = self.first_token();
        let chunks = CHUNKS.iter().filter_map(|rows| Some((*rows, row_seconds(runner, *rows, token)?))).collect();
        let decode = SEQUENCES.iter().filter_map(|count| Some((*count, decode_seconds(runner, *count, token)?))).collect();
        Measurements { attention, chunks, decode }
    }
}

/// The sizes to compare, with the heads of `head`, where contexts have up to `max_len` positions.
fn sizes(head: AttentionSize, max_len: u32) -> Vec<AttentionSize> {
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
fn attention_times(sizes: &[AttentionSize], threads: u32) -> Option<Vec<AttentionMeasurement>> {
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
            let [plain, flash] = shortest.map(|time| time.as_secs_f64().max(1e-9));
            let AttentionSize { sequences, rows, positions, .. } = *size;
            Some(AttentionMeasurement { sequences, rows, positions, plain, flash })
        })
        .collect()
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
    fn both_ways_of_attention_are_measured_at_each_size() {
        let times = attention_times(&sizes(HEAD, 40), 1).unwrap();

        assert_eq!(times.len(), 4);
        assert!(times.iter().all(|times| times.plain > 0.0 && times.flash > 0.0 && times.positions == 40), "{times:?}");
    }
}
