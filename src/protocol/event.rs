//! An engine's reports: the output of each step, its load, and its errors.

use super::{ConstraintError, EngineStats, SequenceId, Token};
use serde::{Deserialize, Serialize};

/// Everything that one step produced; one frame on the wire.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Sequences that have news, each at most once.
    pub outputs: Vec<SequenceOutput>,
    /// The engine's counts after the step.
    pub stats: EngineStats,
}

/// News of one sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequenceOutput {
    /// The sequence that has news.
    pub id: SequenceId,
    /// Present once, with the first report of a sequence.
    pub started: Option<Started>,
    /// Log-probabilities of prompt tokens computed since the last report, in order; empty unless asked for. The first
    /// token of a prompt has none: 0 stands there, without alternatives.
    pub prompt_logprobs: Vec<TokenLogprob>,
    /// Numbers of guessed tokens that came true or did not, since the last report.
    pub drafts: Drafts,
    /// Tokens sampled since the last report, an end-of-generation token included. A replay resumes from them.
    pub tokens: Vec<Token>,
    /// Text released since the last report. It may lag behind `tokens` (unfinished UTF-8, a possible stop string).
    pub text: String,
    /// Log-probabilities of tokens whose text is now released, in order; empty unless asked for.
    /// Tokens cut off by a stop string never appear; a token that ends the text without being part of it does, as the
    /// last, where the prompt is scored too.
    pub logprobs: Vec<TokenLogprob>,
    /// Set once, in the last report of a sequence.
    pub finish: Option<Finish>,
}

impl SequenceOutput {
    /// A report without news for `id`, to be filled in.
    #[must_use]
    pub fn empty(id: SequenceId) -> Self {
        Self {
            id,
            started: None,
            prompt_logprobs: Vec::new(),
            drafts: Drafts::default(),
            tokens: Vec::new(),
            text: String::new(),
            logprobs: Vec::new(),
            finish: None,
        }
    }
}

/// Tokens that were guessed ahead of a sequence and computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drafts {
    /// They came true and are among its tokens.
    pub accepted: u32,
    /// They did not.
    pub rejected: u32,
}

/// The first rows of a sequence were computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Prompt tokens taken from the prefix cache instead of being computed.
    pub cached_tokens: u32,
    /// From the engine's receipt of the request to its first scheduled row, µs.
    pub queue_us: u64,
}

/// Log-probability of one generated token under the raw softmax (before temperature and truncation), natural log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The sampled token and its own text.
    pub chosen: TokenAlternative,
    /// The likeliest tokens, best first; as many as were asked for. May contain the chosen one.
    pub top: Vec<TokenAlternative>,
}

/// A token, its bytes, and its log-probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenAlternative {
    /// Vocabulary id.
    pub token: Token,
    /// The bytes it stands for; may be part of a UTF-8 character.
    pub bytes: Vec<u8>,
    /// Natural log, finite (−9999 stands for minus infinity, as in vLLM).
    pub logprob: f32,
}

/// The reason why a sequence ended. Precedence: stop string, then end of generation, then length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// One of the request's stop strings appeared; its index in `SequenceRequest::stop`.
    StopString(u32),
    /// One of the request's stop tokens was sampled. It is not part of the text.
    StopToken(Token),
    /// The model produced an end-of-generation token.
    EndOfGeneration,
    /// `max_tokens` or the context was reached.
    Length,
    /// It could not go on.
    Failed(GenerationError),
}

/// The reason why a sequence failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum GenerationError {
    /// No room in the KV cache and nothing left to evict.
    #[error("the KV cache is exhausted; ask for fewer tokens or serve fewer sequences")]
    KvExhausted,
    /// `llama_decode` refused the sequence's rows.
    #[error("the model could not be evaluated (code {code})")]
    Decode {
        /// llama.cpp's return code.
        code: i32,
    },
    /// The logits held no candidate (NaN, or everything banned).
    #[error("no token can be sampled: every candidate is banned or not a number")]
    NoCandidate,
    /// The constraint does not compile, or nothing that it allows is left; says why.
    #[error("the output cannot be constrained: {0}")]
    Constraint(String),
    /// The engine was handed something outside its limits; a gateway bug.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// Several engine processes died of unknown causes with the sequence in them. Made by the gateway.
    #[error("the engine died: {0}")]
    EngineDied(String),
    /// The model's file was changed, and no engine can go on with the sequence. Made by the gateway.
    #[error("the model file was changed while the model was served")]
    ModelChanged,
    /// The server is stopping. Made by the gateway.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// Engine processes died while they worked on the same content. Made by the gateway.
    #[error("more than one engine died while it worked on this request")]
    Quarantined,
    /// Nobody could find out for now whether the constraint can be followed; says why.
    #[error("the output cannot be constrained now: {0}")]
    Busy(String),
}

impl From<ConstraintError> for GenerationError {
    fn from(error: ConstraintError) -> Self {
        let reason = error.to_string();
        if error.is_final() { Self::Constraint(reason) } else { Self::Busy(reason) }
    }
}

/// The reason why text could not be turned into tokens or back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TextError {
    /// The text has an unbroken run of characters longer than this model's pre-tokenizer survives.
    #[error("the text has a run of {len} characters without a break; at most {max} are accepted for this model")]
    RunTooLong {
        /// Characters in the run.
        len: u64,
        /// The largest number that is accepted.
        max: u64,
    },
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocabulary_size}")]
    BadToken {
        /// The id.
        id: u32,
        /// Ids are below this.
        vocabulary_size: u32,
    },
    /// The answer does not fit into a frame, or might not: found by the gateway before it asks, or by the engine.
    #[error("the text has {len} bytes or more; at most {max} can be taken")]
    TooLong {
        /// Bytes in the text so far, or four for each token.
        len: u64,
        /// The largest number that is accepted.
        max: u64,
    },
    /// The text spells out special tokens so often that cutting it at each would take this vocabulary minutes.
    #[error("special tokens cut the text into {parts} parts; at most {max} are accepted for this model")]
    TooManyParts {
        /// Texts between special tokens.
        parts: u64,
        /// The largest number that is accepted.
        max: u64,
    },
}

/// The reason why a model could not be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LoadError {
    /// No file there.
    #[error("model file not found: {0}")]
    NotFound(String),
    /// The header is not one of a sound GGUF file.
    #[error("not a usable GGUF file: {0}")]
    NotGguf(String),
    /// llama.cpp would not load or open it.
    #[error("llama.cpp could not load the model: {0}")]
    Backend(String),
    /// The model loads but cannot be served; says why.
    #[error("the model cannot be served: {0}")]
    Unsupported(String),
    /// A file of it was changed since the server opened it; says which, and how it differs.
    #[error("{0}, since the server opened it")]
    Changed(String),
}
