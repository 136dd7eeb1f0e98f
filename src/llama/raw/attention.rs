//! ggml's two ways of attention on a CPU, each as a graph that can be timed without a model.
//!
//! The graphs are those of `llm_graph_context::build_attn_mha` in llama.cpp: a matrix of scores (plain), or blocks
//! (flash attention). Owns the memory of a graph.

#![expect(unsafe_code, reason = "llama-cpp-2 wraps no ggml graphs")]

use llama_cpp_sys_2 as sys;
use std::{
    ffi::c_int,
    time::{Duration, Instant},
};

/// The sizes of an attention, all ≥ 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::llama) struct AttentionSize {
    /// Number of heads of queries, a multiple of `kv_heads`.
    pub(in crate::llama) heads: u32,
    /// Number of heads of keys and values.
    pub(in crate::llama) kv_heads: u32,
    /// Numbers in a head of keys.
    pub(in crate::llama) key: u32,
    /// Numbers in a head of values.
    pub(in crate::llama) value: u32,
    /// True for bf16 cells, false for f16.
    pub(in crate::llama) bf16: bool,
    /// Number of sequences, each with cells of its own.
    pub(in crate::llama) sequences: u32,
    /// Number of rows of each sequence.
    pub(in crate::llama) rows: u32,
    /// Number of positions of each sequence, the rows' own included, ≥ `rows`: a row attends to those up to its own.
    pub(in crate::llama) positions: u32,
    /// Number of cells of each sequence that a graph reads, ≥ `positions`. Those behind the positions are masked.
    pub(in crate::llama) cells: u32,
    /// Number of cells that each sequence has, at least `cells`: the distance in memory between the numbers of a cell
    /// where these are kept transposed.
    pub(in crate::llama) allocated: u32,
}

/// Number of layers in a graph, each with cells of its own, so that no layer finds its cells in the cache of the
/// processor only because a run before used them.
const LAYERS: usize = 2;
/// Upper bound of the tensors of a layer, views among them.
const LAYER_TENSORS: usize = 24;
/// Upper bound of the tensors of a graph.
const MOST_TENSORS: usize = LAYER_TENSORS * LAYERS;
/// The byte of which all data are made: 0.097 as f16, 4e-11 as f32 and as bf16, none of them a denormal number.
const DATA: u8 = 0x2e;

/// An attention that can be computed again and again.
pub(in crate::llama) struct AttentionGraph {
    backend: sys::ggml_backend_t,
    context: *mut sys::ggml_context,
    buffer: sys::ggml_backend_buffer_t,
    graph: *mut sys::ggml_cgraph,
}

impl AttentionGraph {
    /// Builds the graph; `in_blocks` is flash attention. `None` if there is no CPU backend or not enough memory.
    pub(in crate::llama) fn new(size: AttentionSize, in_blocks: bool, threads: u32) -> Option<Self> {
        let bytes = sys_overhead();
        // SAFETY: a CPU backend needs no parameters. Null is checked, and everything that was made is freed by `Drop`.
        let mut made = unsafe {
            let backend = sys::ggml_backend_init_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU, std::ptr::null());
            let params = sys::ggml_init_params { mem_size: bytes, mem_buffer: std::ptr::null_mut(), no_alloc: true };
            let context = if backend.is_null() { std::ptr::null_mut() } else { sys::ggml_init(params) };
            Self { backend, context, buffer: std::ptr::null_mut(), graph: std::ptr::null_mut() }
        };
        if made.context.is_null() || !made.set_threads(threads) {
            return None;
        }
        // SAFETY: the context has room for the graph and its tensors (`sys_overhead`); sizes are as ggml asserts them:
        // `heads` is a multiple of `kv_heads`, and the mask has the type that each way wants.
        unsafe {
            made.graph = sys::ggml_new_graph_custom(made.context, MOST_TENSORS, false);
            let layers: Vec<Layer> = (0..LAYERS).map(|_| layer(made.context, size, in_blocks)).collect();
            for result in layers.iter().flat_map(|layer| layer.results) {
                sys::ggml_build_forward_expand(made.graph, result);
            }
            made.buffer = sys::ggml_backend_alloc_ctx_tensors(made.context, made.backend);
            if made.buffer.is_null() {
                return None;
            }
            layers.iter().for_each(|layer| fill(layer));
        }
        Some(made)
    }

    /// Makes the backend compute with this number of threads. Returns false if it has no such function.
    fn set_threads(&mut self, threads: u32) -> bool {
        // SAFETY: the backend lives; the function of this name has this type (`ggml_backend_set_n_threads_t` in
        // ggml-backend.h).
        unsafe {
            let registry = sys::ggml_backend_dev_backend_reg(sys::ggml_backend_get_device(self.backend));
            let address = sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_set_n_threads".as_ptr());
            if address.is_null() {
                return false;
            }
            let set: unsafe extern "C" fn(sys::ggml_backend_t, c_int) = std::mem::transmute(address);
            set(self.backend, c_int::try_from(threads).unwrap_or(c_int::MAX));
        }
        true
    }

    /// Computes the graph once and returns the time that it took. `None` if ggml failed.
    pub(in crate::llama) fn run(&mut self) -> Option<Duration> {
        let begun = Instant::now();
        // SAFETY: backend and graph live, and all tensors of the graph have memory.
        let status = unsafe { sys::ggml_backend_graph_compute(self.backend, self.graph) };
        (status == sys::GGML_STATUS_SUCCESS).then(|| begun.elapsed())
    }
}

impl Drop for AttentionGraph {
    fn drop(&mut self) {
        // SAFETY: each was made by the function that belongs to the one that frees it, or is null, which these ignore
        // or which is checked. The graph lies in the context.
        unsafe {
            sys::ggml_backend_buffer_free(self.buffer);
            sys::ggml_free(self.context);
            if !self.backend.is_null() {
                sys::ggml_backend_free(self.backend);
            }
        }
    }
}

/// Bytes of a context that holds a graph and its tensors, without their data.
fn sys_overhead() -> usize {
    // SAFETY: pure functions.
    unsafe { sys::ggml_tensor_overhead() * MOST_TENSORS + sys::ggml_graph_overhead_custom(MOST_TENSORS, false) }
}

/// Gives a layer its data. Cells that are not used are left alone: their memory is never touched.
///
/// # Safety
/// The layer's tensors must live and have memory.
unsafe fn fill(layer: &Layer) {
    let (index, places) = &layer.places;
    // SAFETY: the caller's; offsets and lengths are within the tensors (`layer`).
    unsafe {
        for input in &layer.inputs {
            sys::ggml_backend_tensor_memset(*input, DATA, 0, sys::ggml_nbytes(*input));
        }
        let (mask, data) = &layer.mask;
        sys::ggml_backend_tensor_set(*mask, data.as_ptr().cast(), 0, data.len());
        for (tensor, pieces) in &layer.cells {
            for (offset, len) in pieces {
                sys::ggml_backend_tensor_memset(*tensor, DATA, *offset, *len);
            }
        }
        sys::ggml_backend_tensor_set(*index, places.as_ptr().cast(), 0, size_of_val(places.as_slice()));
    }
}

/// A layer of a graph: the tensors that must be given data before a run.
struct Layer {
    /// Tensors of which all bytes are data.
    inputs: [*mut sys::ggml_tensor; 2],
    /// The mask, with its data: 0 for cells that a row attends to, and minus infinity for the others.
    mask: (*mut sys::ggml_tensor, Vec<u8>),
    /// Tensors of cells, with the pieces of them that are data: offset and length, bytes.
    cells: Vec<(*mut sys::ggml_tensor, Vec<(usize, usize)>)>,
    /// The places in the tensor of values that the new rows get.
    places: (*mut sys::ggml_tensor, Vec<i64>),
    /// The tensors to compute, in order.
    results: [*mut sys::ggml_tensor; 2],
}

/// The bytes of a mask, f16 for flash attention and f32 for plain.
fn mask_data(size: AttentionSize, in_blocks: bool) -> Vec<u8> {
    let (open, closed): (&[u8], &[u8]) = if in_blocks { (&[0; 2], &[0x00, 0xfc]) } else { (&[0; 4], &[0x00, 0x00, 0x80, 0xff]) };
    let of_row = |row| {
        let last = size.positions - size.rows + row;
        (0..size.cells).flat_map(move |cell| if cell <= last { open } else { closed })
    };
    (0..size.sequences).flat_map(|_| (0..size.rows).flat_map(of_row)).copied().collect()
}

/// The attention of one layer as llama.cpp builds it, the new values' way into the cells included: plain attention
/// keeps them transposed, which makes both the writes and the reads jump (`llama_kv_cache::cpy_v` and `get_v`).
///
/// # Safety
/// `context` must be a live context with room for [`LAYER_TENSORS`] tensors.
unsafe fn layer(context: *mut sys::ggml_context, size: AttentionSize, in_blocks: bool) -> Layer {
    let kind = if size.bf16 { sys::GGML_TYPE_BF16 } else { sys::GGML_TYPE_F16 };
    let [heads, kv_heads, key, value] = [size.heads, size.kv_heads, size.key, size.value].map(i64::from);
    let [sequences, rows, positions, used] = [size.sequences, size.rows, size.positions, size.cells].map(i64::from);
    let (all, width) = (i64::from(size.allocated.max(size.cells)), value * kv_heads);
    // Sizes are far below 2⁶³.
    let bytes = |numbers: i64| (2 * numbers) as usize;
    let scale = (1.0 / f64::from(size.key).sqrt()) as f32;
    // SAFETY: the caller's. Tensors are made in the same context, and views stay within their tensors: cells that are
    // used are at most those that are allocated.
    unsafe {
        let tensor = |kind, [a, b, c, d]: [i64; 4]| sys::ggml_new_tensor_4d(context, kind, a, b, c, d);
        let view = |tensor, [a, b, c, d]: [i64; 4], [x, y, z]: [i64; 3]| {
            sys::ggml_view_4d(context, tensor, a, b, c, d, bytes(x), bytes(y), bytes(z), 0)
        };
        let by_head = |tensor| sys::ggml_permute(context, tensor, 0, 2, 1, 3);
        let queries = tensor(sys::GGML_TYPE_F32, [key, heads, rows, sequences]);
        let keys = tensor(kind, [key * kv_heads, all, sequences, 1]);
        let used_keys = view(keys, [key, kv_heads, used, sequences], [key, key * kv_heads, key * kv_heads * all]);
        let values = tensor(kind, if in_blocks { [width, all, sequences, 1] } else { [all, width, sequences, 1] });
        let (per_place, places) = if in_blocks { (width, rows * sequences) } else { (1, width * rows * sequences) };
        let new = tensor(sys::GGML_TYPE_F32, [per_place, places, 1, 1]);
        let index = tensor(sys::GGML_TYPE_I64, [places, 1, 1, 1]);
        let by_place = sys::ggml_reshape_2d(context, values, per_place, all * width * sequences / per_place);
        let written = sys::ggml_set_rows(context, by_place, new, index);
        let mask = tensor(if in_blocks { sys::GGML_TYPE_F16 } else { sys::GGML_TYPE_F32 }, [used, rows, 1, sequences]);
        let result = if in_blocks {
            let used_values = view(values, [value, kv_heads, used, sequences], [value, width, width * all]);
            sys::ggml_flash_attn_ext(context, by_head(queries), by_head(used_keys), by_head(used_values), mask, scale, 0.0, 0.0)
        } else {
            let used_values = view(values, [used, value, kv_heads, sequences], [all, all * value, all * width]);
            let products = sys::ggml_mul_mat(context, by_head(used_keys), by_head(queries));
            let scores = sys::ggml_soft_max_ext(context, products, mask, scale, 0.0);
            let result = by_head(sys::ggml_mul_mat(context, used_values, scores));
            sys::ggml_cont_2d(context, result, value * heads, rows * sequences)
        };
        let last_rows =
            |sequence: i64| (positions - rows..positions).map(move |cell| sequence * all * if in_blocks { 1 } else { width } + cell);
        let steps = if in_blocks { 0..1 } else { 0..width };
        let index_data = (0..sequences).flat_map(last_rows).flat_map(|first| steps.clone().map(move |step| first + step * all)).collect();
        let whole = |width: i64| (0..sequences).map(|sequence| (bytes(sequence * width * all), bytes(width * used))).collect();
        let lines = || (0..width * sequences).map(|line| (bytes(line * all), bytes(used))).collect();
        Layer {
            inputs: [queries, new],
            mask: (mask, mask_data(size, in_blocks)),
            cells: vec![(keys, whole(key * kv_heads)), (values, if in_blocks { whole(width) } else { lines() })],
            places: (index, index_data),
            results: [written, result],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_attention_are_computed_for_decode_rows_and_for_chunks() {
        let one = AttentionSize {
            heads: 6,
            kv_heads: 2,
            key: 64,
            value: 32,
            bf16: false,
            sequences: 1,
            rows: 1,
            positions: 200,
            cells: 256,
            allocated: 1024,
        };
        for size in [one, AttentionSize { sequences: 4, ..one }, AttentionSize { rows: 70, bf16: true, ..one }] {
            for in_blocks in [false, true] {
                let mut graph = AttentionGraph::new(size, in_blocks, 2).unwrap();
                assert!(graph.run().is_some() && graph.run().is_some(), "{size:?}, in blocks: {in_blocks}");
            }
        }
    }
}
