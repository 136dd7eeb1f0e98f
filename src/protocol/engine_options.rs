//! How an engine opens its model. Sent in the first frame, so that engine processes need no arguments.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The model to load, and its limits. `None` lets the engine choose from the model and the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineOptions {
    /// The GGUF file.
    pub model_path: PathBuf,
    /// Its files, first part first, as the server opened them. Empty: whatever is at `model_path` is loaded.
    pub model_files: Vec<OpenedFile>,
    /// Longest prompt + completion, tokens (vLLM `--max-model-len`). Default: the model's training context, at most
    /// 8192, less where the KV cells of all sequences would take too much memory.
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
    /// How keys and values are stored in KV cells (vLLM `--kv-cache-dtype`).
    pub kv_cache_dtype: KvType,
    /// True if attention is computed in blocks (llama-server `--flash-attn`).
    pub flash_attn: FlashAttention,
    /// True if layers with a sliding window keep the cells that it has passed (llama-server `--swa-full`).
    pub swa_full: bool,
    /// Host memory for KV that no slot has room for, bytes (vLLM `--swap-space`); 0 for none. `None` is a sixteenth of
    /// the machine's memory, at most 4 GiB.
    pub swap_space_bytes: Option<u64>,
    /// The folder in which a copy of that memory is kept for the next start.
    pub prefix_cache: Option<PrefixCacheFolder>,
    /// A step with rows of a long prompt may take this many times a pure decode step, ≥ 1 (bounds the ITL that long
    /// prompts cause). Short prompts, and several that wait, get more than the share that this leaves, up to 250 ms; 60
    /// ms are always fine, and a chunk takes at least half its fixed cost.
    pub prefill_step_ratio: f32,
    /// Longest time of a step with decode rows and rows of prompts, ms, ≥ 1, whoever waits; it then replaces the ratio.
    pub target_itl_ms: Option<u32>,
    /// The GGUF file of a smaller model with the same vocabulary that guesses ahead (llama.cpp `--model-draft`).
    /// `None`: guesses come from the text itself.
    pub draft_model: Option<PathBuf>,
    /// As `model_files`, of `draft_model`.
    pub draft_files: Vec<OpenedFile>,
    /// Tokens of a draft at most (vLLM's name); 0 for no speculation.
    pub num_speculative_tokens: u32,
}

impl EngineOptions {
    /// As `llamero serve` opens a model where nobody says otherwise.
    #[must_use]
    pub fn new(model_path: PathBuf) -> Self {
        Self {
            model_path,
            model_files: Vec::new(),
            max_model_len: None,
            max_num_seqs: 16,
            max_num_batched_tokens: 512,
            n_gpu_layers: None,
            threads: None,
            kv_layout: KvLayout::default(),
            kv_cache_tokens: None,
            kv_cache_dtype: KvType::default(),
            flash_attn: FlashAttention::default(),
            swa_full: false,
            swap_space_bytes: None,
            prefix_cache: None,
            prefill_step_ratio: 2.0,
            target_itl_ms: None,
            draft_model: None,
            draft_files: Vec::new(),
            num_speculative_tokens: 8,
        }
    }
}

/// A file of a model, held open by the server for as long as that runs, with the facts that tell it from any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedFile {
    /// Its name when it was opened; may be another file's by now.
    pub name: PathBuf,
    /// The file itself, whatever became of its name (`/proc/PID/fd/N`,
    /// proc_pid_fd(5)). `None` where there is no such thing.
    pub held: Option<PathBuf>,
    /// Device number (`st_dev` of stat(2)).
    pub device: u64,
    /// Inode number (`st_ino`).
    pub inode: u64,
    /// Its size, bytes.
    pub bytes: u64,
    /// Time of its last change: seconds since 1970, and nanoseconds (`st_mtim`).
    pub modified: (i64, i64),
}

/// A folder that outlives engines and holds what they parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixCacheFolder {
    /// It exists. One engine uses it at a time.
    pub path: PathBuf,
    /// A checksum that tells the model's files from any others.
    pub model_checksum: String,
    /// True if its contents are deleted unread: after an engine died, because it may have died of them.
    pub discard: bool,
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

/// The type in which a number of a key or a value is stored. Quantized ones need flash attention: llama.cpp keeps
/// values transposed without it, and a block of them cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvType {
    /// 16 bits; all figures are measured with it.
    #[default]
    F16,
    /// 16 bits with the exponent of 32.
    Bf16,
    /// Blocks of 32 numbers in 34 bytes.
    Q8_0,
    /// Blocks of 32 numbers in 18 bytes.
    Q4_0,
}

impl KvType {
    /// Numbers that are stored together.
    pub const BLOCK_NUMBERS: u32 = 32;

    /// Bytes of [`Self::BLOCK_NUMBERS`] numbers (`ggml_type_size`, `ggml-common.h`).
    #[must_use]
    pub fn block_bytes(self) -> u32 {
        match self {
            Self::F16 | Self::Bf16 => 64,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
        }
    }

    /// True if the numbers of a block share a scale.
    #[must_use]
    pub fn is_quantized(self) -> bool {
        matches!(self, Self::Q8_0 | Self::Q4_0)
    }

    /// As options, logs and people spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }
}

/// Attention in blocks, without a matrix of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlashAttention {
    /// Whichever is faster on the device that computes, and on where the type of the cells needs it.
    #[default]
    Auto,
    /// It is always computed so.
    On,
    /// It is never computed so.
    Off,
}
