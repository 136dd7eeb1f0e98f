//! A loaded model, by its purpose: a model that generates opens a runner, one that embeds opens an embedder.
//!
//! Both describe themselves to the gateway. Owns the model and its tokenizer; `load` reads them from a file.

use super::{
    affixes::SpecialTokenAffixes,
    backend::{EXCLUSIVE, backend, backend_error, device},
    calibration::{self, FLASH_TILE},
    context::context_params,
    embed_plan::EmbedPlan,
    embedder::LlamaEmbedder,
    log, measure,
    notes::TimeNotes,
    plan::{Attention, Plan},
    raw::{self, attention::AttentionSize},
    runner::LlamaRunner,
    suitability::architecture,
    tokenizer::LlamaTokenizer,
};
use crate::{
    engine::{
        embedder::Embedder,
        runner::{KvOp, ModelRunner, Row, Slot, Step, Tokenizer},
    },
    protocol::{
        EmbeddingInfo, FimTokens, GenerationInfo, KvType, KvWindow, LoadError, MemoryNeed, ModelInfo, ModelKind, Pooling, SequenceId, Token,
    },
};
use llama_cpp_2::{
    context::{
        LlamaContext,
        params::{LlamaContextParams, LlamaPoolingType},
    },
    model::LlamaModel,
    token::LlamaToken,
    vocab::LlamaVocab,
};
use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

/// A model in memory.
pub enum LoadedModel {
    /// The model generates text.
    Generates(GeneratingModel),
    /// The model embeds texts.
    Embeds(EmbeddingModel),
}

/// A model in memory that generates text.
pub struct GeneratingModel {
    pub(super) file: LoadedFile,
    /// Host memory for parked KV of slots, bytes.
    pub(super) swap_bytes: u64,
    /// The sizes of the model's attention on a CPU; `None` if it is of another kind or on a GPU.
    pub(super) head: Option<AttentionSize>,
    /// Times of earlier starts; `None` if nothing is to be measured.
    pub(super) notes: Option<TimeNotes>,
}

/// A model in memory that embeds texts.
pub struct EmbeddingModel {
    pub(super) file: LoadedFile,
    pub(super) plan: EmbedPlan,
    pub(super) affixes: SpecialTokenAffixes,
}

/// The parts that both kinds have: the weights, the tokenizer, and the sizes of the context to open.
pub(super) struct LoadedFile {
    pub(super) model: Arc<LlamaModel>,
    pub(super) tokenizer: Arc<LlamaTokenizer>,
    /// As the file says. llama.cpp's own field changes when a context stretches it (`llama_init_from_model`).
    pub(super) n_ctx_train: u32,
    pub(super) plan: Plan,
    pub(super) on_gpu: bool,
    pub(super) memory: Vec<MemoryNeed>,
    pub(super) slow_kernels: Option<String>,
    /// The file's name without extension, for files that do not name their model.
    pub(super) file_stem: String,
    pub(super) started: Instant,
}

impl GeneratingModel {
    /// The tokenizer of the model's vocabulary.
    #[must_use]
    pub fn tokenizer(&self) -> Arc<LlamaTokenizer> {
        Arc::clone(&self.file.tokenizer)
    }

    /// Number of slots of the model's runner.
    #[must_use]
    pub fn max_num_seqs(&self) -> u32 {
        self.file.plan.slots
    }

    /// Positions of one slot of the model's runner.
    #[must_use]
    pub fn max_model_len(&self) -> u32 {
        self.file.plan.max_model_len
    }

    /// The expected needs of each kind of memory.
    #[must_use]
    pub fn memory(&self) -> &[MemoryNeed] {
        &self.file.memory
    }

    /// Opens the context and runs a first step, so that a lack of memory fails here and not in a request.
    ///
    /// The runner borrows the model: create it on the thread and in the stack frame that will use it.
    ///
    /// # Errors
    /// `Backend` if memory is short or llama.cpp refuses the sizes.
    pub fn runner(&self) -> Result<LlamaRunner<'_>, LoadError> {
        let plan = &self.file.plan;
        let context = self.file.open(context_params(plan))?;
        let mut limits = plan.limits(self.file.tokenizer.vocabulary_size(), self.can_truncate());
        limits.max_rows = limits.max_rows.min(context.n_batch());
        let mut runner = LlamaRunner::new(context, limits, plan, self.file.on_gpu);
        self.warm_up(&mut runner)?;
        if let Some(tile) = self.tile(&mut runner) {
            runner.set_tile(tile);
        }
        if let Some(sizes) = measure::state_sizes(&mut runner, self.first_token()) {
            runner.allow_swap(sizes, self.swap_bytes);
        }
        Ok(runner)
    }

    /// Describes the model and its runner. `load_ms` counts from the call of `load`.
    #[must_use]
    pub fn info(&self, runner: &LlamaRunner<'_>) -> ModelInfo {
        let (limits, sizes, plan) = (runner.limits(), runner.state_sizes(), &self.file.plan);
        let generation = GenerationInfo {
            kv_layout: plan.layout,
            kv_cells: plan.kv_cells,
            kv_bytes: measure::kv_bytes(sizes, plan, runner.allocated_cells()),
            kv_window: (sizes.sliding > 0).then_some(KvWindow { positions: sizes.window, cells: plan.window_cells() }),
            kv_type: plan.kv_type,
            swap_bytes: limits.swap.bytes,
            tile: limits.tile,
        };
        self.file.describe(limits.max_rows, ModelKind::Generates(generation))
    }

    /// Number of rows that the processor computes together with this model: known, or measured with the empty `runner`.
    fn tile(&self, runner: &mut LlamaRunner<'_>) -> Option<u32> {
        let plan = &self.file.plan;
        if self.file.on_gpu {
            return None;
        }
        if plan.attention == Attention::Blocks && plan.kv_type == KvType::F16 {
            return Some(FLASH_TILE);
        }
        calibration::tile(self.notes.as_ref()?, runner, &self.shape(), self.first_token())
    }

    /// A text that names everything on which the time of rows depends, apart from the machine.
    fn shape(&self) -> String {
        let LoadedFile { model, plan, .. } = &self.file;
        let file_type = model.meta_val_str("general.file_type").unwrap_or_default();
        let (layers, width, parameters) = (model.n_layer(), model.n_embd(), model.n_params());
        let architecture = architecture(model);
        format!("{architecture} of {parameters}, {layers} layers of {width}, type {file_type}, {} threads", plan.threads)
    }

    /// A token for a first step, where any token will do.
    pub(super) fn first_token(&self) -> Token {
        self.file.tokenizer.bos().unwrap_or(Token(0))
    }

    /// True if a slot can be cut back to an earlier position, which recurrent state cannot.
    fn can_truncate(&self) -> bool {
        !self.file.model.is_recurrent() && !self.file.model.is_hybrid()
    }

    /// Runs one step with a row in every slot, all of them sampled; on a GPU a step with the maximum number of rows.
    ///
    /// llama.cpp reserves the memory of its largest graph when the context opens. The logits of every slot, the pages
    /// of the weights, and on a GPU the kernels of large batches are left to their first use. A full batch on a CPU
    /// would touch nothing more and delay the start by seconds.
    fn warm_up(&self, runner: &mut LlamaRunner<'_>) -> Result<(), LoadError> {
        let limits = runner.limits();
        let rows_per_slot = if self.file.on_gpu { (limits.max_rows / limits.slots).clamp(1, limits.max_model_len) } else { 1 };
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
}

impl EmbeddingModel {
    /// The tokenizer of the model's vocabulary.
    #[must_use]
    pub fn tokenizer(&self) -> Arc<LlamaTokenizer> {
        Arc::clone(&self.file.tokenizer)
    }

    /// The same as [`GeneratingModel::runner`], for embeddings: opens the context and computes a first batch.
    ///
    /// # Errors
    /// `Backend` if memory is short or llama.cpp refuses the sizes.
    pub fn embedder(&self) -> Result<LlamaEmbedder<'_>, LoadError> {
        let params = context_params(&self.file.plan).with_embeddings(true).with_pooling_type(pooling_type(self.plan.pooling));
        let mut embedder = LlamaEmbedder::new(self.file.open(params)?, self.plan);
        let (before, after) = &self.affixes.text;
        let mut first: Vec<Token> = before.iter().chain(after).copied().chain([Token(0)]).collect();
        first.truncate(self.plan.limits.max_input as usize);
        embedder.embed(&[&first]).map_err(|error| LoadError::Backend(format!("the first batch failed: {error}")))?;
        Ok(embedder)
    }

    /// Describes the model and its embedder. `load_ms` counts from the call of `load`.
    #[must_use]
    pub fn info(&self, embedder: &LlamaEmbedder<'_>) -> ModelInfo {
        let (limits, planned) = (embedder.limits(), &self.plan.limits);
        let embedding = EmbeddingInfo {
            dimensions: planned.dimensions,
            pooling: self.plan.pooling,
            max_input_tokens: planned.max_input,
            batch_tokens: planned.batch_tokens,
            batch_inputs: planned.batch_inputs,
            around_text: self.affixes.text.clone(),
            around_pair: self.affixes.pair.clone(),
        };
        self.file.describe(limits.batch_tokens.max(limits.max_input), ModelKind::Embeds(embedding))
    }
}

impl LoadedFile {
    fn open(&self, params: LlamaContextParams) -> Result<LlamaContext<'_>, LoadError> {
        let backend = backend()?;
        let _exclusive = EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner);
        drop(log::take_complaints());
        self.model.new_context(backend, params).map_err(|error| backend_error(&error))
    }

    /// The templates of the file: `tokenizer.chat_template` as `default`, and each `tokenizer.chat_template.NAME`.
    fn chat_templates(&self) -> Vec<(String, String)> {
        const KEY: &str = "tokenizer.chat_template";
        let entries = (0..self.model.meta_count()).filter_map(|index| self.model.meta_key_by_index(index).ok());
        let named = entries.filter_map(|key| match key.strip_prefix(KEY)? {
            "" => Some(("default".to_owned(), key)),
            name => Some((name.strip_prefix('.')?.to_owned(), key)),
        });
        named.filter_map(|(name, key)| Some((name, self.model.meta_val_str(&key).ok()?))).collect()
    }

    fn describe(&self, max_rows: u32, kind: ModelKind) -> ModelInfo {
        let metadata = |key| self.model.meta_val_str(key).ok().filter(|value| !value.is_empty());
        let vocab = self.model.vocab();
        let file_type = metadata("general.file_type").and_then(|number| number.parse().ok());
        ModelInfo {
            name: metadata("general.name").unwrap_or_else(|| self.file_stem.clone()),
            architecture: architecture(&self.model),
            quantization: file_type.map_or_else(|| "unknown".to_owned(), raw::file_type_name),
            parameters: self.model.n_params(),
            size_bytes: self.model.size(),
            n_ctx_train: self.n_ctx_train,
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
            memory: self.memory.clone(),
            threads: self.plan.threads,
            threads_adapt: self.plan.adapts,
            device: device(self.on_gpu),
            slow_kernels: self.slow_kernels.clone(),
            load_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            kind,
        }
    }
}

fn pooling_type(pooling: Pooling) -> LlamaPoolingType {
    match pooling {
        Pooling::Mean => LlamaPoolingType::Mean,
        Pooling::Cls => LlamaPoolingType::Cls,
        Pooling::Last => LlamaPoolingType::Last,
        Pooling::Rank(_) => LlamaPoolingType::Rank,
    }
}

/// Converts a token of llama.cpp, whose null token is −1.
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
