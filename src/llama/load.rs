//! From a GGUF file to something that can run: backend, model, tokenizer, and a runner on the caller's thread.
//!
//! Loading blocks for as long as the disk takes and belongs in an engine process: a malformed file that passes the checks here may
//! still end it.

use super::{
    around::{self, Around},
    backend::{EXCLUSIVE, backend, backend_error, load_file},
    cells::{CellShape, Defaults},
    context::context_params,
    cpu,
    embed_plan::{EmbedGiven, EmbedPlan, is_causal, pooling},
    embedder::LlamaEmbedder,
    files::Files,
    fit::{self, Room, Sizes},
    log, measure,
    memory::{self, Free},
    plan::{Given, Plan},
    raw,
    runner::LlamaRunner,
    suitability::{architecture, check_header, check_model},
    tokenizer::LlamaTokenizer,
};
use crate::{
    engine::{
        embedder::Embedder,
        runner::{KvOp, ModelRunner, Row, Slot, Step, Tokenizer},
    },
    protocol::{
        EmbeddingInfo, EngineOptions, FimTokens, KvWindow, LoadError, MemoryNeed, MemoryPlace, ModelInfo, Pooling, SequenceId, Token,
    },
};
use llama_cpp_2::{
    LlamaBackendDeviceType,
    context::{
        LlamaContext,
        params::{LlamaContextParams, LlamaPoolingType},
    },
    list_llama_ggml_backend_devices,
    model::LlamaModel,
    token::LlamaToken,
    vocab::LlamaVocab,
};
use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

/// More layers than any model has: all of them.
const ALL_LAYERS: u32 = 999;

/// A model in memory, its tokenizer, and the sizes that its runner will have.
pub struct Loaded {
    model: Arc<LlamaModel>,
    tokenizer: Arc<LlamaTokenizer>,
    plan: Plan,
    /// Host memory for what slots held, bytes.
    swap_bytes: u64,
    /// Set for a model that embeds.
    embedding: Option<(EmbedPlan, Around)>,
    on_gpu: bool,
    memory: Vec<MemoryNeed>,
    slow_kernels: Option<String>,
    /// File name without extension, for files that do not name their model.
    file_stem: String,
    started: Instant,
}

/// Loads the model that `options` name. `progress` hears the share that is loaded, 0–1, on this thread; a panic in it
/// fails the load. `'static` because llama-cpp-2 keeps it boxed; give it a channel.
///
/// # Errors
/// `NotFound`, `NotGguf`, `Changed` if a file is not what the server opened, `Unsupported` with the option to change, or `Backend`
/// with llama.cpp's own words.
pub fn load(options: &EngineOptions, progress: impl FnMut(f32) + 'static) -> Result<Loaded, LoadError> {
    let started = Instant::now();
    let backend = backend()?;
    let _exclusive = EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let files = Files::find(&options.model_path, &options.model_files)?;
    check_header(files.path(), &options.model_path)?;

    let can_offload = backend.supports_gpu_offload();
    let gpu_layers = options.n_gpu_layers.unwrap_or(if can_offload { ALL_LAYERS } else { 0 });
    let on_gpu = can_offload && gpu_layers > 0;
    let before = (memory::host(), if on_gpu { memory::gpus() } else { None });
    let model = load_file(backend, files.path(), gpu_layers, progress)?;
    files.check()?;
    let metadata = |key: &str| model.meta_val_str(key).ok();
    let architecture = architecture(&model);
    let pooling = pooling(&architecture, metadata, model.n_cls_out())?;
    check_model(&model, pooling.is_some())?;
    let cores = cpu::cores();
    let (n_ctx_train, heads) = (model.n_ctx_train(), model.n_head());
    let cells = cells(&model);
    let causal = is_causal(&architecture, metadata);
    let model = Arc::new(model);
    let tokenizer = LlamaTokenizer::new(Arc::clone(&model));
    let (plan, embedding, tokenizer) = if let Some(pooling) = pooling {
        if model.is_recurrent() || model.is_hybrid() {
            return Err(LoadError::Unsupported(format!("{architecture} models with a state are not served for embeddings")));
        }
        let dimensions = if matches!(pooling, Pooling::Rank(_)) { 1 } else { u32::try_from(model.n_embd_out()).unwrap_or(0) };
        let vocabulary_size = tokenizer.vocabulary_size();
        let plan = EmbedPlan::new(pooling, options, EmbedGiven { n_ctx_train, vocabulary_size, heads, dimensions, causal, cores, on_gpu })?;
        let (around, tokenizer) = around::read(&model, tokenizer)?;
        (plan.context(), Some((plan, around)), tokenizer)
    } else {
        cells.check(options.kv_cache_dtype)?;
        let (cell_bytes, kv_budget_bytes) = (cells.bytes(options.kv_cache_dtype), memory::kv_budget_bytes(on_gpu));
        let given = Given { n_ctx_train, cores, on_gpu, heads, cell_bytes, window: None, kv_budget_bytes };
        let mut plan = Plan::new(options, given)?;
        if has_window(&model) {
            let token = tokenizer.bos().unwrap_or(Token(0));
            plan = Plan::new(options, Given { window: measure::window(&model, backend, &plan, token)?, ..given })?;
        }
        (plan, None, tokenizer)
    };
    let sizes = Sizes {
        weights_bytes: model.size(),
        cells: if causal { cells } else { CellShape::none() },
        cells_at_most: model.is_hybrid(),
        layers: model.n_layer(),
        gpu_layers: if on_gpu { gpu_layers } else { 0 },
        width: u32::try_from(model.n_embd()).unwrap_or(0),
        heads,
        vocabulary_size: tokenizer.vocabulary_size(),
    };
    let memory = fit(&plan, &sizes, before)?;
    Ok(Loaded {
        tokenizer: Arc::new(tokenizer),
        model,
        plan,
        swap_bytes: options.swap_space_bytes.unwrap_or_else(memory::swap_bytes),
        embedding,
        on_gpu,
        memory,
        slow_kernels: cpu::slow_kernels(&raw::system_info()),
        file_stem: options.model_path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        started,
    })
}

impl Loaded {
    /// The vocabulary, shared with whoever needs it.
    #[must_use]
    pub fn tokenizer(&self) -> Arc<LlamaTokenizer> {
        Arc::clone(&self.tokenizer)
    }

    /// Positions of a slot of its runner.
    #[must_use]
    pub fn max_model_len(&self) -> u32 {
        self.plan.max_model_len
    }

    /// Opens the context and runs a first step, so that memory that cannot be had fails here and not in a request.
    ///
    /// The runner borrows the model: build it on the thread and in the stack frame that will use it.
    ///
    /// # Errors
    /// `Backend` when memory is short or llama.cpp refuses the sizes.
    pub fn runner(&self) -> Result<LlamaRunner<'_>, LoadError> {
        if self.embeds() {
            return Err(LoadError::Unsupported("the model embeds and does not generate".to_owned()));
        }
        let context = self.open(context_params(&self.plan))?;
        let mut limits = self.plan.limits(self.tokenizer.vocabulary_size(), self.can_truncate());
        limits.max_rows = limits.max_rows.min(context.n_batch());
        let mut runner = LlamaRunner::new(context, limits, &self.plan, self.on_gpu);
        self.warm_up(&mut runner)?;
        if let Some(sizes) = measure::state_sizes(&mut runner, self.first_token()) {
            runner.allow_swap(sizes, self.swap_bytes);
        }
        Ok(runner)
    }

    /// What it was expected to need of each kind of memory.
    #[must_use]
    pub fn memory(&self) -> &[MemoryNeed] {
        &self.memory
    }

    /// Whether this is a model for [`Self::embedder`] and not for [`Self::runner`].
    #[must_use]
    pub fn embeds(&self) -> bool {
        self.embedding.is_some()
    }

    /// As [`Self::runner`], for a model that embeds.
    ///
    /// # Errors
    /// `Unsupported` for a model that generates, else as [`Self::runner`].
    pub fn embedder(&self) -> Result<LlamaEmbedder<'_>, LoadError> {
        let Some((plan, around)) = &self.embedding else {
            return Err(LoadError::Unsupported("the model generates and does not embed".to_owned()));
        };
        let params = context_params(&self.plan).with_embeddings(true).with_pooling_type(pooling_type(plan.pooling));
        let mut embedder = LlamaEmbedder::new(self.open(params)?, *plan);
        let (before, after) = &around.text;
        let mut first: Vec<Token> = before.iter().chain(after).copied().chain([Token(0)]).collect();
        first.truncate(plan.limits.max_input as usize);
        embedder.embed(&[&first]).map_err(|error| LoadError::Backend(format!("the first batch failed: {error}")))?;
        Ok(embedder)
    }

    /// All that there is to say about a model that embeds.
    #[must_use]
    pub fn embedding_info(&self, embedder: &LlamaEmbedder<'_>) -> ModelInfo {
        let limits = embedder.limits();
        self.describe(limits.batch_tokens.max(limits.max_input), 0)
    }

    fn open(&self, params: LlamaContextParams) -> Result<LlamaContext<'_>, LoadError> {
        let backend = backend()?;
        let _exclusive = EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner);
        drop(log::take_complaints());
        self.model.new_context(backend, params).map_err(|error| backend_error(&error))
    }

    /// A token to compute where any will do.
    fn first_token(&self) -> Token {
        self.tokenizer.bos().unwrap_or(Token(0))
    }

    /// Recurrent state cannot be cut back to an earlier position.
    fn can_truncate(&self) -> bool {
        !self.model.is_recurrent() && !self.model.is_hybrid()
    }

    /// One step with a row in every slot, all of them sampled; on a GPU a step of as many rows as allowed.
    ///
    /// llama.cpp reserves the memory of its largest graph when the context opens; what is left to first use are the
    /// logits of every slot, the pages of the weights, and on a GPU the kernels of large batches. A full batch on a CPU
    /// would find nothing more and delay the start by seconds.
    fn warm_up(&self, runner: &mut LlamaRunner<'_>) -> Result<(), LoadError> {
        let limits = runner.limits();
        let rows_per_slot = if self.on_gpu { (limits.max_rows / limits.slots).clamp(1, limits.max_model_len) } else { 1 };
        let slots = limits.slots.min(limits.kv_cells / rows_per_slot).max(1);
        let rows = (0..slots)
            .flat_map(|slot| (0..rows_per_slot).map(move |pos| (slot, pos)))
            .map(|(slot, pos)| Row {
                seq: SequenceId(u64::from(slot)),
                slot: Slot(slot),
                pos,
                token: self.first_token(),
                sample: pos + 1 == rows_per_slot,
            })
            .collect();
        let failed = |error| LoadError::Backend(format!("the first step failed: {error}"));
        runner.execute(&Step { kv: Vec::new(), rows }).map_err(failed)?;
        let kv = (0..slots).map(|slot| KvOp::Truncate { slot: Slot(slot), keep: 0 }).collect();
        runner.execute(&Step { kv, rows: Vec::new() }).map_err(failed)
    }

    /// `tokenizer.chat_template` as `default`, and each `tokenizer.chat_template.NAME`.
    fn chat_templates(&self) -> Vec<(String, String)> {
        const KEY: &str = "tokenizer.chat_template";
        let entries = (0..self.model.meta_count()).filter_map(|index| self.model.meta_key_by_index(index).ok());
        let named = entries.filter_map(|key| match key.strip_prefix(KEY)? {
            "" => Some(("default".to_owned(), key)),
            name => Some((name.strip_prefix('.')?.to_owned(), key)),
        });
        named.filter_map(|(name, key)| Some((name, self.model.meta_val_str(&key).ok()?))).collect()
    }

    /// All that there is to say about the model and its runner.
    ///
    /// `load_ms` counts from the call of [`load`].
    #[must_use]
    pub fn info(&self, runner: &LlamaRunner<'_>) -> ModelInfo {
        let limits = runner.limits();
        let sizes = runner.state_sizes();
        let kv_bytes = measure::kv_bytes(sizes, &self.plan, runner.allocated_cells());
        let kv_window = (sizes.sliding > 0).then_some(KvWindow { positions: sizes.window, cells: self.plan.window_cells() });
        ModelInfo { swap_bytes: limits.swap.bytes, kv_window, ..self.describe(limits.max_rows, kv_bytes) }
    }

    fn describe(&self, max_rows: u32, kv_bytes: u64) -> ModelInfo {
        let metadata = |key| self.model.meta_val_str(key).ok().filter(|value| !value.is_empty());
        let vocab = self.model.vocab();
        let file_type = metadata("general.file_type").and_then(|number| number.parse().ok());
        ModelInfo {
            name: metadata("general.name").unwrap_or_else(|| self.file_stem.clone()),
            architecture: architecture(&self.model),
            quantization: file_type.map_or_else(|| "unknown".to_owned(), raw::file_type_name),
            parameters: self.model.n_params(),
            size_bytes: self.model.size(),
            n_ctx_train: self.model.n_ctx_train(),
            max_model_len: self.plan.max_model_len,
            max_num_seqs: self.plan.slots,
            max_num_batched_tokens: max_rows,
            vocabulary_size: self.tokenizer.vocabulary_size(),
            bos: self.tokenizer.bos(),
            adds_bos: self.tokenizer.adds_bos(),
            eos: token(vocab.eos()),
            fim: fim_tokens(&vocab),
            chat_templates: self.chat_templates(),
            control_tokens: self.tokenizer.control_tokens(),
            longest_piece: self.tokenizer.piece_bytes().map(|(longest, _)| longest),
            dropped_bytes: self.tokenizer.piece_bytes().map_or_else(Vec::new, |(_, dropped)| dropped.to_vec()),
            tokenizer: metadata("tokenizer.ggml.model").unwrap_or_default(),
            kv_layout: self.plan.layout,
            kv_cells: self.plan.kv_cells,
            kv_bytes,
            kv_window: None,
            kv_type: self.plan.kv_type,
            memory: self.memory.clone(),
            swap_bytes: 0,
            threads: self.plan.threads,
            threads_adapt: self.plan.adapts,
            device: device(self.on_gpu),
            slow_kernels: self.slow_kernels.clone(),
            load_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            embedding: self.embedding.as_ref().map(|(plan, around)| EmbeddingInfo {
                dimensions: plan.limits.dimensions,
                pooling: plan.pooling,
                max_input_tokens: plan.limits.max_input,
                batch_tokens: plan.limits.batch_tokens,
                batch_inputs: plan.limits.batch_inputs,
                around_text: around.text.clone(),
                around_pair: around.pair.clone(),
            }),
        }
    }
}

/// True if the file names a sliding window.
fn has_window(model: &LlamaModel) -> bool {
    let key = format!("{}.attention.sliding_window", architecture(model));
    let window: u32 = model.meta_val_str(&key).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    window > 0 && !model.is_recurrent() && !model.is_hybrid()
}

/// Cells of a model by its file; an encoder has none, whatever they would be.
fn cells(model: &LlamaModel) -> CellShape {
    if model.is_recurrent() {
        return CellShape::none();
    }
    let width = u32::try_from(model.n_embd()).unwrap_or(0) / model.n_head().max(1);
    let defaults = Defaults { layers: model.n_layer(), heads: model.n_head_kv(), width };
    CellShape::read(&architecture(model), |key| model.meta_val_str(key).ok(), defaults)
}

/// Holds a plan against the memory there was before the model was loaded, on the host and the GPUs, and what is left.
fn fit(plan: &Plan, sizes: &Sizes, before: (Option<Free>, Option<Free>)) -> Result<Vec<MemoryNeed>, LoadError> {
    let host = Room { place: MemoryPlace::Host, before: before.0, now: memory::host() };
    let gpu = Room { place: MemoryPlace::Gpu, before: before.1, now: memory::gpus() };
    let rooms = if sizes.gpu_layers > 0 { vec![gpu, host] } else { vec![host] };
    let needs = fit::needs(plan, sizes, &rooms);
    for need in needs.iter().filter(|need| need.is_tight()) {
        // Here too: if the kernel kills this process for it, this is its last log line.
        tracing::warn!(?need, "the model and its context need more memory than is available; lower --max-model-len or --max-num-seqs");
    }
    fit::check(plan, sizes, &needs, &rooms)?;
    Ok(needs)
}

fn pooling_type(pooling: Pooling) -> LlamaPoolingType {
    match pooling {
        Pooling::Mean => LlamaPoolingType::Mean,
        Pooling::Cls => LlamaPoolingType::Cls,
        Pooling::Last => LlamaPoolingType::Last,
        Pooling::Rank(_) => LlamaPoolingType::Rank,
    }
}

/// llama.cpp's null token is −1.
fn token(token: LlamaToken) -> Option<Token> {
    u32::try_from(token.0).ok().map(Token)
}

fn fim_tokens(vocab: &LlamaVocab<'_>) -> Option<FimTokens> {
    Some(FimTokens {
        prefix: token(vocab.fim_pre())?,
        suffix: token(vocab.fim_suf())?,
        middle: token(vocab.fim_mid())?,
        repository: token(vocab.fim_rep()),
        file: token(vocab.fim_sep()),
    })
}

/// The GPUs that compute, or `CPU`.
pub(super) fn device(on_gpu: bool) -> String {
    use LlamaBackendDeviceType::{Gpu, IntegratedGpu};
    let devices = list_llama_ggml_backend_devices();
    let gpus: Vec<String> = devices
        .into_iter()
        .filter(|device| on_gpu && matches!(device.device_type, Gpu | IntegratedGpu))
        .map(|device| device.description)
        .collect();
    if gpus.is_empty() { "CPU".to_owned() } else { gpus.join(", ") }
}
