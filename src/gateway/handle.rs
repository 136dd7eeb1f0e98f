//! How the API talks to the engine: tokenize, check a constraint, submit, follow a generation, ask for the state.
//!
//! Owns nothing but a channel to the run loop and a view of what it publishes. Admission happens here, on the
//! caller's task; everything else happens in the run loop.

pub use super::generation::{Generation, GenerationEvent};
use super::{
    calls::{CallPlace, MAX_TEXT_BYTES, Question, TextCall},
    command::{Command, CommandSender},
    death::DeathCause,
    embeds::{Asker, EmbedRequest},
    generation::events,
    in_flight::Entry,
    keys::KeyId,
    status::Status,
};
use crate::protocol::{
    Constraint, ConstraintError, EmbedError, EngineStats, Forecast, ModelInfo, Prospect, SequenceId, SequenceRequest, SpecialText,
    TextError, Token,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// Wait to suggest while a model loads; small ones take a second, large ones minutes.
const RETRY_LOADING: Duration = Duration::from_secs(2);
/// Wait to suggest when the engine was given up: somebody has to act first.
const RETRY_FAILED: Duration = Duration::from_secs(60);

/// Wait to suggest when others' constraints are being compiled: about as long as the slowest takes.
const RETRY_CONSTRAINT: Duration = Duration::from_secs(2);

/// Where the engine stands.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineState {
    /// No engine yet: the model file is being fetched or checked.
    Preparing,
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
    /// As many texts wait to be tokenized, constraints to be compiled or inputs to be embedded as may, of all callers or of this key.
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

/// Why inputs have no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbeddingError {
    /// An input could not be computed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The engine is not there, or its model does not embed.
    #[error(transparent)]
    Engine(#[from] SubmitError),
}

/// Why a constraint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The constraint is at fault; what is wrong with it.
    #[error("{0}")]
    Refused(String),
    /// Nobody could find out for now; what was in the way.
    #[error("{reason}")]
    Busy {
        /// A sentence on the obstacle.
        reason: String,
        /// Suggested wait.
        retry_after: Duration,
    },
    /// Several engines died while they worked on it, and nobody knows of what.
    #[error("the engine died: {0}")]
    EngineDied(String),
    /// The engine is not there, or does not take this.
    #[error(transparent)]
    Engine(#[from] SubmitError),
}

impl From<ConstraintError> for CheckError {
    fn from(error: ConstraintError) -> Self {
        match error {
            ConstraintError::Refused(reason) => Self::Refused(reason),
            ConstraintError::Busy(reason) => Self::Busy { reason, retry_after: RETRY_CONSTRAINT },
        }
    }
}

impl From<TokenizeError> for CheckError {
    /// Calls of all kinds fail alike.
    fn from(error: TokenizeError) -> Self {
        match error {
            TokenizeError::Text(TextError::EngineDied(reason)) => Self::EngineDied(reason),
            TokenizeError::Text(error) => Self::Refused(error.to_string()),
            TokenizeError::Engine(error) => Self::Engine(error),
        }
    }
}

/// A handle on the one served model; cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    status: Arc<Status>,
    commands: CommandSender,
    /// The key that calls are made for: keys take turns.
    key: u64,
}

impl EngineHandle {
    pub(super) fn new(status: Arc<Status>, commands: CommandSender) -> Self {
        Self { status, commands, key: 0 }
    }

    /// The same for what this caller asks. Callers take turns where they wait, and each may have a part of what is waiting only.
    #[must_use]
    pub fn of_caller(&self, caller: KeyId) -> Self {
        Self { key: caller.namespace(), ..self.clone() }
    }

    /// Facts about the model; `None` until it was loaded once.
    #[must_use]
    pub fn model(&self) -> Option<Arc<ModelInfo>> {
        self.status.facts.borrow().model.clone()
    }

    /// Where the engine stands.
    #[must_use]
    pub fn state(&self) -> EngineState {
        self.status.state.borrow().clone()
    }

    /// Whether the server is about to stop and still serves, so that load balancers send their next requests elsewhere.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.status.leaving.load(Ordering::Relaxed)
    }

    /// Where the engine stands, from now on.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<EngineState> {
        self.status.state.subscribe()
    }

    /// The engine's load after its last step. Totals go on across restarts; all zero before the first step.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        *self.status.stats.borrow()
    }

    /// The process of the present engine; `None` between two engines.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.status.facts.borrow().pid
    }

    /// Share of the model that an engine has loaded, 0–1; `None` while none loads.
    #[must_use]
    pub fn load_share(&self) -> Option<f32> {
        self.status.facts.borrow().load_share
    }

    /// Engines started after the first one.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.status.facts.borrow().restarts
    }

    /// Engines that died, by cause.
    #[must_use]
    pub fn engine_deaths(&self) -> BTreeMap<DeathCause, u64> {
        self.status.facts.borrow().deaths.clone()
    }

    /// Text to tokens, in the engine process. Asked again if the engine dies meanwhile, until it is refused because engines died of it.
    ///
    /// Waits for its turn: short texts pass long ones, and keys take turns. Ends in bounded time: an engine that owes an answer for
    /// longer than the stall timeout is killed.
    ///
    /// # Errors
    /// `Text` if this text cannot be tokenized, `Engine` if there is no engine to ask.
    pub async fn tokenize(&self, text: String, add_special: bool, special: SpecialText) -> Result<Vec<Token>, TokenizeError> {
        let bytes = check_size(text.len())?;
        self.ask(bytes, |reply| Question::Tokenize { text, add_special, special, reply }).await
    }

    /// Tokens to text, special tokens written out.
    ///
    /// # Errors
    /// As [`Self::tokenize`].
    pub async fn detokenize(&self, tokens: Vec<Token>) -> Result<String, TokenizeError> {
        let bytes = check_size(tokens.len().saturating_mul(size_of::<Token>()))?;
        self.ask(bytes, |reply| Question::Detokenize { tokens, reply }).await
    }

    /// Tokens to the bytes of each, special tokens written out.
    ///
    /// # Errors
    /// As [`Self::tokenize`].
    pub async fn spell(&self, tokens: Vec<Token>) -> Result<Vec<Vec<u8>>, TokenizeError> {
        let bytes = check_size(tokens.len().saturating_mul(size_of::<Token>()))?;
        self.ask(bytes, |reply| Question::Spell { tokens, reply }).await
    }

    /// What would become of a request now. Answered between two steps; nothing is changed.
    ///
    /// # Errors
    /// As [`Self::tokenize`].
    pub async fn foresee(&self, prospect: Prospect) -> Result<Forecast, TokenizeError> {
        let tokens: usize = prospect.prompts.iter().map(Vec::len).sum();
        let bytes = check_size(tokens.saturating_mul(size_of::<Token>()))?;
        self.ask(bytes, |reply| Question::Foresee { prospect, reply }).await
    }

    /// Smoothed time between two completions while there is something to complete; `None` before the first.
    #[must_use]
    pub fn pace(&self) -> Option<Duration> {
        self.status.admission.pace()
    }

    /// Sequences that would be taken in now, and how many there may ever be.
    #[must_use]
    pub fn places(&self) -> (usize, usize) {
        (self.status.admission.free(), self.status.admission.capacity())
    }

    /// Whether text under a constraint can be generated, found out by compiling it in the engine process. A submission
    /// that follows finds it compiled. Callers take turns.
    ///
    /// # Errors
    /// `Refused` says what is wrong with it, `Busy` that nobody could find out; the others as [`Self::tokenize`].
    pub async fn check_constraint(&self, constraint: Constraint) -> Result<(), CheckError> {
        let too_long = |error: TextError| CheckError::Refused(error.to_string());
        let bytes = check_size(constraint.text_bytes()).map_err(too_long)?;
        self.ask(bytes, |reply| Question::Check { constraint, namespace: self.key, reply }).await
    }

    /// Starts a generation with one choice per sequence. `id` and `resume` of the sequences are assigned here.
    ///
    /// While an engine is being restarted, requests are taken in and held: that takes about as long as a model load.
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing was started then.
    pub fn submit(&self, sequences: Vec<SequenceRequest>) -> Result<Generation, SubmitError> {
        self.check_open()?;
        if self.model().is_some_and(|model| model.embedding().is_some()) {
            return Err(SubmitError::NotGenerating);
        }
        let places = self.status.admission.take(sequences.len())?;
        let (sender, receiver) = events();
        let mut ids = Vec::with_capacity(sequences.len());
        let mut entries = Vec::with_capacity(sequences.len());
        for (choice, (mut request, place)) in sequences.into_iter().zip(places).enumerate() {
            request.id = SequenceId(self.status.next_sequence());
            request.resume.clear();
            ids.push(request.id);
            let content = self.status.fingerprints.of_sequence(&request);
            entries.push(Entry::new(request, choice, content, sender.clone(), place));
        }
        self.send(Command::Submit(entries))?;
        Ok(Generation::new(&ids, receiver, self.commands.clone()))
    }

    /// A vector for each input, in order and not normalised; for a rank head a score. Each input has 1 to
    /// `EmbeddingInfo::max_input_tokens` tokens of the vocabulary, special ones included.
    ///
    /// Waits for its turn: keys take turns. Computed again if the engine dies meanwhile, until it is refused because engines died of
    /// it. Dropping the future stops the work within two batches.
    ///
    /// # Errors
    /// `Embed` if an input cannot be computed, `Engine` if there is no engine to ask or its model generates.
    pub async fn embed(&self, inputs: Vec<Vec<Token>>) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        self.check_open()?;
        let permit = Arc::clone(&self.status.embeds).try_acquire_owned().map_err(|_| SubmitError::TooMuchText)?;
        let model = self.model();
        let Some(info) = model.as_ref().and_then(|model| model.embedding()) else { return Err(SubmitError::NotEmbedding.into()) };
        let (reply, answer) = oneshot::channel();
        let asker = Asker { key: self.key, reply, permit };
        self.send(Command::Embed(EmbedRequest::new(inputs, info, &self.status.fingerprints, asker)))?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Asks the engine something about so many bytes.
    async fn ask<T, E: From<SubmitError>>(
        &self,
        bytes: usize,
        question: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Question,
    ) -> Result<T, E> {
        self.check_open()?;
        let place = self.call_place(bytes).ok_or(SubmitError::TooMuchText)?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Text(TextCall::new(question(reply), self.key, &self.status.fingerprints, place)))?;
        answer.await.map_err(|_| self.gone())?
    }

    fn call_place(&self, bytes: usize) -> Option<CallPlace> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        let call = Arc::clone(&self.status.text_calls).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.status.text_kib).try_acquire_many_owned(kib).ok()?;
        Some(CallPlace { _call: call, _bytes: bytes })
    }

    fn send(&self, command: Command) -> Result<(), SubmitError> {
        self.commands.send(command).map_err(|_| self.gone())
    }

    /// Whether new work is taken in.
    fn check_open(&self) -> Result<(), SubmitError> {
        let not_ready = |reason: String, retry_after| Err(SubmitError::NotReady { reason, retry_after });
        match &*self.status.state.borrow() {
            EngineState::Ready => Ok(()),
            EngineState::Restarting(_) if self.status.facts.borrow().is_stuck => {
                not_ready("the engine does not end, so that it cannot be started again".to_owned(), RETRY_FAILED)
            }
            EngineState::Restarting(_) if self.status.facts.borrow().model.is_some() => Ok(()),
            EngineState::Restarting(_) => not_ready("it is being loaded again".to_owned(), RETRY_LOADING),
            EngineState::Preparing => not_ready("its file is being fetched or checked".to_owned(), RETRY_LOADING),
            EngineState::Loading(share) => not_ready(format!("it is being loaded, {:.0} % done", share * 100.0), RETRY_LOADING),
            EngineState::Failed(reason) => not_ready(format!("the engine failed: {reason}"), RETRY_FAILED),
            EngineState::Draining => Err(SubmitError::ShuttingDown),
        }
    }

    /// Why the run loop does not answer.
    fn gone(&self) -> SubmitError {
        self.check_open().err().unwrap_or(SubmitError::ShuttingDown)
    }
}

/// These bytes, if a call may have so many.
fn check_size(bytes: usize) -> Result<usize, TextError> {
    if bytes <= MAX_TEXT_BYTES {
        return Ok(bytes);
    }
    let long = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Err(TextError::TooLong { len: long(bytes), max: long(MAX_TEXT_BYTES) })
}
