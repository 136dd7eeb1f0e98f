//! Facts about a loaded model and its engine; sent once, when the engine is ready.

use super::{EmbeddingInfo, KvLayout, KvType, Token};
use serde::{Deserialize, Serialize};

/// Tokens that mark the parts of a text with a hole. A model that lacks one of the first three cannot fill in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FimTokens {
    /// The token before the text that precedes the hole.
    pub prefix: Token,
    /// The token before the text that follows the hole.
    pub suffix: Token,
    /// The token before the text that fills the hole.
    pub middle: Token,
    /// The token before the name of a repository, where other files of it may precede the text.
    pub repository: Option<Token>,
    /// The token before the name of each file.
    pub file: Option<Token>,
}

/// The kind of a model. It is only one of these: llama.cpp sets the pooling for a whole context, and an engine has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ModelKind {
    /// The model generates text.
    Generates(GenerationInfo),
    /// The model embeds texts.
    Embeds(EmbeddingInfo),
}

/// Facts about a model that generates: its KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationInfo {
    /// The layout of the KV cells.
    pub kv_layout: KvLayout,
    /// Number of KV cells, tokens.
    pub kv_cells: u32,
    /// Memory of the KV cells, bytes.
    pub kv_bytes: u64,
    /// The layers with a sliding window, if there are any.
    pub kv_window: Option<KvWindow>,
    /// The storage type of keys and values in the KV cells.
    pub kv_type: KvType,
    /// Host memory that cached prompts may take beside `ModelInfo::memory`, bytes.
    pub swap_bytes: u64,
    /// A prompt that is computed in parts is cut at multiples of this number of tokens, ≥ 1.
    pub tile: u32,
}

/// Facts by which the gateway validates requests and tells users which model they run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The model's name: `general.name` of the file, or the file's stem.
    pub name: String,
    /// The model's architecture: `general.architecture`, such as `llama`.
    pub architecture: String,
    /// File type as llama.cpp names it, such as `Q4_1`.
    pub quantization: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Size of the tensors, bytes.
    pub size_bytes: u64,
    /// Context the model was trained for, tokens.
    pub n_ctx_train: u32,
    /// Longest prompt + completion served, tokens.
    pub max_model_len: u32,
    /// Largest number of sequences in one step.
    pub max_num_seqs: u32,
    /// Largest number of rows in one step.
    pub max_num_batched_tokens: u32,
    /// Number of tokens in the vocabulary; ids are below it.
    pub vocabulary_size: u32,
    /// Beginning-of-sequence token, if the vocabulary has one.
    pub bos: Option<Token>,
    /// True if the vocabulary asks for BOS in front of a text.
    pub adds_bos: bool,
    /// End-of-sequence token, if the vocabulary has one.
    pub eos: Option<Token>,
    /// Tokens for filling in the middle, if the vocabulary has them.
    pub fim: Option<FimTokens>,
    /// Chat templates (Jinja) of the file by name; the usual one is named `default`.
    pub chat_templates: Vec<(String, String)>,
    /// Control tokens as they are spelled, with their ids.
    pub control_tokens: Vec<(String, Token)>,
    /// Largest number of bytes of text that one token stands for; it gives the fewest tokens that a text can have.
    /// `None` for a vocabulary that may drop text, or take unknown text of any length for one token.
    pub longest_piece: Option<u32>,
    /// Byte values that the vocabulary has no token for, sorted. The tokenizer leaves these bytes, and no others, out
    /// of a text (byte-pair encoding).
    pub dropped_bytes: Vec<u8>,
    /// Kind of the vocabulary as the file names it, such as `llama` (SentencePiece) or `gpt2` (byte-pair encoding).
    pub tokenizer: String,
    /// The expected need of each kind of memory, a draft model's share included.
    pub memory: Vec<MemoryNeed>,
    /// Largest number of CPU threads of a step.
    pub threads: u32,
    /// True if steps take fewer threads while other programs want the cores.
    pub threads_adapt: bool,
    /// The device that computes, such as `CPU` or `NVIDIA H100`.
    pub device: String,
    /// Set when the CPU kernels were built without instructions that this processor has; names the missing ones.
    pub slow_kernels: Option<String>,
    /// Time from process start to ready, ms.
    pub load_ms: u64,
    /// The model's kind, with the facts that only models of this kind have.
    pub kind: ModelKind,
}

impl ModelInfo {
    /// The facts about a model that generates; `None` for one that embeds.
    #[must_use]
    pub fn generation(&self) -> Option<&GenerationInfo> {
        match &self.kind {
            ModelKind::Generates(info) => Some(info),
            ModelKind::Embeds(_) => None,
        }
    }

    /// The facts about a model that embeds; `None` for one that generates.
    #[must_use]
    pub fn embedding(&self) -> Option<&EmbeddingInfo> {
        match &self.kind {
            ModelKind::Generates(_) => None,
            ModelKind::Embeds(info) => Some(info),
        }
    }

    /// The fewest tokens that these texts, put together, can have.
    pub fn fewest_tokens(&self, texts: &[&str]) -> u64 {
        let Some(longest) = self.longest_piece else { return 0 };
        let kept = |text: &&str| text.bytes().filter(|byte| self.dropped_bytes.binary_search(byte).is_err()).count();
        let bytes: usize =
            if self.dropped_bytes.is_empty() { texts.iter().map(|text| text.len()).sum() } else { texts.iter().map(kept).sum() };
        u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(u64::from(longest.max(1)))
    }
}

/// Layers with a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvWindow {
    /// Number of positions that the layers attend to.
    pub positions: u32,
    /// Number of cells that each sequence has in these layers; `None` if as many as in the other layers.
    pub cells: Option<u32>,
}

/// A kind of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryPlace {
    /// The machine's memory.
    Host,
    /// The memory of all GPUs together.
    Gpu,
}

/// The memory of one kind that a model and its context were expected to take, and the memory that was available before
/// they were loaded, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryNeed {
    /// The kind of memory.
    pub place: MemoryPlace,
    /// Weights. In host memory their file may be mapped; its pages then give way to other uses.
    pub weights_bytes: u64,
    /// KV cells of the context.
    pub kv_bytes: u64,
    /// Intermediate results of a graph, and logits.
    pub scratch_bytes: u64,
    /// Memory that was free, or could be freed without swapping; `None` if unknown.
    pub available_bytes: Option<u64>,
}

impl MemoryNeed {
    /// The sum of the need's parts, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.kv_bytes).saturating_add(self.scratch_bytes)
    }

    /// The sum of this need and another model's need of the same memory.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        Self {
            weights_bytes: self.weights_bytes.saturating_add(other.weights_bytes),
            kv_bytes: self.kv_bytes.saturating_add(other.kv_bytes),
            scratch_bytes: self.scratch_bytes.saturating_add(other.scratch_bytes),
            ..self
        }
    }

    /// True if less memory was available than is needed. The model then works by swapping or by reading weights again
    /// and again.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.available_bytes.is_some_and(|available| self.bytes() > available)
    }
}
