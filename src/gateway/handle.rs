//! How the API talks to the engine: tokenize, submit, follow a generation, ask for the state.

use crate::protocol::{ModelInfo, SequenceOutput, SequenceRequest, TextError, Token};
use std::{sync::Arc, time::Duration};

/// Where the engine stands.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineState {
    /// The first load, share done 0–1.
    Loading(f32),
    /// Serving.
    Ready,
    /// It died and is being started again; why it died.
    Restarting(String),
    /// It will not be started again; why.
    Failed(String),
    /// The server is stopping: no new requests.
    Draining,
}

/// Why a request was not accepted. `retry_after` is the wait to suggest to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The engine is loading or restarting.
    #[error("the model is not ready: {reason}")]
    NotReady {
        /// What it is doing.
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
    /// The server is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Why text could not be tokenized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizeError {
    /// The text or the tokens are at fault.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The engine is not there.
    #[error(transparent)]
    Engine(#[from] SubmitError),
}

/// News of one choice of a generation.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationEvent {
    /// Index into the submitted sequences.
    pub choice: usize,
    /// The news. The last one of each choice has a `finish`.
    pub output: SequenceOutput,
}

/// The running thing that a request started. Dropping it cancels what has not finished within one step.
#[derive(Debug)]
pub struct Generation {}

impl Generation {
    /// The next news, or `None` after every choice has finished. Cancel-safe.
    pub async fn next(&mut self) -> Option<GenerationEvent> {
        unimplemented!()
    }
}

/// A handle on the one served model; cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineHandle {}

#[expect(unused_variables, clippy::needless_pass_by_value, clippy::unused_async, reason = "signatures first; the body follows")]
impl EngineHandle {
    /// Facts about the model; `None` until it was loaded once.
    #[must_use]
    pub fn model(&self) -> Option<Arc<ModelInfo>> {
        unimplemented!()
    }

    /// Where the engine stands.
    #[must_use]
    pub fn state(&self) -> EngineState {
        unimplemented!()
    }

    /// Text to tokens, in the engine process. Repeated once if the engine dies meanwhile.
    ///
    /// # Errors
    /// `Text` if this text cannot be tokenized, `Engine` if there is no engine to ask.
    pub async fn tokenize(&self, text: String, add_special: bool) -> Result<Vec<Token>, TokenizeError> {
        unimplemented!()
    }

    /// Tokens to text, special tokens written out.
    ///
    /// # Errors
    /// As [`Self::tokenize`].
    pub async fn detokenize(&self, tokens: Vec<Token>) -> Result<String, TokenizeError> {
        unimplemented!()
    }

    /// Starts a generation with one choice per sequence. `id` and `resume` of the sequences are assigned here.
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing was started then.
    pub fn submit(&self, sequences: Vec<SequenceRequest>) -> Result<Generation, SubmitError> {
        unimplemented!()
    }
}
