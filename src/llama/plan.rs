//! The sizes of a context, decided before llama.cpp opens it: pure arithmetic on the options and the model.

// Import circle: the choice of sequences (`sequences`) is a part of the plan, and reads the facts that the plan is made
// from.
use super::{
    rope::{self, Rope, unsupported},
    sequences::{self, Sequences},
};
use crate::{
    engine::runner::{Limits, SwapLimits},
    protocol::{EngineOptions, FlashAttention, KvLayout, KvType, LoadError},
};

/// llama.cpp's `LLAMA_MAX_SEQ`: it refuses more sequence ids.
const MAX_SLOTS: u32 = 256;

/// Rows that one graph computes on a GPU, or in blocks: llama.cpp's default `n_ubatch`.
pub(super) const MAX_ROWS_PER_GRAPH: u32 = 512;

/// The same on a CPU without flash attention: 128 to 256 are the fastest there (docs/benchmarks). The scores take
/// scratch memory of rows × cells × heads, a float each.
const MAX_ROWS_PER_CPU_GRAPH: u32 = 256;
/// Maximum bytes of that scratch memory, as long as a graph has more than [`LEAST_ROWS_PER_GRAPH`] rows.
const MAX_SCORE_BYTES: u64 = 1 << 29;
/// Fewer rows per graph than this make prefill slow.
const LEAST_ROWS_PER_GRAPH: u32 = 32;

/// The tile (`Limits::tile`) unless another was measured. It costs little where kernels need none.
pub(super) const UNMEASURED_TILE: u32 = 32;

/// llama.cpp rounds the cells of a stream up to blocks of this many, and attends over whole blocks
/// (`llama_kv_cache::get_n_kv`).
pub(super) const CELLS_PER_BLOCK: u32 = 256;

/// The sizes of a context, consistent with each other and with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Number of slots, 1–256: llama.cpp's `n_seq_max`.
    pub slots: u32,
    /// Maximum positions of a slot.
    pub max_model_len: u32,
    /// Maximum rows of a batch, ≥ `slots`: llama.cpp's `n_batch`.
    pub max_rows: u32,
    /// Maximum rows of a graph: llama.cpp's `n_ubatch`.
    pub rows_per_graph: u32,
    /// Number of cells of all slots together: llama.cpp's `n_ctx`.
    pub kv_cells: u32,
    /// Maximum CPU threads of a step, ≥ 1.
    pub threads: u32,
    /// True if steps take fewer threads where that is faster.
    pub adapts: bool,
    /// The division of the cells among slots.
    pub layout: KvLayout,
    /// The storage type of the cells.
    pub kv_type: KvType,
    /// The way in which attention is computed.
    pub attention: Attention,
    /// Set if cells that a sliding window has passed are reused (llama.cpp's `swa_full` turned off).
    pub window: Option<PlannedWindow>,
    /// The way in which positions are rotated.
    pub rope: Rope,
}

/// The sliding window of a model in which only some layers have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlannedWindow {
    /// Number of positions that layers with a window attend to.
    pub positions: u32,
    /// Bytes of a cell in all layers with a window together.
    pub cell_bytes: u64,
}

/// The way in which attention is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attention {
    /// Attention is computed with a matrix of scores in memory.
    Plain,
    /// Attention is computed in blocks, without a matrix of scores (flash attention).
    Blocks,
    /// llama.cpp chooses, by the abilities of the devices.
    Either,
}

/// Facts about the model and the machine from which the plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// The context that the model was trained for.
    pub trained: rope::Trained,
    /// Physical cores of the machine.
    pub cores: u32,
    /// True if layers are computed on a GPU.
    pub on_gpu: bool,
    /// Number of attention heads of a layer.
    pub heads: u32,
    /// Approximate memory of one KV cell, bytes.
    pub cell_bytes: u64,
    /// The model's sliding window.
    pub window: Option<PlannedWindow>,
    /// Memory that the KV cells may take by default, bytes.
    pub kv_budget_bytes: u64,
}

impl Plan {
    /// Chooses the sizes that `options` leave open.
    ///
    /// # Errors
    /// `Unsupported`, with the name of the option to change.
    pub(super) fn new(options: &EngineOptions, given: Given) -> Result<Self, LoadError> {
        if let Some(slots) = options.max_num_seqs.filter(|slots| !(1..=MAX_SLOTS).contains(slots)) {
            return unsupported(format!("--max-num-seqs must be 1 to {MAX_SLOTS}, not {slots}"));
        }
        let longest = rope::longest(options, given.trained)?;
        let Sequences { slots, max_model_len } = sequences::choose(options, &given, longest);
        let rope = rope::choose(options, given.trained, max_model_len);
        let Some(full_length_cells) = slots.checked_mul(max_model_len).filter(|cells| i32::try_from(*cells).is_ok()) else {
            return unsupported(format!("{slots} sequences of {max_model_len} tokens are too many cells; lower --max-model-len"));
        };
        let kv_cells = match (options.kv_layout, options.kv_cache_tokens) {
            (KvLayout::Split, _) | (KvLayout::Unified, None) => full_length_cells,
            (KvLayout::Unified, Some(cells)) if cells < max_model_len => {
                return unsupported(format!(
                    "a KV cache of {cells} tokens does not hold one sequence of {max_model_len}; \
                     raise --kv-cache-tokens or lower --max-model-len"
                ));
            }
            (KvLayout::Unified, Some(cells)) => cells.min(full_length_cells),
        };
        let max_rows = options.max_num_batched_tokens.min(kv_cells);
        if max_rows < slots {
            return unsupported(format!(
                "a step of {max_rows} rows has no room for one row of each of {slots} sequences; \
                 raise --max-num-batched-tokens or lower --max-num-seqs"
            ));
        }
        let attention = attention(options, given.on_gpu)?;
        let cells_of_a_row = if options.kv_layout == KvLayout::Split { max_model_len } else { kv_cells };
        let rows_per_graph = match attention {
            Attention::Plain if !given.on_gpu => rows_per_cpu_graph(cells_of_a_row, given.heads),
            _ => MAX_ROWS_PER_GRAPH,
        };
        let threads = options.threads.unwrap_or(given.cores).max(1);
        let rows_per_graph = rows_per_graph.min(max_rows);
        let window = given.window.filter(|window| slides(options, *window, max_model_len, rows_per_graph));
        Ok(Self {
            slots,
            max_model_len,
            max_rows,
            rows_per_graph,
            kv_cells,
            threads,
            // With a GPU, the CPU's part of a step says nothing about the use of the cores.
            adapts: options.threads.is_none() && !given.on_gpu && threads > 1,
            layout: options.kv_layout,
            kv_type: options.kv_cache_dtype,
            attention,
            window,
            rope,
        })
    }

    /// Bytes of a graph's attention scores, if they are kept in memory, and of their mask.
    pub(super) fn score_bytes(&self, heads: u32) -> u64 {
        let cells = if self.layout == KvLayout::Split { self.max_model_len } else { self.kv_cells };
        let matrices = if self.attention == Attention::Plain { heads.max(1) + 1 } else { 1 };
        4 * u64::from(self.rows_per_graph) * u64::from(cells) * u64::from(matrices)
    }

    /// Number of cells of a slot in the layers with a window; `None` if these layers have as many as the others.
    pub(super) fn window_cells(&self) -> Option<u32> {
        self.window.map(|window| window_cells(window, self.rows_per_graph))
    }

    /// Number of cells of all slots together in layers with a window; `None` if these have as many as the others.
    pub(super) fn sliding_cells(&self) -> Option<u64> {
        Some(u64::from(self.window_cells()?) * u64::from(self.slots))
    }

    /// These sizes in the scheduler's form, without swap space, whose unit is measured later.
    pub(super) fn limits(&self, vocabulary_size: u32, can_truncate: bool) -> Limits {
        Limits {
            slots: self.slots,
            max_rows: self.max_rows,
            max_model_len: self.max_model_len,
            kv_cells: self.kv_cells,
            can_truncate,
            windowed: self.window.is_some(),
            consecutive_slots: self.layout == KvLayout::Split,
            tile: UNMEASURED_TILE,
            vocabulary_size,
            swap: SwapLimits::default(),
        }
    }
}

/// True if cells that a window has passed are reused: if that saves any, and slots have cells of their own. In one pool
/// llama.cpp relies on each cell belonging to one sequence (`llama_kv_cache::find_slot`), and copied prefixes belong to
/// several.
pub(super) fn slides(options: &EngineOptions, window: PlannedWindow, max_model_len: u32, rows_per_graph: u32) -> bool {
    !options.swa_full && options.kv_layout == KvLayout::Split && window_cells(window, rows_per_graph) < max_model_len
}

/// Number of cells that llama.cpp allocates for a stream in layers with a window (`llama_kv_cache_iswa`).
pub(super) fn window_cells(window: PlannedWindow, rows_per_graph: u32) -> u32 {
    window.positions.saturating_add(rows_per_graph).checked_next_multiple_of(CELLS_PER_BLOCK).unwrap_or(u32::MAX)
}

/// Chooses the way of attention. On a CPU it is plain attention. ggml's fused kernel takes one row at a time unless a
/// graph has 64 of one sequence (`GGML_FA_TILE_Q` in `ggml-cpu/common.h`). The logits of a lone row over 512 cells or
/// more depend on the number of threads, and differ from those beside other sequences (`use_split_kv_path` in
/// `ggml-cpu/ops.cpp`). With AMX it decodes 1.3 to 3 times slower; elsewhere it may be faster (`--calibrate-only`).
/// For quantized cells llama.cpp has only the fused kernel; over q8_0 it decodes as fast as plain attention over f16
/// at 200 positions, and 0.8 to 0.9 times as fast at 2,000.
///
/// # Errors
/// `Unsupported`, with the option to change.
fn attention(options: &EngineOptions, on_gpu: bool) -> Result<Attention, LoadError> {
    let kind = options.kv_cache_dtype;
    match options.flash_attn {
        FlashAttention::Off if kind.is_quantized() => {
            unsupported(format!("--kv-cache-dtype {} needs flash attention; leave --flash-attn at auto", kind.name()))
        }
        FlashAttention::Off => Ok(Attention::Plain),
        FlashAttention::On => Ok(Attention::Blocks),
        FlashAttention::Auto if kind.is_quantized() => Ok(Attention::Blocks),
        FlashAttention::Auto if on_gpu => Ok(Attention::Either),
        FlashAttention::Auto => Ok(Attention::Plain),
    }
}

/// The largest number of rows that keeps the attention scores of a graph within [`MAX_SCORE_BYTES`].
fn rows_per_cpu_graph(cells: u32, heads: u32) -> u32 {
    let row_bytes = 4 * u64::from(cells) * u64::from(heads.max(1));
    let rows = u32::try_from(MAX_SCORE_BYTES / row_bytes).unwrap_or(u32::MAX);
    rows.clamp(LEAST_ROWS_PER_GRAPH, MAX_ROWS_PER_CPU_GRAPH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> EngineOptions {
        EngineOptions { max_num_batched_tokens: 2048, ..EngineOptions::new("model.gguf".into()) }
    }

    /// A machine with two cores and unlimited memory.
    fn given(n_ctx_train: u32) -> Given {
        let trained = rope::Trained { length: n_ctx_train, stretched_thousandths: 1000, rotates: true };
        Given { trained, cores: 2, on_gpu: false, heads: 8, cell_bytes: 1000, window: None, kv_budget_bytes: u64::MAX }
    }

    fn refusal(options: &EngineOptions, n_ctx_train: u32) -> String {
        Plan::new(options, given(n_ctx_train)).unwrap_err().to_string()
    }

    #[test]
    fn one_to_256_sequences_are_accepted() {
        for slots in [1, 256] {
            assert_eq!(Plan::new(&EngineOptions { max_num_seqs: Some(slots), ..options() }, given(512)).unwrap().slots, slots);
        }
        for slots in [0, 257] {
            assert!(refusal(&EngineOptions { max_num_seqs: Some(slots), ..options() }, 512).contains("--max-num-seqs"));
        }
    }

    #[test]
    fn a_step_must_hold_a_row_of_every_sequence() {
        let exact = EngineOptions { max_num_seqs: Some(16), max_num_batched_tokens: 16, ..options() };
        let short = EngineOptions { max_num_seqs: Some(16), max_num_batched_tokens: 15, ..options() };

        let plan = Plan::new(&exact, given(512)).unwrap();
        assert_eq!((plan.max_rows, plan.rows_per_graph), (16, 16));
        assert!(refusal(&short, 512).contains("--max-num-batched-tokens"));
    }

    #[test]
    fn a_graph_on_a_cpu_is_smaller_than_one_on_a_gpu() {
        let rows = |on_gpu| Plan::new(&options(), Given { on_gpu, ..given(512) }).unwrap().rows_per_graph;

        assert_eq!((rows(false), rows(true)), (256, 512));
        assert_eq!([8192, 65_536, 1 << 20].map(|length| rows_per_cpu_graph(length, 32)), [256, 64, 32], "less the longer the context");
    }

    #[test]
    fn attention_is_plain_on_a_cpu_and_in_blocks_where_cells_are_quantized() {
        let attention = |kv_cache_dtype, flash_attn, on_gpu| {
            let options = EngineOptions { kv_cache_dtype, flash_attn, ..options() };
            Plan::new(&options, Given { on_gpu, ..given(512) }).map(|plan| plan.attention)
        };
        let cases = [
            (KvType::F16, FlashAttention::Auto, false, Attention::Plain),
            (KvType::F16, FlashAttention::Auto, true, Attention::Either),
            (KvType::Bf16, FlashAttention::On, false, Attention::Blocks),
            (KvType::F16, FlashAttention::Off, true, Attention::Plain),
            (KvType::Q8_0, FlashAttention::Auto, false, Attention::Blocks),
            (KvType::Q4_0, FlashAttention::Auto, true, Attention::Blocks),
        ];

        for (kind, flash, on_gpu, expected) in cases {
            assert_eq!(attention(kind, flash, on_gpu), Ok(expected), "{kind:?}, {flash:?}, on a GPU: {on_gpu}");
        }
        let refused = attention(KvType::Q4_0, FlashAttention::Off, false).unwrap_err().to_string();
        assert!(refused.contains("--kv-cache-dtype q4_0") && refused.contains("--flash-attn"), "{refused}");
    }

    #[test]
    fn a_graph_is_smaller_where_its_rows_attend_over_a_whole_pool() {
        let rows = |kv_layout| Plan::new(&EngineOptions { kv_layout, ..options() }, given(8192)).unwrap().rows_per_graph;

        // 16 sequences of 8192 cells with 8 heads: 4 MiB of scores for each row of the pool.
        assert_eq!((rows(KvLayout::Split), rows(KvLayout::Unified)), (256, 128));
    }

    #[test]
    fn a_unified_cache_may_be_smaller_than_all_sequences_at_full_length_but_holds_one() {
        let unified = |cells| EngineOptions { kv_layout: KvLayout::Unified, kv_cache_tokens: cells, ..options() };

        assert_eq!(Plan::new(&unified(None), given(512)).unwrap().kv_cells, 16 * 512);
        assert_eq!(Plan::new(&unified(Some(512)), given(512)).unwrap().kv_cells, 512);
        assert_eq!(Plan::new(&unified(Some(1 << 30)), given(512)).unwrap().kv_cells, 16 * 512);
        assert_eq!(Plan::new(&unified(Some(511)), given(512)).unwrap().max_model_len, 511);
        let longer = EngineOptions { max_model_len: Some(512), ..unified(Some(511)) };
        assert!(refusal(&longer, 512).contains("--kv-cache-tokens"));
    }

    #[test]
    fn a_split_cache_ignores_the_size_of_the_pool() {
        let split = EngineOptions { kv_cache_tokens: Some(1), ..options() };

        assert_eq!(Plan::new(&split, given(512)).unwrap().kv_cells, 16 * 512);
    }

    #[test]
    fn a_sliding_window_saves_cells_where_every_slot_has_its_own_and_there_are_any_to_save() {
        let window = Some(PlannedWindow { positions: 512, cell_bytes: 800 });
        let cells = |options: &EngineOptions| Plan::new(options, Given { window, ..given(8192) }).unwrap().window_cells();

        // 512 positions, and 256 rows of a graph.
        assert_eq!(cells(&options()), Some(768));
        assert_eq!(cells(&EngineOptions { max_model_len: Some(769), ..options() }), Some(768));
        for full in [
            EngineOptions { swa_full: true, ..options() },
            EngineOptions { kv_layout: KvLayout::Unified, ..options() },
            EngineOptions { max_model_len: Some(768), ..options() },
        ] {
            assert_eq!(cells(&full), None, "{full:?}");
        }
    }

    #[test]
    fn threads_default_to_the_cores() {
        assert_eq!(Plan::new(&options(), Given { cores: 6, ..given(512) }).unwrap().threads, 6);
        assert_eq!(Plan::new(&EngineOptions { threads: Some(3), ..options() }, Given { cores: 6, ..given(512) }).unwrap().threads, 3);
    }

    #[test]
    fn threads_adapt_unless_their_number_was_asked_for_or_a_gpu_computes() {
        let adapts = |threads, on_gpu, cores| {
            Plan::new(&EngineOptions { threads, ..options() }, Given { cores, on_gpu, ..given(512) }).unwrap().adapts
        };

        assert!(adapts(None, false, 2));
        assert!(!adapts(Some(2), false, 2) && !adapts(None, true, 2) && !adapts(None, false, 1));
    }

    #[test]
    fn cells_beyond_llama_cpps_index_type_are_refused_instead_of_wrapping() {
        let huge = EngineOptions { max_num_seqs: Some(256), max_model_len: Some(u32::MAX), ..options() };

        assert!(refusal(&huge, u32::MAX).contains("--max-model-len"));
    }
}
