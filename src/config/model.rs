//! Options of the model and of the engine that opens it.

use super::{Kind, OptionSpec, values::SettingsReader};
use crate::protocol::{EngineOptions, FlashAttention, KvLayout, KvType, RopeScaling};
use std::path::PathBuf;

const NO_WORDS: &[&str] = &[];

pub(super) const MODEL: OptionSpec =
    OptionSpec::new("model", Kind::Text, "smollm2-135m-instruct", "Path of a GGUF file, or a name that `llamero models` lists.")
        .also(&["-m"], &["LLAMA_ARG_MODEL"]);
pub(super) const MODELS_DIR: OptionSpec = OptionSpec::new(
    "models_dir",
    Kind::Text,
    "",
    "Folder for downloaded models; by default models/ of a checkout, else the user's data directory.",
);
const MAX_MODEL_LEN: OptionSpec = OptionSpec::new(
    "max_model_len",
    Kind::Integer { min: 2, max: 16_777_216, auto: &["auto", "0", "-1"] },
    "auto",
    "Longest prompt + completion of one sequence, tokens (llama-server's -c is shared among all); auto is the training context, at most 32768, and less where four such sequences have no room in a quarter of the memory (four fifths of a GPU's).",
)
.also(&["-c", "--ctx-size"], &["LLAMA_ARG_CTX_SIZE"]);
const MAX_NUM_SEQS: OptionSpec = OptionSpec::new(
    "max_num_seqs",
    Kind::Integer { min: 1, max: 256, auto: &["auto"] },
    "auto",
    "Sequences in one step at most; auto is as many as have room in memory at that length, up to 16.",
)
.also(&["-np", "--parallel"], &["LLAMA_ARG_N_PARALLEL"]);
const ROPE_SCALING: OptionSpec = OptionSpec::new(
    "rope_scaling",
    Kind::Choice(&["model", "none", "linear", "yarn"]),
    "model",
    "How positions beyond the training context are computed, so that max_model_len may be longer; texts, short ones too, may lose quality. With model it may not be longer.",
)
.also(&[], &["LLAMA_ARG_ROPE_SCALING_TYPE"]);
const ROPE_SCALE: OptionSpec = OptionSpec::new(
    "rope_scale",
    Kind::Number { min: 1.0, max: 1024.0, auto: &["auto"] },
    "auto",
    "Factor by which linear and yarn stretch the context that the file had before any stretch of its own (as in llama.cpp); auto is the factor that max_model_len needs.",
)
.also(&[], &["LLAMA_ARG_ROPE_SCALE"]);
const MAX_NUM_BATCHED_TOKENS: OptionSpec = OptionSpec::new(
    "max_num_batched_tokens",
    Kind::Integer { min: 1, max: 65_536, auto: NO_WORDS },
    "512",
    "Largest number of tokens in one step, of all sequences together; at least max_num_seqs.",
)
.also(&["-b", "--batch-size"], &["LLAMA_ARG_BATCH"]);
const N_GPU_LAYERS: OptionSpec = OptionSpec::new(
    "n_gpu_layers",
    Kind::Integer { min: 0, max: 10_000, auto: &["all", "auto", "-1"] },
    "all",
    "Layers to put on the GPU, where a GPU backend is built in.",
)
.also(&["-ngl", "--gpu-layers"], &["LLAMA_ARG_N_GPU_LAYERS"]);
const THREADS: OptionSpec = OptionSpec::new(
    "threads",
    Kind::Integer { min: 1, max: 1024, auto: &["auto", "0", "-1"] },
    "auto",
    "CPU threads of a step; auto is the number of physical cores, and fewer while other programs keep some of them busy.",
)
.also(&["-t"], &["LLAMA_ARG_THREADS"]);
const KV_LAYOUT: OptionSpec = OptionSpec::new(
    "kv_layout",
    Kind::Choice(&["split", "unified"]),
    "split",
    "KV cells per sequence (split: fastest) or in one pool (unified: more sequences than fit at full length).",
);
const KV_CACHE_TOKENS: OptionSpec = OptionSpec::new(
    "kv_cache_tokens",
    Kind::Integer { min: 16, max: 2_147_483_647, auto: &["auto"] },
    "auto",
    "KV cells of the unified pool, tokens; auto is max_num_seqs times max_model_len.",
);
const KV_CACHE_DTYPE: OptionSpec = OptionSpec::new(
    "kv_cache_dtype",
    Kind::Choice(&["auto", "f16", "bf16", "q8_0", "q4_0"]),
    "auto",
    "Type of the KV cells; auto is f16, q8_0 takes 0.53 times its memory and q4_0 0.28 times.",
);
const FLASH_ATTN: OptionSpec = OptionSpec::new(
    "flash_attn",
    Kind::Choice(&["auto", "on", "off"]),
    "auto",
    "Flash attention, which computes in blocks; auto is on for q8_0 and q4_0 cells, off on a CPU otherwise, and on for GPUs that support it.",
)
.also(&["-fa"], &["LLAMA_ARG_FLASH_ATTN"]);
const RPC: OptionSpec = OptionSpec::new(
    "rpc",
    Kind::List,
    "",
    "RPC workers (`llamero rpc-worker`) as HOST:PORT, whose memory holds layers of the model: for a model that is larger than one machine, not for speed. Only on loopback and private addresses.",
)
.also(&[], &["LLAMA_ARG_RPC"]);
const INSECURE_RPC: OptionSpec = OptionSpec::new(
    "insecure_rpc",
    Kind::Switch,
    "false",
    "Allow RPC workers at addresses that are not private; whoever is on the way reads and changes everything.",
);
const NO_MMAP: OptionSpec = OptionSpec::new(
    "no_mmap",
    Kind::Switch,
    "false",
    "Read the weights into memory instead of mapping the file: a longer load, for disks and file systems on which mapped files are slow. They then count as this process's memory.",
)
.also(&[], &["LLAMA_ARG_NO_MMAP"]);
const MLOCK: OptionSpec = OptionSpec::new(
    "mlock",
    Kind::Switch,
    "false",
    "Lock the weights in memory, so that other programs never push them out. Needs a limit of locked memory of that size: LimitMEMLOCK in a unit, ulimit -l in a shell.",
)
.also(&[], &["LLAMA_ARG_MLOCK"]);
const NO_CALIBRATION: OptionSpec = OptionSpec::new(
    "no_calibration",
    Kind::Switch,
    "false",
    "Measure nothing when a model is loaded. By default the first start of a model takes up to about 2 s more to measure where prompts are best cut on this machine, and keeps the times in the user's cache folder.",
);
const SWA_FULL: OptionSpec = OptionSpec::new(
    "swa_full",
    Kind::Switch,
    "false",
    "Keep the KV that a sliding window has passed: several times the memory, but a cached prompt then serves every prompt with the same beginning, not only those that continue it.",
)
.also(&[], &["LLAMA_ARG_SWA_FULL"]);
const SWAP_SPACE: OptionSpec = OptionSpec::new(
    "swap_space",
    Kind::Number { min: 0.0, max: 65_536.0, auto: &["auto"] },
    "auto",
    "Host memory for cached KV that no longer fits the KV cache, GiB; 0 is none, auto is a sixteenth of the machine's memory, up to 4.",
);
const PREFIX_CACHE_DIR: OptionSpec = OptionSpec::new(
    "prefix_cache_dir",
    Kind::Text,
    "",
    "Folder that keeps the contents of swap_space for the next start. It belongs to one server and is readable to its user alone, since it holds texts of users. Empty keeps nothing.",
);
const PREFILL_STEP_RATIO: OptionSpec = OptionSpec::new(
    "prefill_step_ratio",
    Kind::Number { min: 1.0, max: 100.0, auto: NO_WORDS },
    "8.0",
    "Longest step with rows of a prompt, as a multiple of a step of running streams alone; up to 60 ms are always allowed, more while more requests wait than stream, and less beside more than four streams.",
);

const TARGET_ITL_MS: OptionSpec = OptionSpec::new(
    "target_itl_ms",
    Kind::Integer { min: 1, max: 60_000, auto: &["auto"] },
    "auto",
    "Target gap between tokens of running streams while prompts are computed, ms; auto follows prefill_step_ratio.",
);
pub(super) const DRAFT_MODEL: OptionSpec = OptionSpec::new(
    "draft_model",
    Kind::Text,
    "",
    "Path of a smaller GGUF model with the same vocabulary, or a name that `llamero models` lists. It guesses the next tokens; without it they are guessed from the text so far.",
)
.also(&["-md", "--model-draft"], &["LLAMA_ARG_MODEL_DRAFT"]);
const NUM_SPECULATIVE_TOKENS: OptionSpec = OptionSpec::new(
    "num_speculative_tokens",
    Kind::Integer { min: 0, max: 64, auto: NO_WORDS },
    "8",
    "Largest number of tokens to guess ahead; fewer or none where that does not pay, and none for requests with a seed. 0 turns it off.",
)
.also(&["--draft-max"], &["LLAMA_ARG_DRAFT_MAX"]);

pub(super) const OPTIONS: &[OptionSpec] = &[
    MODEL,
    MODELS_DIR,
    MAX_MODEL_LEN,
    MAX_NUM_SEQS,
    ROPE_SCALING,
    ROPE_SCALE,
    MAX_NUM_BATCHED_TOKENS,
    N_GPU_LAYERS,
    THREADS,
    KV_LAYOUT,
    KV_CACHE_TOKENS,
    KV_CACHE_DTYPE,
    FLASH_ATTN,
    RPC,
    INSECURE_RPC,
    NO_MMAP,
    MLOCK,
    NO_CALIBRATION,
    SWA_FULL,
    SWAP_SPACE,
    PREFIX_CACHE_DIR,
    PREFILL_STEP_RATIO,
    TARGET_ITL_MS,
    DRAFT_MODEL,
    NUM_SPECULATIVE_TOKENS,
];

/// Reads the options of the engine; the model's path is found later.
pub(super) fn read_engine(values: &mut SettingsReader) -> EngineOptions {
    let options = EngineOptions {
        model_path: PathBuf::new(),
        model_files: Vec::new(),
        max_model_len: values.optional_integer(&MAX_MODEL_LEN),
        max_num_seqs: values.optional_integer(&MAX_NUM_SEQS),
        rope_scaling: values.choice(&ROPE_SCALING, |word| match word {
            "model" => Some(RopeScaling::Model),
            "none" => Some(RopeScaling::None),
            "linear" => Some(RopeScaling::Linear),
            "yarn" => Some(RopeScaling::Yarn),
            _ => None,
        }),
        rope_scale: values.optional_number(&ROPE_SCALE),
        max_num_batched_tokens: values.integer(&MAX_NUM_BATCHED_TOKENS),
        n_gpu_layers: values.optional_integer(&N_GPU_LAYERS),
        threads: values.optional_integer(&THREADS),
        kv_layout: values.choice(&KV_LAYOUT, |word| match word {
            "split" => Some(KvLayout::Split),
            "unified" => Some(KvLayout::Unified),
            _ => None,
        }),
        kv_cache_tokens: values.optional_integer(&KV_CACHE_TOKENS),
        kv_cache_dtype: values.choice(&KV_CACHE_DTYPE, |word| match word {
            "auto" | "f16" => Some(KvType::F16),
            "bf16" => Some(KvType::Bf16),
            "q8_0" => Some(KvType::Q8_0),
            "q4_0" => Some(KvType::Q4_0),
            _ => None,
        }),
        flash_attn: values.choice(&FLASH_ATTN, |word| match word {
            "auto" => Some(FlashAttention::Auto),
            "on" => Some(FlashAttention::On),
            "off" => Some(FlashAttention::Off),
            _ => None,
        }),
        rpc_workers: Vec::new(),
        no_mmap: values.switch(&NO_MMAP),
        mlock: values.switch(&MLOCK),
        no_calibration: values.switch(&NO_CALIBRATION),
        swa_full: values.switch(&SWA_FULL),
        // The value is a number of whole bytes up to 2⁴⁶; the cast cuts off a fraction.
        swap_space_bytes: values.optional_number(&SWAP_SPACE).map(|gib| (f64::from(gib) * f64::from(1 << 30)) as u64),
        prefix_cache: None,
        prefill_step_ratio: values.number(&PREFILL_STEP_RATIO),
        target_itl_ms: values.optional_integer(&TARGET_ITL_MS),
        draft_model: None,
        draft_files: Vec::new(),
        num_speculative_tokens: values.integer(&NUM_SPECULATIVE_TOKENS),
    };
    check_together(values, &options);
    options
}

/// The RPC workers, as the user named them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RpcConfig {
    /// `HOST:PORT` each.
    pub workers: Vec<String>,
    /// True if they may be at addresses that are not private.
    pub insecure: bool,
}

impl RpcConfig {
    pub(super) fn read(values: &mut SettingsReader, engine: &EngineOptions) -> Self {
        let config = Self { workers: values.list(&RPC), insecure: values.switch(&INSECURE_RPC) };
        let has_port =
            |worker: &&String| worker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        for worker in config.workers.iter().filter(|worker| !has_port(worker)) {
            values.problem(&RPC, format!("{worker:?} is not a host and a port, such as 10.0.0.2:50052"));
        }
        if !config.workers.is_empty() && engine.n_gpu_layers == Some(0) {
            values.problem(&RPC, "the workers hold the layers that n_gpu_layers puts there, and it is 0; leave it out, or leave this out");
        }
        config
    }
}

/// Reads the folder for parked content; `None` if it is not kept on disk.
pub(super) fn read_prefix_cache_dir(values: &mut SettingsReader, engine: &EngineOptions) -> Option<PathBuf> {
    let folder = values.optional_text(&PREFIX_CACHE_DIR).map(PathBuf::from)?;
    if engine.swap_space_bytes == Some(0) {
        values.problem(&PREFIX_CACHE_DIR, "keeps what is in swap_space, which is 0; give that some GiB, or leave this out");
    }
    Some(folder)
}

fn check_together(values: &mut SettingsReader, options: &EngineOptions) {
    if let Some(seqs) = options.max_num_seqs.filter(|seqs| options.max_num_batched_tokens < *seqs) {
        let tokens = options.max_num_batched_tokens;
        let message = format!("{tokens} is less than max_num_seqs, {seqs}: every sequence needs a token in each step");
        values.problem(&MAX_NUM_BATCHED_TOKENS, message);
    }
    if options.rope_scale.is_some() && !matches!(options.rope_scaling, RopeScaling::Linear | RopeScaling::Yarn) {
        values.problem(&ROPE_SCALE, "is for rope_scaling linear and yarn; choose one of them, or leave this out");
    }
    if options.kv_cache_dtype.is_quantized() && options.flash_attn == FlashAttention::Off {
        values.problem(&FLASH_ATTN, format!("kv_cache_dtype {} needs it; leave this at auto", options.kv_cache_dtype.name()));
    }
    match (options.kv_cache_tokens, options.kv_layout, options.max_model_len) {
        (Some(_), KvLayout::Split, _) => {
            values.problem(&KV_CACHE_TOKENS, "only the unified layout has a pool; set kv_layout to unified, or leave this out");
        }
        (Some(cells), KvLayout::Unified, Some(length)) if cells < length => {
            values.problem(&KV_CACHE_TOKENS, format!("{cells} is less than max_model_len, {length}: no such sequence would fit"));
        }
        _ => {}
    }
}
