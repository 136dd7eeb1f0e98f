//! Checks whether a context fits: compares its needs of each kind of memory with the available memory. Pure arithmetic,
//! before llama.cpp allocates anything.
//!
//! On a host with too little memory llama.cpp does not fail: the kernel promises memory for its buffers, and kills the
//! engine when they are filled. So sizes that cannot work are refused here, with the options to change. Weights are no
//! reason to refuse: their file is mapped, and pages that do not fit are read again, slowly.

use super::{
    cells::CellShape,
    memory::Free,
    plan::{CELLS_PER_BLOCK, Plan},
};
use crate::protocol::{KvLayout, KvType, LoadError, MemoryNeed, MemoryPlace};

/// The sizes of a model.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    pub(super) weights_bytes: u64,
    pub(super) cells: CellShape,
    /// True if [`Self::cells`] may be larger than the real cells (`CellShape::read`).
    pub(super) cells_at_most: bool,
    pub(super) layers: u32,
    /// Layers whose weights and cells are on a GPU.
    pub(super) gpu_layers: u32,
    /// Numbers that represent a token between layers.
    pub(super) width: u32,
    pub(super) heads: u32,
    pub(super) vocabulary_size: u32,
}

/// Free memory of one kind, before the model was loaded and now, when there is no context yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) place: MemoryPlace,
    pub(super) before: Option<Free>,
    pub(super) now: Option<Free>,
}

/// Estimates the needs of the context of `plan` in each of `rooms`.
pub(super) fn needs(plan: &Plan, sizes: &Sizes, rooms: &[Room]) -> Vec<MemoryNeed> {
    let kv_bytes = kv_bytes(plan, sizes);
    let layers = u64::from(sizes.layers.max(1));
    let on_gpu = u64::from(sizes.gpu_layers.min(sizes.layers));
    rooms
        .iter()
        .map(|room| {
            let share = |bytes: u64| {
                let on_gpus = u64::try_from(u128::from(bytes) * u128::from(on_gpu) / u128::from(layers)).unwrap_or(bytes);
                if room.place == MemoryPlace::Gpu { on_gpus } else { bytes - on_gpus }
            };
            let computes = (room.place == MemoryPlace::Gpu) == (on_gpu > 0);
            let scratch = if computes { scratch_bytes(plan, sizes) } else { 0 };
            // The host reads the rows of logits, wherever they are computed.
            let logits = if room.place == MemoryPlace::Host { logits_bytes(plan.slots, sizes) } else { 0 };
            MemoryNeed {
                place: room.place,
                weights_bytes: share(sizes.weights_bytes),
                kv_bytes: share(kv_bytes),
                scratch_bytes: scratch + logits,
                available_bytes: room.before.map(|free| free.bytes),
            }
        })
        .collect()
}

/// Refuses a context that would not fit even if all weights were evicted and all swap space were used.
///
/// # Errors
/// `Unsupported`, with the options to change.
pub(super) fn check(plan: &Plan, sizes: &Sizes, needs: &[MemoryNeed], rooms: &[Room]) -> Result<(), LoadError> {
    for (need, room) in needs.iter().zip(rooms) {
        let Some(now) = room.now else { continue };
        let sure = if sizes.cells_at_most { need.scratch_bytes } else { need.kv_bytes + need.scratch_bytes };
        if sure > now.bytes.saturating_add(now.swap_bytes) {
            return Err(LoadError::Unsupported(refusal(plan, need, now)));
        }
    }
    Ok(())
}

fn refusal(plan: &Plan, need: &MemoryNeed, now: Free) -> String {
    let megabytes = |bytes: u64| format!("{} MB", bytes.div_ceil(1_000_000));
    let place = match need.place {
        MemoryPlace::Host => "memory",
        MemoryPlace::Gpu => "memory on the GPU",
    };
    let mut text = format!(
        "its context does not fit: {} of KV cells ({} cells of {}) and {} of scratch, and {} of {place} are free; ",
        megabytes(need.kv_bytes),
        allocated_cells(plan),
        plan.kv_type.name(),
        megabytes(need.scratch_bytes),
        megabytes(now.bytes),
    );
    text.push_str(match plan.layout {
        KvLayout::Split => "lower --max-model-len or --max-num-seqs",
        KvLayout::Unified => "lower --kv-cache-tokens, --max-model-len or --max-num-seqs",
    });
    if !plan.kv_type.is_quantized() {
        let bytes = need.kv_bytes / u64::from(KvType::F16.block_bytes()) * u64::from(KvType::Q8_0.block_bytes());
        text.push_str(&format!(", or store cells with --kv-cache-dtype q8_0 ({})", megabytes(bytes)));
    }
    text
}

/// Bytes of all cells, less those that layers with a sliding window do without.
fn kv_bytes(plan: &Plan, sizes: &Sizes) -> u64 {
    let cells = u64::from(allocated_cells(plan));
    let saved = plan.window.zip(plan.sliding_cells()).map_or(0, |(window, kept)| cells.saturating_sub(kept) * window.cell_bytes);
    (cells * sizes.cells.bytes(plan.kv_type)).saturating_sub(saved)
}

/// Number of cells that llama.cpp will allocate.
fn allocated_cells(plan: &Plan) -> u32 {
    let streams = if plan.layout == KvLayout::Split { plan.slots.max(1) } else { 1 };
    (plan.kv_cells / streams).next_multiple_of(CELLS_PER_BLOCK).saturating_mul(streams)
}

/// Bytes of the largest graph: attention scores with their mask, or the logits, which come later and take the same
/// memory.
///
/// For SmolLM2-135M and 256 rows llama.cpp reserves 52, 87 and 339 MB for streams of 2,048, 8,192 and 32,768 cells;
/// with attention in blocks, 52 and 104 MB for 256 and 512 rows. This function gives 54, 87, 339, 54 and 108.
fn scratch_bytes(plan: &Plan, sizes: &Sizes) -> u64 {
    /// Values of the model's width per row that are alive beside the scores or the logits.
    const WIDTHS: u64 = 6;

    let rows = u64::from(plan.rows_per_graph);
    let logits = 4 * rows * u64::from(sizes.vocabulary_size);
    logits.max(plan.score_bytes(sizes.heads)) + 4 * rows * WIDTHS * u64::from(sizes.width)
}

/// Bytes of one row of logits for every slot.
fn logits_bytes(slots: u32, sizes: &Sizes) -> u64 {
    4 * u64::from(slots) * u64::from(sizes.vocabulary_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama::{
        cells::Defaults,
        plan::{Attention, PlannedWindow},
        rope::Rope,
    };

    /// The sizes of SmolLM2-135M.
    fn sizes() -> Sizes {
        Sizes {
            weights_bytes: 96_600_000,
            cells: CellShape::read("llama", |_| None, Defaults { layers: 30, heads: 3, width: 64 }),
            cells_at_most: false,
            layers: 30,
            gpu_layers: 0,
            width: 576,
            heads: 9,
            vocabulary_size: 49_152,
        }
    }

    /// A plan with 16 slots.
    fn plan(max_model_len: u32) -> Plan {
        Plan {
            slots: 16,
            max_model_len,
            max_rows: 512,
            rows_per_graph: 256,
            kv_cells: 16 * max_model_len,
            threads: 2,
            adapts: true,
            layout: KvLayout::Split,
            kv_type: KvType::F16,
            attention: Attention::Plain,
            window: None,
            rope: Rope::Model,
        }
    }

    fn room(place: MemoryPlace, megabytes: u64, swap: u64) -> Room {
        let free = Some(Free { bytes: megabytes * 1_000_000, swap_bytes: swap * 1_000_000 });
        Room { place, before: free, now: free }
    }

    fn fits(plan: &Plan, sizes: &Sizes, room: Room) -> Result<bool, String> {
        let needs = needs(plan, sizes, &[room]);
        check(plan, sizes, &needs, &[room]).map(|()| !needs[0].is_tight()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_need_is_weights_cells_and_scratch() {
        let need = needs(&plan(8192), &sizes(), &[room(MemoryPlace::Host, 8000, 0)])[0];

        assert_eq!((need.weights_bytes, need.kv_bytes), (96_600_000, 2880 << 20));
        // Scores of 9 heads and a mask, six rows of the width, and a row of logits of each slot.
        assert_eq!(need.scratch_bytes, 4 * 256 * 8192 * 10 + 4 * 256 * 6 * 576 + 4 * 16 * 49_152);
        assert_eq!(need.available_bytes, Some(8_000_000_000));
    }

    #[test]
    fn layers_with_a_sliding_window_need_cells_for_that_and_a_graph_only() {
        let windowed = Plan { window: Some(PlannedWindow { positions: 512, cell_bytes: 20_000 }), ..plan(8192) };
        let need = needs(&windowed, &sizes(), &[room(MemoryPlace::Host, 8000, 0)])[0];

        assert_eq!(need.kv_bytes, (2880 << 20) - 16 * (8192 - 768) * 20_000);
    }

    #[test]
    fn a_context_that_cannot_be_had_is_refused_and_one_that_is_tight_is_not() {
        // 3,020 MB of cells, 90 MB of scratch, 97 MB of weights.
        let outcome = |megabytes, swap| fits(&plan(8192), &sizes(), room(MemoryPlace::Host, megabytes, swap));

        assert_eq!(outcome(3300, 0), Ok(true));
        assert_eq!(outcome(3150, 0), Ok(false), "weights can be read again");
        assert_eq!(outcome(2000, 1200), Ok(false), "some of it can be swapped out");
        let refused = outcome(3000, 0).unwrap_err();
        for words in
            ["3020 MB of KV cells (131072 cells of f16)", "3000 MB of memory", "--max-model-len", "--kv-cache-dtype q8_0 (1605 MB)"]
        {
            assert!(refused.contains(words), "{words:?} is not in {refused}");
        }
    }

    #[test]
    fn what_is_only_an_upper_bound_refuses_nothing() {
        let hybrid = Sizes { cells_at_most: true, ..sizes() };

        assert_eq!(fits(&plan(8192), &hybrid, room(MemoryPlace::Host, 200, 0)), Ok(false));
    }

    #[test]
    fn layers_on_a_gpu_take_their_weights_and_cells_there() {
        let rooms = [room(MemoryPlace::Gpu, 1000, 0), room(MemoryPlace::Host, 8000, 0)];
        let half = needs(&plan(8192), &Sizes { gpu_layers: 15, ..sizes() }, &rooms);
        let all = needs(&plan(8192), &Sizes { gpu_layers: 999, ..sizes() }, &rooms);

        assert_eq!((half[0].kv_bytes, half[1].kv_bytes), (1440 << 20, 1440 << 20));
        assert_eq!((all[0].kv_bytes, all[1].kv_bytes, all[1].weights_bytes), (2880 << 20, 0, 0));
        let refused = check(&plan(8192), &sizes(), &all, &rooms).unwrap_err().to_string();
        assert!(refused.contains("1000 MB of memory on the GPU are free"), "{refused}");
    }

    #[test]
    fn streams_are_rounded_up_to_blocks_of_cells() {
        assert_eq!(allocated_cells(&plan(257)), 16 * 512);
        assert_eq!(allocated_cells(&Plan { layout: KvLayout::Unified, kv_cells: 4097, ..plan(257) }), 4352);
    }

    #[test]
    fn where_nobody_knows_the_memory_nothing_is_refused() {
        let unknown = Room { place: MemoryPlace::Host, before: None, now: None };

        assert_eq!(fits(&plan(8192), &sizes(), unknown), Ok(true));
    }
}
