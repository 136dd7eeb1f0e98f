//! Options of the model and of the engine that opens it.

use super::{Kind, OptionSpec, values::Values};
use crate::protocol::{EngineOptions, KvLayout};
use std::path::PathBuf;

const NO_WORDS: &[&str] = &[];

pub(super) const MODEL: OptionSpec =
    OptionSpec::new("model", Kind::Text, "smollm2-135m-instruct", "Path of a GGUF file, or a name that `llamero models` lists.")
        .also(&["-m"], &["LLAMA_ARG_MODEL"]);
pub(super) const MODELS_DIR: OptionSpec = OptionSpec::new(
    "models_dir",
    Kind::Text,
    "",
    "Where models are downloaded to and looked up; by default models/ of a checkout, else the user's data directory.",
);
const MAX_MODEL_LEN: OptionSpec = OptionSpec::new(
    "max_model_len",
    Kind::Integer { min: 2, max: 16_777_216, auto: &["auto", "0", "-1"] },
    "auto",
    "Longest prompt + completion of one sequence, tokens (llama-server's -c is shared among all); auto is the training context, at most 8192 and less where memory is short.",
)
.also(&["-c", "--ctx-size"], &["LLAMA_ARG_CTX_SIZE"]);
const MAX_NUM_SEQS: OptionSpec =
    OptionSpec::new("max_num_seqs", Kind::Integer { min: 1, max: 256, auto: NO_WORDS }, "16", "Sequences in one step at most.")
        .also(&["-np", "--parallel"], &["LLAMA_ARG_N_PARALLEL"]);
const MAX_NUM_BATCHED_TOKENS: OptionSpec = OptionSpec::new(
    "max_num_batched_tokens",
    Kind::Integer { min: 1, max: 65_536, auto: NO_WORDS },
    "512",
    "Tokens in one step at most, of all sequences together; at least max_num_seqs.",
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
    "CPU threads of a step; auto is the number of physical cores.",
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
const SWAP_SPACE: OptionSpec = OptionSpec::new(
    "swap_space",
    Kind::Number { min: 0.0, max: 65_536.0, auto: &["auto"] },
    "auto",
    "Host memory for cached KV that has to give way, GiB; 0 is none, auto a sixteenth of the machine's memory and at most 4.",
);
const PREFILL_STEP_RATIO: OptionSpec = OptionSpec::new(
    "prefill_step_ratio",
    Kind::Number { min: 1.0, max: 100.0, auto: NO_WORDS },
    "2.0",
    "How many times longer than a step of running streams one may take that also works on a long prompt; 25 ms are always fine.",
);

pub(super) const OPTIONS: &[OptionSpec] = &[
    MODEL,
    MODELS_DIR,
    MAX_MODEL_LEN,
    MAX_NUM_SEQS,
    MAX_NUM_BATCHED_TOKENS,
    N_GPU_LAYERS,
    THREADS,
    KV_LAYOUT,
    KV_CACHE_TOKENS,
    SWAP_SPACE,
    PREFILL_STEP_RATIO,
];

/// Reads what an engine needs; the model's path is found later.
pub(super) fn read_engine(values: &mut Values) -> EngineOptions {
    let options = EngineOptions {
        model_path: PathBuf::new(),
        max_model_len: values.optional_integer(&MAX_MODEL_LEN),
        max_num_seqs: values.integer(&MAX_NUM_SEQS),
        max_num_batched_tokens: values.integer(&MAX_NUM_BATCHED_TOKENS),
        n_gpu_layers: values.optional_integer(&N_GPU_LAYERS),
        threads: values.optional_integer(&THREADS),
        kv_layout: values.choice(&KV_LAYOUT, |word| match word {
            "split" => Some(KvLayout::Split),
            "unified" => Some(KvLayout::Unified),
            _ => None,
        }),
        kv_cache_tokens: values.optional_integer(&KV_CACHE_TOKENS),
        // Whole bytes of at most 2⁴⁶; the cast cuts a part of one.
        swap_space_bytes: values.optional_number(&SWAP_SPACE).map(|gib| (f64::from(gib) * f64::from(1 << 30)) as u64),
        prefill_step_ratio: values.number(&PREFILL_STEP_RATIO),
    };
    check_together(values, &options);
    options
}

fn check_together(values: &mut Values, options: &EngineOptions) {
    if options.max_num_batched_tokens < options.max_num_seqs {
        let (tokens, seqs) = (options.max_num_batched_tokens, options.max_num_seqs);
        let message = format!("{tokens} is less than max_num_seqs, {seqs}: every sequence needs a token in each step");
        values.problem(&MAX_NUM_BATCHED_TOKENS, message);
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
