//! Errors of the gateway: why it refuses a request, or cannot answer a question about text.
//!
//! There is one enum for each kind of caller; the API turns them into statuses. Knows no status code. The cause of an
//! engine's death is carried for the log and is not shown to clients.

use crate::protocol::{ConstraintError, EmbedError, TextError};
use std::time::Duration;

/// Wait to suggest while a model loads or is loaded again. A small model takes a second, a large one minutes.
pub const RETRY_LOADING: Duration = Duration::from_secs(2);
/// Wait to suggest when the engine was given up or does not end when killed: an operator has to act first, so this is
/// longer than clients wait by themselves.
pub const RETRY_FAILED: Duration = Duration::from_secs(300);
/// Wait to suggest when constraints of other callers are being compiled: about as long as the slowest takes.
const RETRY_CONSTRAINT: Duration = Duration::from_secs(2);

/// The reason why a request was not accepted. `retry_after` is the wait to suggest to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The engine is loading or restarting.
    #[error("the model is not ready: {reason}")]
    NotReady {
        /// The state of the engine, in words.
        reason: String,
        /// Suggested wait before the next try.
        retry_after: Duration,
    },
    /// The maximum number of sequences waits already.
    #[error("{waiting} sequences are waiting already")]
    QueueFull {
        /// Number of sequences that wait.
        waiting: usize,
        /// Suggested wait before the next try.
        retry_after: Duration,
    },
    /// The key has its share of the places while other keys send requests.
    #[error("this key has {held} of the {share} sequences that it may have while others send requests, and {count} more do not fit")]
    KeyFull {
        /// Number of sequences in the request.
        count: usize,
        /// Number of the key's sequences here.
        held: usize,
        /// Number of sequences that the key may have now.
        share: usize,
        /// Suggested wait before the next try.
        retry_after: Duration,
    },
    /// The request has more sequences than may ever run and wait together.
    #[error("the prompts times n are {count} sequences; at most {capacity} are taken in")]
    TooMany {
        /// Number of sequences in the request.
        count: usize,
        /// Number of places for running and waiting sequences.
        capacity: usize,
    },
    /// The server is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The server is stopping because the cloud takes the machine back.
    #[error("the server is shutting down, because the cloud takes its machine back")]
    Preempted,
    /// The maximum number of texts to tokenize, constraints to compile or inputs to embed is open already, of this key
    /// or of all callers together.
    #[error("too many texts of this key, or of all together, are being worked on already")]
    TooMuchText {
        /// Suggested wait before the next try.
        retry_after: Duration,
    },
    /// Engines died while they worked on the same content.
    #[error("more than one engine died while it worked on this request")]
    Quarantined,
    /// The served model embeds and does not generate.
    #[error("the model computes embeddings and does not generate text; serve a generation model for this")]
    NotGenerating,
    /// The served model generates and does not embed.
    #[error("the model generates text and does not compute embeddings; serve an embedding or reranking model for this")]
    NotEmbedding,
}

impl SubmitError {
    /// The refusal while the model is being loaded; `reason` tells the progress.
    pub(super) fn loading(reason: impl Into<String>) -> Self {
        Self::NotReady { reason: reason.into(), retry_after: RETRY_LOADING }
    }

    /// The refusal after the engine was given up, for this reason.
    pub(super) fn failed(reason: &str) -> Self {
        Self::NotReady { reason: format!("the engine failed: {reason}"), retry_after: RETRY_FAILED }
    }

    /// The refusal while the last engine is still there after it was killed: it has the memory that the next one needs.
    pub(super) fn stuck() -> Self {
        let reason = "the engine does not end when killed, so that it cannot be started again".to_owned();
        Self::NotReady { reason, retry_after: RETRY_FAILED }
    }
}

/// The reason why text could not be tokenized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizeError {
    /// The text or the tokens cannot be converted.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Several engines died of unknown causes while they worked on it; says of what.
    #[error("the engine died: {0}")]
    EngineDied(String),
    /// There is no engine to ask.
    #[error(transparent)]
    Engine(#[from] SubmitError),
}

/// The reason why inputs have no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbeddingError {
    /// An input could not be computed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// Several engines died of unknown causes while they worked on it; says of what.
    #[error("the engine died: {0}")]
    EngineDied(String),
    /// There is no engine to ask, or its model does not embed.
    #[error(transparent)]
    Engine(#[from] SubmitError),
}

/// The reason why a constraint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The constraint is wrong; the reason.
    #[error("{0}")]
    Refused(String),
    /// The constraint could not be checked for now.
    #[error("{reason}")]
    Busy {
        /// A sentence that names the obstacle.
        reason: String,
        /// Suggested wait before the next try.
        retry_after: Duration,
    },
    /// Several engines died of unknown causes while they worked on the constraint.
    #[error("the engine died: {0}")]
    EngineDied(String),
    /// There is no engine to ask, or it does not take constraints.
    #[error(transparent)]
    Engine(#[from] SubmitError),
}

impl From<ConstraintError> for CheckError {
    fn from(error: ConstraintError) -> Self {
        let reason = error.to_string();
        if error.is_final() { Self::Refused(reason) } else { Self::Busy { reason, retry_after: RETRY_CONSTRAINT } }
    }
}

impl From<TokenizeError> for CheckError {
    /// Calls of all kinds fail in the same way.
    fn from(error: TokenizeError) -> Self {
        match error {
            TokenizeError::EngineDied(reason) => Self::EngineDied(reason),
            TokenizeError::Text(error) => Self::Refused(error.to_string()),
            TokenizeError::Engine(error) => Self::Engine(error),
        }
    }
}
