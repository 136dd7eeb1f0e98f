//! An engine's reports: the output of each step, its load, and its errors.

use super::{ConstraintError, EngineStats, SequenceId, Token};
use serde::{Deserialize, Serialize};

/// The output of one step; one frame on the wire.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The news of sequences, each at most once.
    pub outputs: Vec<SequenceOutput>,
    /// The engine's counts after the step.
    pub stats: EngineStats,
}

/// News of one sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequenceOutput {
    /// The sequence that has news.
    pub id: SequenceId,
    /// Set once, in the first report of a sequence.
    pub started: Option<Started>,
    /// Tokens of the prompt that are computed or cached so far, while others are left. Reported a few times a second.
    pub processed: Option<u32>,
    /// Log-probabilities of prompt tokens computed since the last report, in order; empty unless asked for. The first
    /// token of a prompt has no log-probability: 0 is reported for it, without alternatives.
    pub prompt_logprobs: Vec<TokenLogprob>,
    /// Counts of guessed tokens, right and wrong, since the last report.
    pub drafts: Drafts,
    /// Tokens sampled since the last report, an end-of-generation token included. A replay resumes after them.
    pub tokens: Vec<Token>,
    /// Text released since the last report. The text may lag behind `tokens` (unfinished UTF-8, a possible stop
    /// string).
    pub text: String,
    /// Log-probabilities of tokens whose text is now released, in order; empty unless asked for. A token cut off by a
    /// stop string never appears. A token that ends the text without being part of it appears, as the last one, only if
    /// the prompt is scored too.
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
            processed: None,
            prompt_logprobs: Vec::new(),
            drafts: Drafts::default(),
            tokens: Vec::new(),
            text: String::new(),
            logprobs: Vec::new(),
            finish: None,
        }
    }
}

/// Counts of the tokens that were guessed ahead of a sequence and computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drafts {
    /// Number of right guesses; they are among the sequence's tokens.
    pub accepted: u32,
    /// Number of wrong guesses.
    pub rejected: u32,
}

/// The start of a sequence: its first rows are in the step that is computed next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Prompt tokens taken from the prefix cache instead of being computed.
    pub cached_tokens: u32,
    /// Time from the engine's receipt of the request to its first scheduled row, µs.
    pub queue_us: u64,
}

/// Log-probability of one token under the raw softmax (before temperature and truncation), natural log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token itself.
    pub chosen: TokenAlternative,
    /// The likeliest tokens, best first; as many as were asked for. They may include the token itself.
    pub top: Vec<TokenAlternative>,
}

/// A token, its bytes, and its log-probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenAlternative {
    /// The token.
    pub token: Token,
    /// The bytes that the token stands for; may be part of a UTF-8 character.
    pub bytes: Vec<u8>,
    /// The log-probability, natural log, finite (−9999 stands for minus infinity, as in vLLM).
    pub logprob: f32,
}

/// The reason why a sequence ended. Precedence: stop string, then end of generation, then length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// One of the request's stop strings appeared; this is its index in `SequenceRequest::stop`.
    StopString(u32),
    /// One of the request's stop tokens was sampled. Its text is part of the output only with
    /// `SequenceRequest::include_stop`.
    StopToken(Token),
    /// The model produced an end-of-generation token.
    EndOfGeneration,
    /// `max_tokens` or the context length was reached.
    Length,
    /// The sequence could not go on.
    Failed(GenerationError),
}

/// The reason why a sequence failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum GenerationError {
    /// The KV cache has no room, and nothing is left to evict.
    #[error("the KV cache is exhausted; ask for fewer tokens or serve fewer sequences")]
    KvExhausted,
    /// `llama_decode` refused the sequence's rows.
    #[error("the model could not be evaluated (code {code})")]
    Decode {
        /// llama.cpp's return code.
        code: i32,
    },
    /// The logits have no candidate (they are NaN, or every token is banned).
    #[error("no token can be sampled: every candidate is banned or not a number")]
    NoCandidate,
    /// The constraint does not compile, or it leaves no token to continue with; the text says why.
    #[error("the output cannot be constrained: {0}")]
    Constraint(String),
    /// The request breaks the engine's limits; a gateway bug.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// Several engine processes died of unknown causes while they worked on the sequence. Made by the gateway.
    #[error("the engine died: {0}")]
    EngineDied(String),
    /// The model's file was changed, and no engine can continue the sequence. Made by the gateway.
    #[error("the model file was changed while the model was served")]
    ModelChanged,
    /// The server is stopping. Made by the gateway.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// Engine processes died while they worked on the same content. Made by the gateway.
    #[error("more than one engine died while it worked on this request")]
    Quarantined,
    /// The server could not find out for now whether the constraint can be followed; the text says why.
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
        /// Number of characters in the run.
        len: u64,
        /// The largest number that is accepted.
        max: u64,
    },
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocabulary_size}")]
    BadToken {
        /// The id.
        id: u32,
        /// The size of the vocabulary: valid ids are below it.
        vocabulary_size: u32,
    },
    /// The answer does not fit into a frame, or might not. Found by the gateway before it asks, or by the engine.
    #[error("the text has {len} bytes or more; at most {max} can be taken")]
    TooLong {
        /// Number of bytes in the text so far, or four for each token.
        len: u64,
        /// The largest number that is accepted.
        max: u64,
    },
    /// The text spells out special tokens so often that cutting it at each of them would take minutes with this
    /// vocabulary.
    #[error("special tokens cut the text into {parts} parts; at most {max} are accepted for this model")]
    TooManyParts {
        /// Number of texts between special tokens.
        parts: u64,
        /// The largest number that is accepted.
        max: u64,
    },
}

/// The reason why a model could not be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LoadError {
    /// No file has this name.
    #[error("model file not found: {0}")]
    NotFound(String),
    /// The file's header is not that of a sound GGUF file.
    #[error("not a usable GGUF file: {0}")]
    NotGguf(String),
    /// llama.cpp refused to load or open the model.
    #[error("llama.cpp could not load the model: {0}")]
    Backend(String),
    /// The model loads but cannot be served; the text says why.
    #[error("the model cannot be served: {0}")]
    Unsupported(String),
    /// A file of the model was changed since the server opened it; the text says which, and how it differs.
    #[error("{0}, since the server opened it")]
    Changed(String),
}
