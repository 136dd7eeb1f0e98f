//! Facts about a loaded model and its engine; sent once, when the engine is ready.

use super::{EmbeddingInfo, KvLayout, KvType, Token};
use serde::{Deserialize, Serialize};

/// Tokens that mark the parts of a text with a hole. The first three or none: a model with fewer cannot fill in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FimTokens {
    /// Before the text that precedes the hole.
    pub prefix: Token,
    /// Before the text that follows the hole.
    pub suffix: Token,
    /// Before the text that fills it.
    pub middle: Token,
    /// Before the name of a repository, where other files of it may precede the text.
    pub repository: Option<Token>,
    /// Before the name of each file.
    pub file: Option<Token>,
}

/// What a model does: one of these, since llama.cpp pools per context, and an engine has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ModelKind {
    /// It generates text.
    Generates(GenerationInfo),
    /// It embeds texts.
    Embeds(EmbeddingInfo),
}

/// Facts about a model that generates: its KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationInfo {
    /// Where KV cells lie.
    pub kv_layout: KvLayout,
    /// KV cells there are, tokens.
    pub kv_cells: u32,
    /// Memory of these cells, bytes.
    pub kv_bytes: u64,
    /// Set if some layers have a sliding window.
    pub kv_window: Option<KvWindow>,
    /// What is stored in them.
    pub kv_type: KvType,
    /// Host memory that cached prompts may take beside `ModelInfo::memory`, bytes.
    pub swap_bytes: u64,
}

/// Facts that the gateway needs to validate requests and to tell users what they run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `general.name` of the file, or its stem.
    pub name: String,
    /// `general.architecture`, such as `llama`.
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
    /// Sequences in one step at most.
    pub max_num_seqs: u32,
    /// Rows in one step at most.
    pub max_num_batched_tokens: u32,
    /// Ids are below this.
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
    /// Bytes of text that one token stands for at most: a text of more bytes has more tokens. `None` for a vocabulary
    /// that may drop text, or take any length of text that it does not know for one token.
    pub longest_piece: Option<u32>,
    /// Bytes that the vocabulary has no token for, sorted. They are left out of a text, and of it alone (byte-pair
    /// encoding).
    pub dropped_bytes: Vec<u8>,
    /// Kind of the vocabulary as the file names it, such as `llama` (SentencePiece) or `gpt2` (byte-pair encoding).
    pub tokenizer: String,
    /// What was expected to be needed of each kind of memory, a draft model's share included.
    pub memory: Vec<MemoryNeed>,
    /// CPU threads of a step at most.
    pub threads: u32,
    /// True if steps take fewer while other programs want the cores.
    pub threads_adapt: bool,
    /// The device that computes, such as `CPU` or `NVIDIA H100`.
    pub device: String,
    /// Set when the CPU kernels were built without instructions that this processor has; names the missing ones.
    pub slow_kernels: Option<String>,
    /// Time from process start to ready, ms.
    pub load_ms: u64,
    /// What it does, with the facts that only such a model has.
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

    /// Tokens that these texts, put together, have at least.
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
    /// Positions that they attend to.
    pub positions: u32,
    /// Cells that each sequence has in them, if not as many as in the others.
    pub cells: Option<u32>,
}

/// Where memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryPlace {
    /// The machine's memory.
    Host,
    /// On all GPUs together.
    Gpu,
}

/// The memory that a model and its context were expected to take of a
/// place, and that was there before they were loaded, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryNeed {
    /// The kind of memory.
    pub place: MemoryPlace,
    /// Weights. On a host their file may be mapped, and then gives way.
    pub weights_bytes: u64,
    /// KV cells.
    pub kv_bytes: u64,
    /// A graph's intermediate results, and logits.
    pub scratch_bytes: u64,
    /// Memory that was free or could be freed without swapping; `None` where that is unknown.
    pub available_bytes: Option<u64>,
}

impl MemoryNeed {
    /// The sum of its parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.kv_bytes).saturating_add(self.scratch_bytes)
    }

    /// The sum with another model's need of the same place.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        Self {
            weights_bytes: self.weights_bytes.saturating_add(other.weights_bytes),
            kv_bytes: self.kv_bytes.saturating_add(other.kv_bytes),
            scratch_bytes: self.scratch_bytes.saturating_add(other.scratch_bytes),
            ..self
        }
    }

    /// True if there was less than that: it works, by swapping or by reading weights again and again.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.available_bytes.is_some_and(|available| self.bytes() > available)
    }
}
