//! The reason why the gateway refuses a request, or cannot answer a question about text.
//!
//! One enum for each kind of caller; the API turns them into statuses. Knows no status code. The cause of an engine's
//! death is carried for the log and is not shown to clients.

use crate::protocol::{ConstraintError, EmbedError, TextError};
use std::time::Duration;

/// Wait to suggest while a model loads or is loaded again; small ones take a second, large ones minutes.
pub const RETRY_LOADING: Duration = Duration::from_secs(2);
/// Wait to suggest when the engine was given up or does not end when killed: somebody has to act first, so it is longer
/// than clients wait by themselves.
pub const RETRY_FAILED: Duration = Duration::from_secs(300);
/// Wait to suggest when others' constraints are being compiled: about as long as the slowest takes.
const RETRY_CONSTRAINT: Duration = Duration::from_secs(2);

/// The reason why a request was not accepted. `retry_after` is the wait to suggest to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The engine is loading or restarting.
    #[error("the model is not ready: {reason}")]
    NotReady {
        /// Its state, in words.
        reason: String,
        /// Suggested wait.
        retry_after: Duration,
    },
    /// As many sequences wait as may.
    #[error("{waiting} sequences are waiting already")]
    QueueFull {
        /// How many wait.
        waiting: usize,
        /// Suggested wait.
        retry_after: Duration,
    },
    /// More sequences than may ever run and wait together.
    #[error("the prompts times n are {count} sequences; at most {capacity} are taken in")]
    TooMany {
        /// Sequences asked for.
        count: usize,
        /// Places there are.
        capacity: usize,
    },
    /// The server is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// As many texts wait to be tokenized, constraints to be compiled or inputs to be embedded as may, of all callers
    /// or of this key.
    #[error("too many texts of this key, or of all together, are being worked on already")]
    TooMuchText,
    /// Engines died while they worked on the same content.
    #[error("more than one engine died while it worked on this request")]
    Quarantined,
    /// The served model embeds.
    #[error("the model computes embeddings and does not generate text; serve a generation model for this")]
    NotGenerating,
    /// The served model generates.
    #[error("the model generates text and does not compute embeddings; serve an embedding or reranking model for this")]
    NotEmbedding,
}

impl SubmitError {
    /// The model is being loaded; `reason` says how far that is.
    pub(super) fn loading(reason: impl Into<String>) -> Self {
        Self::NotReady { reason: reason.into(), retry_after: RETRY_LOADING }
    }

    /// The engine was given up, for this reason.
    pub(super) fn failed(reason: &str) -> Self {
        Self::NotReady { reason: format!("the engine failed: {reason}"), retry_after: RETRY_FAILED }
    }

    /// The last engine is still there after it was killed, and has the memory that the next one needs.
    pub(super) fn stuck() -> Self {
        let reason = "the engine does not end when killed, so that it cannot be started again".to_owned();
        Self::NotReady { reason, retry_after: RETRY_FAILED }
    }
}

/// The reason why text could not be tokenized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizeError {
    /// The text or the tokens are at fault.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Several engines died of unknown causes while they worked on it; says of what.
    #[error("the engine died: {0}")]
    EngineDied(String),
    /// The engine is not there.
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
    /// The engine is not there, or its model does not embed.
    #[error(transparent)]
    Engine(#[from] SubmitError),
}

/// The reason why a constraint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The constraint is at fault; says why.
    #[error("{0}")]
    Refused(String),
    /// Nobody could find out for now.
    #[error("{reason}")]
    Busy {
        /// A sentence on the obstacle.
        reason: String,
        /// Suggested wait.
        retry_after: Duration,
    },
    /// Several engines died of unknown causes while they worked on it.
    #[error("the engine died: {0}")]
    EngineDied(String),
    /// The engine is not there, or does not take this.
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
    /// Calls of all kinds fail alike.
    fn from(error: TokenizeError) -> Self {
        match error {
            TokenizeError::EngineDied(reason) => Self::EngineDied(reason),
            TokenizeError::Text(error) => Self::Refused(error.to_string()),
            TokenizeError::Engine(error) => Self::Engine(error),
        }
    }
}
