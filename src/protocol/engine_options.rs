//! How an engine opens its model. Sent in the first frame, so that engine processes need no arguments.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to load and with which limits. `None` lets the engine choose from the model and the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineOptions {
    /// The GGUF file.
    pub model_path: PathBuf,
    /// Longest prompt + completion, tokens (vLLM `--max-model-len`). Default: the model's training context, at most 8192,
    /// less where the KV cells of all sequences would take too much memory.
    pub max_model_len: Option<u32>,
    /// Sequences in one step at most, 1–256 (vLLM `--max-num-seqs`).
    pub max_num_seqs: u32,
    /// Rows in one step at most (vLLM `--max-num-batched-tokens`, llama.cpp `n_batch`), ≥ `max_num_seqs`.
    pub max_num_batched_tokens: u32,
    /// Layers to put on the GPU (llama.cpp `n_gpu_layers`); `None` puts all there when a GPU backend is built in.
    pub n_gpu_layers: Option<u32>,
    /// CPU threads of a step; `None` is the number of physical cores.
    pub threads: Option<u32>,
    /// One KV stream per sequence, or one pool for all.
    pub kv_layout: KvLayout,
    /// KV cells of the unified pool, tokens; `None` is `max_num_seqs * max_model_len`. Meaningless for split.
    pub kv_cache_tokens: Option<u32>,
    /// Host memory for KV that no slot has room for, bytes (vLLM `--swap-space`); 0 for none. `None` is a sixteenth of the
    /// machine's memory, at most 4 GiB.
    pub swap_space_bytes: Option<u64>,
    /// A step with rows of a long prompt may take this many times a pure decode step, ≥ 1 (bounds the ITL that long prompts
    /// cause). Short prompts, and several that wait, get up to four times the share that this leaves; 25 ms are always
    /// fine, and a chunk takes at least half its fixed cost.
    pub prefill_step_ratio: f32,
}

/// Where the KV cells of the sequences lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvLayout {
    /// A stream of `max_model_len` cells per sequence: attention walks only its own cells. Sharing a prefix copies it.
    #[default]
    Split,
    /// One pool of cells: sharing a prefix is free, and more sequences than fit at full length may run.
    Unified,
}
