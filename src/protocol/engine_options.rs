//! The options with which an engine opens its model. Sent in the first frame, so that engine processes need no
//! arguments.

use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};

/// The model to load, and its limits. `None` lets the engine choose from the model and the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineOptions {
    /// The GGUF file.
    pub model_path: PathBuf,
    /// The model's files, first part first, as the server opened them. If empty, whatever is at `model_path` is loaded.
    pub model_files: Vec<OpenedFile>,
    /// Longest prompt + completion, tokens (vLLM `--max-model-len`). Default: the model's training context, at most
    /// 32,768, and less if the KV cells would take too much memory.
    pub max_model_len: Option<u32>,
    /// Largest number of sequences in one step, 1–256 (vLLM `--max-num-seqs`). Default: as many as have room in memory,
    /// at most [`DEFAULT_MAX_NUM_SEQS`].
    pub max_num_seqs: Option<u32>,
    /// The way in which positions beyond the training context are computed.
    pub rope_scaling: RopeScaling,
    /// The number of times that the training context is stretched, ≥ 1 (llama.cpp `--rope-scale`). `None`: as often as
    /// `max_model_len` is longer.
    pub rope_scale: Option<f32>,
    /// Largest number of rows in one step (vLLM `--max-num-batched-tokens`, llama.cpp `n_batch`), ≥ `max_num_seqs`.
    pub max_num_batched_tokens: u32,
    /// Number of layers to put on the GPU (llama.cpp `n_gpu_layers`); `None` puts all there if a GPU backend is built
    /// in.
    pub n_gpu_layers: Option<u32>,
    /// Number of CPU threads of a step; `None` is the number of physical cores.
    pub threads: Option<u32>,
    /// The layout of the KV cells: one stream per sequence, or one pool for all.
    pub kv_layout: KvLayout,
    /// KV cells of the unified pool, tokens; `None` is `max_num_seqs * max_model_len`. Without effect on a split
    /// layout.
    pub kv_cache_tokens: Option<u32>,
    /// The storage type of keys and values in KV cells (vLLM `--kv-cache-dtype`).
    pub kv_cache_dtype: KvType,
    /// Use of flash attention, which computes attention in blocks (llama-server `--flash-attn`).
    pub flash_attn: FlashAttention,
    /// The workers whose devices hold layers of the model (llama-server `--rpc`).
    pub rpc_workers: Vec<SocketAddr>,
    /// True if the weights are read into memory instead of mapped from the file (llama-server `--no-mmap`).
    pub no_mmap: bool,
    /// True if the weights are locked in memory, so that they are never dropped or swapped out (llama-server
    /// `--mlock`).
    pub mlock: bool,
    /// True if nothing is measured at the load.
    pub no_calibration: bool,
    /// True if layers with a sliding window keep the cells of positions that have left it (llama-server `--swa-full`).
    pub swa_full: bool,
    /// Host memory for KV that has no room in a slot, bytes (vLLM `--swap-space`); 0 for none. `None` is a sixteenth of
    /// the machine's memory, at most 4 GiB.
    pub swap_space_bytes: Option<u64>,
    /// The folder that keeps a copy of that host memory for the next start.
    pub prefix_cache: Option<PrefixCacheFolder>,
    /// Longest time of a step with rows of a prompt, in times of a pure decode step, ≥ 1 (bounds the ITL that prompts
    /// cause). Where several wait, prompt rows may add more, up to 19 decode steps or 250 ms. A step of 60 ms is never
    /// too long, and a chunk is never so small that its rows are computed slowly.
    pub prefill_step_ratio: f32,
    /// Longest time of a step with decode rows and prompt rows, ms, ≥ 1, however many prompts wait. Replaces the ratio.
    pub target_itl_ms: Option<u32>,
    /// The GGUF file of a smaller model with the same vocabulary that guesses ahead (llama.cpp `--model-draft`).
    /// `None`: guesses come from the text itself.
    pub draft_model: Option<PathBuf>,
    /// The files of `draft_model`, as in `model_files`.
    pub draft_files: Vec<OpenedFile>,
    /// Largest number of tokens of a draft (vLLM's name); 0 for no speculation.
    pub num_speculative_tokens: u32,
}

/// Largest number of sequences in one step, if the options do not say it.
pub const DEFAULT_MAX_NUM_SEQS: u32 = 16;

impl EngineOptions {
    /// Number of sequences in one step at most, as far as the options tell it.
    #[must_use]
    pub fn max_num_seqs(&self) -> u32 {
        self.max_num_seqs.unwrap_or(DEFAULT_MAX_NUM_SEQS)
    }

    /// The options of `llamero serve` for this model without any other option.
    #[must_use]
    pub fn new(model_path: PathBuf) -> Self {
        Self {
            model_path,
            model_files: Vec::new(),
            max_model_len: None,
            max_num_seqs: None,
            rope_scaling: RopeScaling::default(),
            rope_scale: None,
            max_num_batched_tokens: 512,
            n_gpu_layers: None,
            threads: None,
            kv_layout: KvLayout::default(),
            kv_cache_tokens: None,
            kv_cache_dtype: KvType::default(),
            flash_attn: FlashAttention::default(),
            rpc_workers: Vec::new(),
            no_mmap: false,
            mlock: false,
            no_calibration: false,
            swa_full: false,
            swap_space_bytes: None,
            prefix_cache: None,
            prefill_step_ratio: 8.0,
            target_itl_ms: None,
            draft_model: None,
            draft_files: Vec::new(),
            num_speculative_tokens: 8,
        }
    }
}

/// A file of a model, held open by the server for as long as the server runs, with the facts that identify it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedFile {
    /// The file's name when it was opened; by now another file may have the name.
    pub name: PathBuf,
    /// A path to the open file itself, even if its name was given to another file (`/proc/PID/fd/N`, proc_pid_fd(5)).
    /// `None` where there is no such path.
    pub held: Option<PathBuf>,
    /// Device number (`st_dev` of stat(2)).
    pub device: u64,
    /// Inode number (`st_ino`).
    pub inode: u64,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Time of the file's last change: seconds since 1970, and nanoseconds (`st_mtim`).
    pub modified: (i64, i64),
}

/// A folder that outlives engines and holds the contents that they parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixCacheFolder {
    /// The path of the folder, which exists. One engine uses the folder at a time.
    pub path: PathBuf,
    /// A checksum of the model's files, which tells them from any others.
    pub model_checksum: String,
    /// True if the folder's contents are deleted unread: an engine died, perhaps of them.
    pub discard: bool,
}

/// The layout of the sequences' KV cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvLayout {
    /// A stream of `max_model_len` cells per sequence: attention walks only its own cells. Sharing a prefix copies it.
    #[default]
    Split,
    /// One pool of cells: sharing a prefix is free, and more sequences than fit at full length may run.
    Unified,
}

/// The storage type of the numbers of keys and values. Quantized types need flash attention: without it llama.cpp keeps
/// values transposed, and a block of quantized numbers cannot be transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvType {
    /// 16 bits; all of this project's figures are measured with this type.
    #[default]
    F16,
    /// 16 bits, with the exponent of a 32-bit float.
    Bf16,
    /// Blocks of 32 numbers in 34 bytes.
    Q8_0,
    /// Blocks of 32 numbers in 18 bytes.
    Q4_0,
}

impl KvType {
    /// Numbers in a block.
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

    /// The type's name in options and logs.
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

/// Use of flash attention: attention in blocks, without a matrix of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlashAttention {
    /// Used where it is faster on the computing device, and where the type of the KV cells needs it.
    #[default]
    Auto,
    /// Always used.
    On,
    /// Never used.
    Off,
}

/// The way in which positions beyond the training context are computed (llama.cpp `--rope-scaling`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RopeScaling {
    /// The way that the model's file names. There are no positions beyond the training context then.
    #[default]
    Model,
    /// The same way as those within it.
    None,
    /// All positions are divided by the number of times that the context is stretched (Chen et al. 2023, position
    /// interpolation).
    Linear,
    /// `YaRN` (Peng et al. 2023): slow rotations are divided, fast ones stay.
    Yarn,
}

impl RopeScaling {
    /// The word for it in the option `rope_scaling`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::None => "none",
            Self::Linear => "linear",
            Self::Yarn => "yarn",
        }
    }
}
