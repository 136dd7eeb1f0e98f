//! The kind of a model (embedding or not), its pooling, and the sizes of its context: pure decisions from the file's
//! metadata and the options.

use super::{
    plan::{Attention, Plan},
    rope::{Rope, unsupported},
};
use crate::{
    engine::embedder::EmbedLimits,
    protocol::{EngineOptions, FlashAttention, KvLayout, KvType, LoadError, MAX_FRAME_BYTES, Pooling, RankScore, RopeScaling},
};

/// Architectures whose tokens attend to the whole input (llama.cpp's `LLM_ARCH_NAMES`): they embed and cannot generate.
const ENCODERS: [&str; 10] = [
    "bert",
    "modern-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "eurobert",
    "gemma-embedding",
    "llama-embed",
];

/// Architectures whose rank head ends in a softmax (`llm_graph_context::build_pooling`).
const SOFTMAX_RANKS: [&str; 2] = ["qwen3", "qwen3vl"];

/// Maximum inputs of one batch: llama.cpp's sequence ids go to 256, and short inputs fill a batch well before that.
const BATCH_INPUTS: u32 = 64;
/// Maximum numbers in a vector: a batch of vectors must fit into a frame between the processes.
const MAX_DIMENSIONS: u32 = 32_768;
const _: () = assert!(BATCH_INPUTS as usize * MAX_DIMENSIONS as usize * size_of::<f32>() < MAX_FRAME_BYTES);
/// Tokens up to which a batch is filled. Every token attends over the whole batch, so longer batches cost more than
/// they gain.
const BATCH_TOKENS_ON_CPU: u32 = 512;
const BATCH_TOKENS_ON_GPU: u32 = 2048;
/// Longest input accepted by default, tokens: an input is one graph, whose time and memory grow with the square of its
/// length.
const DEFAULT_MAX_INPUT_ON_CPU: u32 = 2048;
const DEFAULT_MAX_INPUT_ON_GPU: u32 = 8192;
/// Maximum bytes of logits with the default input length: llama.cpp makes room for the logits of every token of a
/// batch, although an encoder has none.
const MAX_DEFAULT_LOGITS_BYTES: u64 = 2 << 30;
/// Above this size of a graph's attention scores, attention is computed in blocks instead (flash attention).
const MAX_SCORE_BYTES: u64 = 1 << 29;
/// Rows of one graph of a model whose inputs can be computed in parts.
const CHUNK_ROWS: u32 = 512;

/// Facts about the model and the machine from which the plan is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct EmbedGiven {
    pub(super) n_ctx_train: u32,
    pub(super) vocabulary_size: u32,
    pub(super) heads: u32,
    /// Numbers in a vector; 1 for a rank head.
    pub(super) dimensions: u32,
    /// True if a token attends only to those before it.
    pub(super) causal: bool,
    pub(super) cores: u32,
    pub(super) on_gpu: bool,
}

/// The sizes with which an embedding model is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EmbedPlan {
    pub(super) pooling: Pooling,
    pub(super) limits: EmbedLimits,
    /// Rows of one `llama_decode`: a whole batch, or part of one if a token attends only to those before it and only
    /// the last token's vector is used.
    pub(super) rows: u32,
    pub(super) attention: Attention,
    threads: u32,
}

impl EmbedPlan {
    /// Chooses the sizes that `options` leave open. Options such as `--max-num-seqs` and `--kv-cache-tokens` have no
    /// effect on embeddings.
    ///
    /// # Errors
    /// `Unsupported`, with the name of the option to change.
    pub(super) fn new(pooling: Pooling, options: &EngineOptions, given: EmbedGiven) -> Result<Self, LoadError> {
        if !(1..=MAX_DIMENSIONS).contains(&given.dimensions) {
            return unsupported(format!("its vectors have {} numbers; 1 to {MAX_DIMENSIONS} are served", given.dimensions));
        }
        let max_input = max_input(options, given)?;
        let batch_tokens = if given.on_gpu { BATCH_TOKENS_ON_GPU } else { BATCH_TOKENS_ON_CPU };
        let batch_tokens = batch_tokens.min(options.max_num_batched_tokens.max(1));
        let whole_batch = max_input.max(batch_tokens);
        // Each `llama_decode` forgets the vectors of the one before. So inputs are computed in parts only if the last
        // token's vector alone is used.
        let in_parts = given.causal && matches!(pooling, Pooling::Last | Pooling::Rank(_));
        let rows = if in_parts { whole_batch.min(CHUNK_ROWS) } else { whole_batch };
        let score_bytes = 4 * u64::from(rows) * u64::from(whole_batch) * u64::from(given.heads.max(1));
        let attention = match options.flash_attn {
            FlashAttention::On => Attention::Blocks,
            FlashAttention::Off => Attention::Plain,
            FlashAttention::Auto if given.on_gpu || score_bytes > MAX_SCORE_BYTES => Attention::Either,
            FlashAttention::Auto => Attention::Plain,
        };
        Ok(Self {
            pooling,
            limits: EmbedLimits {
                max_input,
                batch_tokens,
                batch_inputs: BATCH_INPUTS,
                vocabulary_size: given.vocabulary_size,
                dimensions: given.dimensions,
            },
            rows,
            attention,
            threads: options.threads.unwrap_or(given.cores).max(1),
        })
    }

    /// These sizes in the form of a context's plan: one pool of cells that holds a batch.
    pub(super) fn context(&self) -> Plan {
        let cells = self.limits.max_input.max(self.limits.batch_tokens);
        Plan {
            slots: self.limits.batch_inputs,
            max_model_len: self.limits.max_input,
            max_rows: self.rows,
            rows_per_graph: self.rows,
            kv_cells: cells,
            threads: self.threads,
            adapts: false,
            layout: KvLayout::Unified,
            kv_type: KvType::F16,
            attention: self.attention,
            window: None,
            rope: Rope::Model,
        }
    }
}

fn max_input(options: &EngineOptions, given: EmbedGiven) -> Result<u32, LoadError> {
    let trained = given.n_ctx_train;
    if options.rope_scaling != RopeScaling::Model {
        return unsupported("--rope-scaling is for models that generate text; leave it out".to_owned());
    }
    match options.max_model_len {
        _ if trained == 0 => unsupported("the file does not say which context the model was trained for".to_owned()),
        Some(0) => unsupported("--max-model-len must be at least 1".to_owned()),
        // The model has no positions beyond that: llama.cpp asserts on a CPU and reads past the table on a GPU.
        Some(length) if length > trained => unsupported(format!(
            "--max-model-len {length} is longer than the {trained} tokens that the model was trained for; ask for at most {trained}"
        )),
        Some(length) => Ok(length),
        None => {
            let mut length = trained.min(if given.on_gpu { DEFAULT_MAX_INPUT_ON_GPU } else { DEFAULT_MAX_INPUT_ON_CPU });
            let logits_bytes = |length: u32| 4 * u64::from(length) * u64::from(given.vocabulary_size);
            while length > BATCH_TOKENS_ON_CPU && logits_bytes(length) > MAX_DEFAULT_LOGITS_BYTES {
                length /= 2;
            }
            Ok(length)
        }
    }
}

/// The pooling of a model that embeds; `None` if the model generates. Read from the architecture, `*.attention.causal`
/// and `*.pooling_type`; `labels` is the number of outputs of a rank head. An encoder whose file names no pooling gets
/// the mean, as in sentence-transformers.
///
/// # Errors
/// `Unsupported` for an unknown pooling, or a head that classifies.
pub(super) fn pooling(architecture: &str, metadata: impl Fn(&str) -> Option<String>, labels: u32) -> Result<Option<Pooling>, LoadError> {
    let encodes = ENCODERS.contains(&architecture) || !is_causal(architecture, &metadata);
    let named = metadata(&format!("{architecture}.pooling_type"));
    // The numbers are those of `enum llama_pooling_type`.
    match named.as_deref() {
        None | Some("0" | "-1") => Ok(encodes.then_some(Pooling::Mean)),
        Some("1") => Ok(Some(Pooling::Mean)),
        Some("2") => Ok(Some(Pooling::Cls)),
        Some("3") => Ok(Some(Pooling::Last)),
        Some("4") if SOFTMAX_RANKS.contains(&architecture) => Ok(Some(Pooling::Rank(RankScore::Probability))),
        Some("4") if labels == 1 => Ok(Some(Pooling::Rank(RankScore::Logit))),
        Some("4") => unsupported(format!("its head puts texts into {labels} classes; only scores of relevance are served")),
        Some(other) => unsupported(format!("its pooling type {other} is not known")),
    }
}

/// True if a token attends only to those before it.
pub(super) fn is_causal(architecture: &str, metadata: impl Fn(&str) -> Option<String>) -> bool {
    !ENCODERS.contains(&architecture) && metadata(&format!("{architecture}.attention.causal")).is_none_or(|value| value != "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(max_model_len: Option<u32>) -> EngineOptions {
        EngineOptions { max_model_len, max_num_batched_tokens: 2048, ..EngineOptions::new("model.gguf".into()) }
    }

    fn given(n_ctx_train: u32, causal: bool) -> EmbedGiven {
        EmbedGiven { n_ctx_train, vocabulary_size: 30_000, heads: 12, dimensions: 384, causal, cores: 2, on_gpu: false }
    }

    #[test]
    fn a_model_embeds_by_its_architecture_its_attention_or_its_pooling() {
        let says = |key: &'static str, value: &'static str| move |asked: &str| (asked == key).then(|| value.to_owned());
        let nothing = |_: &str| None;

        assert_eq!(pooling("llama", nothing, 1), Ok(None));
        assert_eq!(pooling("bert", nothing, 1), Ok(Some(Pooling::Mean)));
        assert_eq!(pooling("bert", says("bert.pooling_type", "2"), 1), Ok(Some(Pooling::Cls)));
        assert_eq!(pooling("qwen3", says("qwen3.pooling_type", "3"), 1), Ok(Some(Pooling::Last)));
        assert_eq!(pooling("qwen3", says("qwen3.pooling_type", "0"), 1), Ok(None));
        assert_eq!(pooling("qwen2", says("qwen2.attention.causal", "false"), 1), Ok(Some(Pooling::Mean)));
        assert_eq!(pooling("bert", says("bert.pooling_type", "4"), 1), Ok(Some(Pooling::Rank(RankScore::Logit))));
        assert_eq!(pooling("qwen3", says("qwen3.pooling_type", "4"), 2), Ok(Some(Pooling::Rank(RankScore::Probability))));
        assert!(pooling("bert", says("bert.pooling_type", "4"), 5).unwrap_err().to_string().contains("5 classes"));
        assert!(pooling("bert", says("bert.pooling_type", "9"), 1).is_err());
    }

    #[test]
    fn an_input_is_at_most_what_the_model_was_trained_for() {
        let limits = |asked| EmbedPlan::new(Pooling::Mean, &options(asked), given(512, false)).map(|plan| plan.limits.max_input);

        assert_eq!((limits(None), limits(Some(100)), limits(Some(512))), (Ok(512), Ok(100), Ok(512)));
        assert!(limits(Some(513)).unwrap_err().to_string().contains("--max-model-len 513"));
        assert!(limits(Some(0)).is_err());
    }

    #[test]
    fn a_long_default_is_cut_to_what_a_graph_and_its_buffers_can_hold() {
        let default = |n_ctx_train, vocabulary_size, on_gpu| {
            let given = EmbedGiven { vocabulary_size, on_gpu, ..given(n_ctx_train, false) };
            EmbedPlan::new(Pooling::Cls, &options(None), given).unwrap().limits.max_input
        };

        assert_eq!((default(8192, 30_000, false), default(8192, 30_000, true)), (2048, 8192));
        assert_eq!(default(8192, 250_002, true), 2048);
    }

    #[test]
    fn all_of_an_input_is_one_graph_unless_only_its_last_token_counts() {
        let rows = |pooling, causal| EmbedPlan::new(pooling, &options(Some(2000)), given(4096, causal)).unwrap().rows;

        assert_eq!((rows(Pooling::Mean, false), rows(Pooling::Mean, true)), (2000, 2000));
        assert_eq!((rows(Pooling::Last, false), rows(Pooling::Last, true)), (2000, 512));
    }

    #[test]
    fn attention_over_long_inputs_is_computed_in_blocks() {
        let attention = |asked, flash_attn| {
            let options = EngineOptions { flash_attn, ..options(Some(asked)) };
            EmbedPlan::new(Pooling::Mean, &options, given(8192, false)).unwrap().attention
        };

        assert_eq!(attention(2048, FlashAttention::Auto), Attention::Plain);
        assert_eq!(attention(8192, FlashAttention::Auto), Attention::Either);
        assert_eq!((attention(8192, FlashAttention::Off), attention(2, FlashAttention::On)), (Attention::Plain, Attention::Blocks));
    }
}
