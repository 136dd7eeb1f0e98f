//! Turns a GGUF file into a model in memory: backend, header, weights, tokenizer, plan, memory.
//!
//! Loading blocks for as long as the disk takes, and belongs in an engine process: a malformed file that passes the
//! checks here may still end the process.

use super::{
    affixes,
    backend::{EXCLUSIVE, backend, has_gpu, load_file},
    cells::{CellShape, Defaults},
    cpu,
    embed_plan::{EmbedGiven, EmbedPlan, is_causal, pooling},
    files::Files,
    fit::{self, Room, Sizes},
    loaded::{EmbeddingModel, GeneratingModel, LoadedFile, LoadedModel},
    measure,
    memory::{self, Free},
    notes::TimeNotes,
    plan::{Given, Plan, PlannedWindow},
    raw,
    rope::{Trained, stretched_thousandths},
    rpc,
    suitability::{architecture, check_header, check_model},
    tokenizer::LlamaTokenizer,
};
use crate::{
    engine::runner::Tokenizer,
    protocol::{EngineOptions, KvLayout, LoadError, MemoryNeed, MemoryPlace, Pooling, Token},
};
use llama_cpp_2::model::LlamaModel;
use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

/// The number of layers that means all: no model has as many.
const ALL_LAYERS: u32 = 999;
/// Memory for KV cells below which default sizes are not lowered any more.
const LEAST_BUDGET_BYTES: u64 = 64 << 20;

/// Loads the model that `options` name. `progress` gets the share that is loaded, 0–1, on this thread; a panic in it
/// fails the load. It is `'static` because llama-cpp-2 keeps it boxed; give it a channel.
///
/// # Errors
/// `NotFound`, `NotGguf`, `Changed` if a file was changed since the server opened it, `Unsupported` with the option to
/// change, or `Backend` with llama.cpp's own words.
pub fn load(options: &EngineOptions, progress: impl FnMut(f32) + 'static) -> Result<LoadedModel, LoadError> {
    let started = Instant::now();
    let backend = backend()?;
    let _exclusive = EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner);
    rpc::connect(&options.rpc_workers)?;
    let files = Files::find(&options.model_path, &options.model_files)?;
    check_header(files.path(), &options.model_path)?;

    let can_offload = has_gpu();
    let gpu_layers = options.n_gpu_layers.unwrap_or(if can_offload { ALL_LAYERS } else { 0 });
    let on_gpu = can_offload && gpu_layers > 0;
    let before = (memory::host(), if on_gpu { memory::gpus() } else { None });
    let model = load_file(backend, files.path(), gpu_layers, options, progress)?;
    if options.mlock && !on_gpu {
        warn_unless_locked(&model);
    }
    files.check()?;
    let metadata = |key: &str| model.meta_val_str(key).ok();
    let architecture = architecture(&model);
    let pooling = pooling(&architecture, metadata, model.n_cls_out())?;
    check_model(&model, pooling.is_some())?;
    let cores = cpu::cores();
    let (n_ctx_train, heads, cells) = (model.n_ctx_train(), model.n_head(), cells(&model));
    let causal = is_causal(&architecture, metadata);
    let trained = trained(&model, &architecture);
    let model = Arc::new(model);
    let tokenizer = LlamaTokenizer::new(Arc::clone(&model));
    let shape = if causal { cells.clone() } else { CellShape::none() };
    let sizes = sizes(&model, shape, if on_gpu { gpu_layers } else { 0 }, tokenizer.vocabulary_size());
    let (plan, embedding, tokenizer) = if let Some(pooling) = pooling {
        if model.is_recurrent() || model.is_hybrid() {
            return Err(LoadError::Unsupported(format!("{architecture} models with a state are not served for embeddings")));
        }
        let dimensions = if matches!(pooling, Pooling::Rank(_)) { 1 } else { u32::try_from(model.n_embd_out()).unwrap_or(0) };
        let vocabulary_size = tokenizer.vocabulary_size();
        let plan = EmbedPlan::new(pooling, options, EmbedGiven { n_ctx_train, vocabulary_size, heads, dimensions, causal, cores, on_gpu })?;
        let (affixes, tokenizer) = affixes::read(&model, tokenizer)?;
        (plan.context(), Some((plan, affixes)), tokenizer)
    } else {
        cells.check(options.kv_cache_dtype)?;
        let (cell_bytes, kv_budget_bytes) = (cells.bytes(options.kv_cache_dtype), memory::kv_budget_bytes(on_gpu));
        let given = Given { trained, cores, on_gpu, heads, cell_bytes, window: None, kv_budget_bytes };
        let has_room = |plan: &Plan| has_room(plan, &sizes, before);
        let plan = plan_generating(options, given, has_room, |plan| {
            let token = tokenizer.bos().unwrap_or(Token(0));
            if has_window(&model) { measure::window(&model, backend, plan, token) } else { Ok(None) }
        })?;
        (plan, None, tokenizer)
    };
    let memory = fit(&plan, &sizes, before)?;
    let file = LoadedFile {
        tokenizer: Arc::new(tokenizer),
        model,
        n_ctx_train,
        plan,
        on_gpu,
        memory,
        slow_kernels: cpu::slow_kernels(&raw::system_info()),
        file_stem: options.model_path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        started,
    };
    Ok(match embedding {
        Some((plan, affixes)) => LoadedModel::Embeds(EmbeddingModel { file, plan, affixes }),
        None => {
            let swap_bytes = options.swap_space_bytes.unwrap_or_else(memory::swap_bytes);
            let head = if on_gpu { None } else { cells.attention(heads, options.kv_cache_dtype) };
            let measures = !options.no_calibration && !on_gpu;
            let notes = measures.then(|| TimeNotes::of_user(&cpu::description(&raw::system_info())));
            LoadedModel::Generates(GeneratingModel { file, swap_bytes, head, notes })
        }
    })
}

/// Says that weights which should be locked in memory are not: llama.cpp goes on without.
fn warn_unless_locked(model: &LlamaModel) {
    // Weights that llama.cpp arranges anew for its kernels are in memory that it does not lock.
    if memory::locked_bytes().is_some_and(|locked| locked < model.size() / 2) {
        tracing::warn!(
            "--mlock: most of the weights are not locked in memory, because the limit is too low; raise it with LimitMEMLOCK=infinity in \
             a unit, `ulimit -l unlimited` in a shell, or --ulimit memlock=-1 for a container"
        );
    }
}

/// Plans the context of a model that generates. Where the options leave sizes open and the planned ones have no room in
/// the memory that is free now, smaller ones are planned.
///
/// # Errors
/// Those of [`Plan::new`] and of `window`, which measures the model's sliding window.
fn plan_generating(
    options: &EngineOptions,
    mut given: Given,
    has_room: impl Fn(&Plan) -> bool,
    window: impl Fn(&Plan) -> Result<Option<PlannedWindow>, LoadError>,
) -> Result<Plan, LoadError> {
    let is_pool = options.kv_layout == KvLayout::Unified && options.kv_cache_tokens.is_some();
    let is_open = !is_pool && (options.max_model_len.is_none() || options.max_num_seqs.is_none());
    given.window = window(&Plan::new(options, given)?)?;
    loop {
        let plan = Plan::new(options, given)?;
        if !is_open || has_room(&plan) || given.kv_budget_bytes < LEAST_BUDGET_BYTES {
            return Ok(plan);
        }
        given.kv_budget_bytes /= 2;
    }
}

fn sizes(model: &LlamaModel, cells: CellShape, gpu_layers: u32, vocabulary_size: u32) -> Sizes {
    Sizes {
        weights_bytes: model.size(),
        cells,
        cells_at_most: model.is_hybrid(),
        layers: model.n_layer(),
        gpu_layers,
        width: u32::try_from(model.n_embd()).unwrap_or(0),
        heads: model.n_head(),
        vocabulary_size,
    }
}

/// The context that a model was trained for.
fn trained(model: &LlamaModel, architecture: &str) -> Trained {
    Trained {
        length: model.n_ctx_train(),
        stretched_thousandths: stretched_thousandths(architecture, |key| model.meta_val_str(key).ok()),
        rotates: model.rope_type().is_some(),
    }
}

/// The same as [`load`], for a model that generates.
///
/// # Errors
/// The errors of [`load`], and `Unsupported` if the model embeds.
pub fn load_generating(options: &EngineOptions, progress: impl FnMut(f32) + 'static) -> Result<GeneratingModel, LoadError> {
    match load(options, progress)? {
        LoadedModel::Generates(model) => Ok(model),
        LoadedModel::Embeds(_) => Err(LoadError::Unsupported("the model embeds and does not generate".to_owned())),
    }
}

/// True if the file names a sliding window.
fn has_window(model: &LlamaModel) -> bool {
    let key = format!("{}.attention.sliding_window", architecture(model));
    let window: u32 = model.meta_val_str(&key).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    window > 0 && !model.is_recurrent() && !model.is_hybrid()
}

/// The shape of a model's cells, from its file. For an encoder, which has none, the caller ignores it.
fn cells(model: &LlamaModel) -> CellShape {
    if model.is_recurrent() {
        return CellShape::none();
    }
    let width = u32::try_from(model.n_embd()).unwrap_or(0) / model.n_head().max(1);
    let defaults = Defaults { layers: model.n_layer(), heads: model.n_head_kv(), width };
    CellShape::read(&architecture(model), |key| model.meta_val_str(key).ok(), defaults)
}

/// Compares a plan with the memory before the model was loaded and the memory now, on the host and the GPUs.
fn fit(plan: &Plan, sizes: &Sizes, before: (Option<Free>, Option<Free>)) -> Result<Vec<MemoryNeed>, LoadError> {
    let rooms = rooms(sizes, before);
    let needs = fit::needs(plan, sizes, &rooms);
    for need in needs.iter().filter(|need| need.is_tight()) {
        // Logged here too: if the kernel kills this process for its memory, this is its last log line.
        tracing::warn!(?need, "the model and its context need more memory than is available; lower --max-model-len or --max-num-seqs");
    }
    fit::check(plan, sizes, &needs, &rooms)?;
    Ok(needs)
}

/// True if a context has room in the memory that is free now.
fn has_room(plan: &Plan, sizes: &Sizes, before: (Option<Free>, Option<Free>)) -> bool {
    let rooms = rooms(sizes, before);
    let needs = fit::needs(plan, sizes, &rooms);
    fit::check(plan, sizes, &needs, &rooms).is_ok()
}

/// The kinds of memory that a model uses. `before` is the free memory, host's and GPUs', before its weights were
/// loaded.
fn rooms(sizes: &Sizes, before: (Option<Free>, Option<Free>)) -> Vec<Room> {
    let host = Room { place: MemoryPlace::Host, before: before.0, now: memory::host() };
    let gpu = Room { place: MemoryPlace::Gpu, before: before.1, now: memory::gpus() };
    if sizes.gpu_layers > 0 { vec![gpu, host] } else { vec![host] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A model of 1,000 bytes a cell, with memory for 16 sequences of 32,768 cells.
    fn given() -> Given {
        let trained = Trained { length: 131_072, stretched_thousandths: 1000, rotates: true };
        Given { trained, cores: 2, on_gpu: false, heads: 8, cell_bytes: 1000, window: None, kv_budget_bytes: 600_000_000 }
    }

    fn planned(options: &EngineOptions, has_room: impl Fn(&Plan) -> bool) -> (u32, u32) {
        let plan = plan_generating(options, given(), has_room, |_| Ok(None)).unwrap();
        (plan.slots, plan.max_model_len)
    }

    #[test]
    fn sizes_that_are_open_are_lowered_until_they_have_room() {
        let open = EngineOptions::new("model.gguf".into());

        assert_eq!(planned(&open, |_| true), (16, 32_768));
        assert_eq!(planned(&open, |plan| plan.kv_cells <= 200_000), (4, 32_768));
        assert_eq!(planned(&open, |plan| plan.max_model_len <= 8192), (4, 8192));
        assert_eq!(planned(&open, |_| false), (4, 8192), "the smallest that is tried; the check after it refuses");
    }

    #[test]
    fn sizes_that_were_asked_for_are_kept_without_room() {
        let asked = EngineOptions { max_model_len: Some(9000), max_num_seqs: Some(3), ..EngineOptions::new("model.gguf".into()) };

        assert_eq!(planned(&asked, |_| false), (3, 9000));
    }

    #[test]
    fn the_window_is_measured_once() {
        let measured = Cell::new(0);
        let window = |_: &Plan| {
            measured.set(measured.get() + 1);
            Ok(None)
        };

        plan_generating(&EngineOptions::new("model.gguf".into()), given(), |_| false, window).unwrap();

        assert_eq!(measured.get(), 1);
    }
}
