//! Measures the memory that states and cells of a model take, by saving small states. That is right for every cache
//! that llama.cpp has; a formula from layers and heads is not.

use super::{
    backend::backend_error,
    context::context_params,
    copies::StateSizes,
    log,
    plan::{Plan, PlannedWindow},
    runner::LlamaRunner,
};
use crate::{
    engine::runner::{KvOp, ModelRunner, Row, Slot, Step},
    protocol::{LoadError, SequenceId, Token},
};
use llama_cpp_2::{llama_backend::LlamaBackend, model::LlamaModel};

/// Bytes of a cell's position, number of sequences and sequence id in a saved state
/// (`llama_kv_cache::state_write_meta`).
const CELL_HEADER_BYTES: usize = 12;

/// Measures a slot's saved state with one position and with two. Needs an empty `runner` and leaves it empty.
pub(super) fn state_sizes(runner: &mut LlamaRunner<'_>, token: Token) -> Option<StateSizes> {
    let has_two = runner.limits().max_model_len > 1;
    let mut sizes_with = |pos| {
        let row = Row { seq: SequenceId(0), slot: Slot(0), pos, token, sample: true };
        runner.execute(&Step { kv: Vec::new(), rows: vec![row] }).ok().map(|()| runner.state_sizes_of_slot_0())
    };
    let (first, first_sliding) = sizes_with(0)?;
    let (two, two_sliding) = if has_two { sizes_with(1)? } else { (first, first_sliding) };
    let empty = Step { kv: vec![KvOp::Truncate { slot: Slot(0), keep: 0 }], rows: Vec::new() };
    runner.execute(&empty).ok()?;
    let (next, sliding) = (two.saturating_sub(first), two_sliding.saturating_sub(first_sliding));
    // A cache without window layers reports its whole size as the window's part; that is ignored.
    let window = runner.window().filter(|_| sliding < next);
    Some(match window {
        Some(window) => StateSizes { first, next, sliding, window },
        None => StateSizes { first, next, sliding: 0, window: u32::MAX },
    })
}

/// Measures the sliding window of a model in which only some layers have one, in a small context of its own. The caller
/// holds the lock of model loading.
///
/// # Errors
/// `Backend` if there is not enough memory for the small context.
pub(super) fn window(model: &LlamaModel, backend: &LlamaBackend, plan: &Plan, token: Token) -> Result<Option<PlannedWindow>, LoadError> {
    let small = Plan { slots: 1, max_model_len: 2, max_rows: 2, rows_per_graph: 2, kv_cells: 256, ..*plan };
    drop(log::take_complaints());
    let context = model.new_context(backend, context_params(&small)).map_err(|error| backend_error(&error))?;
    let vocabulary_size = model.vocab().n_tokens().cast_unsigned();
    let mut runner = LlamaRunner::new(context, small.limits(vocabulary_size, true), &small, false);
    let sizes = state_sizes(&mut runner, token).filter(|sizes| sizes.sliding > 0);
    Ok(sizes.map(|sizes| PlannedWindow { positions: sizes.window, cell_bytes: cell_bytes(sizes.sliding) }))
}

/// Bytes of the KV cells of a context that was opened by `plan` and got `allocated_cells`. A recurrent model's state
/// does not grow; for such a model, bytes of the states of all slots.
pub(super) fn kv_bytes(sizes: StateSizes, plan: &Plan, allocated_cells: u32) -> u64 {
    let all = cell_bytes(sizes.next - sizes.sliding) * u64::from(allocated_cells);
    let sliding = cell_bytes(sizes.sliding) * plan.sliding_cells().unwrap_or(u64::from(allocated_cells));
    if all + sliding > 0 { all + sliding } else { sizes.first as u64 * u64::from(plan.slots) }
}

/// Bytes of a cell that takes `saved` bytes in a saved state.
fn cell_bytes(saved: usize) -> u64 {
    saved.saturating_sub(CELL_HEADER_BYTES) as u64
}
