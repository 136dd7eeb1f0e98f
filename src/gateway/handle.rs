//! The API's handle on the engine: tokenize, check a constraint, submit, follow a generation, ask for the state.
//!
//! Owns nothing but a channel to the run loop and a view of the status board. Admission happens here, on the
//! caller's task; everything else happens in the run loop.

use super::{
    calls::{Ask, CallPlace, OpenCall},
    command::{CommandSender, RunLoopCommand},
    death::DeathCause,
    embeds::{EmbedCaller, EmbedRequest, MAX_REQUESTS},
    engine_state::EngineState,
    error::{EmbeddingError, SubmitError, TokenizeError},
    events::events,
    in_flight::LiveSequence,
    keys::KeyId,
    pulse::PulseReading,
    status::StatusBoard,
};
pub use super::{events::GenerationEvent, generation::Generation};
use crate::protocol::{EngineStats, ModelInfo, SequenceId, SequenceRequest, Token};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

/// A handle on the one served model; cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    status: Arc<StatusBoard>,
    commands: CommandSender,
    /// The API key that calls are made for: keys take turns.
    key: u64,
}

impl EngineHandle {
    pub(super) fn new(status: Arc<StatusBoard>, commands: CommandSender) -> Self {
        Self { status, commands, key: 0 }
    }

    /// The same handle, for requests of `caller`. Callers take turns where they wait, and each has only a part of the
    /// places.
    #[must_use]
    pub fn of_caller(&self, caller: KeyId) -> Self {
        Self { key: caller.namespace(), ..self.clone() }
    }

    /// Facts about the model; `None` until it was loaded once.
    #[must_use]
    pub fn model(&self) -> Option<Arc<ModelInfo>> {
        self.status.facts.borrow().model.clone()
    }

    /// The state of the engine.
    #[must_use]
    pub fn state(&self) -> EngineState {
        self.status.state.borrow().clone()
    }

    /// True if the server is about to stop but still serves, so that load balancers send their next requests elsewhere.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.status.leaving.load(Ordering::Relaxed)
    }

    /// True if the server stops because the cloud takes the machine back.
    #[must_use]
    pub fn is_preempted(&self) -> bool {
        self.status.preempted.load(Ordering::Relaxed)
    }

    /// Notes that the cloud takes the machine back: refusals and probes say so from now on.
    pub fn set_preempted(&self) {
        self.status.preempted.store(true, Ordering::Relaxed);
    }

    /// True if the last test of the idle engine failed (`canary.rs`).
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.status.failing.load(Ordering::Relaxed)
    }

    /// Sets the result of a test of the idle engine; returns the former one.
    pub(super) fn set_failing(&self, is_failing: bool) -> bool {
        self.status.failing.swap(is_failing, Ordering::Relaxed)
    }

    /// Subscribes to the state of the engine, from now on.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<EngineState> {
        self.status.state.subscribe()
    }

    /// The engine's load after its last step. Totals go on across restarts; all zero before the first step.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        *self.status.stats.borrow()
    }

    /// Number of tokens that were generated since the server started, those of tests of the idle engine included.
    #[must_use]
    pub fn generated_tokens(&self) -> u64 {
        self.status.generated.load(Ordering::Relaxed)
    }

    /// Number of sequences and of requests for vectors that were accepted and are not done.
    pub(super) fn open_work(&self) -> usize {
        self.status.admission.taken() + MAX_REQUESTS.saturating_sub(self.status.embeds.available_permits())
    }

    /// Number of tests of the idle engine since the server started (`canary.rs`), each of one prompt row and one token.
    #[must_use]
    pub fn tests(&self) -> u64 {
        self.status.tests.load(Ordering::Relaxed)
    }

    /// Counts a test of the idle engine.
    pub(super) fn count_test(&self) {
        self.status.tests.fetch_add(1, Ordering::Relaxed);
    }

    /// The latest proof that the engine makes progress.
    #[must_use]
    pub fn pulse(&self) -> PulseReading {
        self.status.pulse.read()
    }

    /// The process id of the present engine; `None` between two engines.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.status.facts.borrow().pid
    }

    /// Share of the model that the present engine has loaded, 0–1; `None` while none loads.
    #[must_use]
    pub fn load_share(&self) -> Option<f32> {
        self.status.facts.borrow().load_share
    }

    /// Number of engines started after the first one.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.status.facts.borrow().restarts
    }

    /// Number of engines that died, by cause.
    #[must_use]
    pub fn engine_deaths(&self) -> BTreeMap<DeathCause, u64> {
        self.status.facts.borrow().deaths.clone()
    }

    /// Smoothed time between two completions while there is something to complete; `None` before the first completion.
    #[must_use]
    pub fn pace(&self) -> Option<Duration> {
        self.status.admission.pace()
    }

    /// Number of sequences that would be accepted now, and the maximum number of sequences.
    #[must_use]
    pub fn places(&self) -> (usize, usize) {
        (self.status.admission.free(self.key, Instant::now()), self.status.admission.capacity())
    }

    /// Starts a generation with one choice per sequence. `id` and `resume` of the sequences are assigned here.
    ///
    /// While an engine is being restarted, requests are accepted and held, for about as long as a model load takes.
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing was started in that case.
    pub fn submit(&self, sequences: Vec<SequenceRequest>) -> Result<Generation, SubmitError> {
        self.check_open()?;
        if self.model().is_some_and(|model| model.embedding().is_some()) {
            return Err(SubmitError::NotGenerating);
        }
        let places = self.status.admission.take(self.key, sequences.len(), Instant::now())?;
        let (sender, receiver) = events();
        let mut ids = Vec::with_capacity(sequences.len());
        let mut entries = Vec::with_capacity(sequences.len());
        for (choice, (mut request, place)) in sequences.into_iter().zip(places).enumerate() {
            request.id = SequenceId(self.status.next_sequence());
            request.resume.clear();
            ids.push(request.id);
            let content = self.status.fingerprints.of_sequence(&request);
            entries.push(LiveSequence::new(request, choice, content, sender.clone(), place));
        }
        self.send(RunLoopCommand::Submit(entries))?;
        Ok(Generation::new(&ids, receiver, self.commands.clone()))
    }

    /// Computes a vector for each input, in order and not normalised; for a rank head a score. Each input has 1 to
    /// `EmbeddingInfo::max_input_tokens` tokens of the vocabulary, special ones included.
    ///
    /// Waits for its turn: keys take turns. The inputs are computed again if the engine dies meanwhile, until they are
    /// refused because engines died of them. Dropping the future stops the work within two batches.
    ///
    /// # Errors
    /// `Embed` if an input cannot be computed, `Engine` if there is no engine to ask or its model generates.
    pub async fn embed(&self, inputs: Vec<Vec<Token>>) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        self.check_open()?;
        let permit = Arc::clone(&self.status.embeds).try_acquire_owned().map_err(|_| self.status.too_much_text(self.key))?;
        let model = self.model();
        let Some(info) = model.as_ref().and_then(|model| model.embedding()) else { return Err(SubmitError::NotEmbedding.into()) };
        let (reply, answer) = oneshot::channel();
        let caller = EmbedCaller { key: self.key, reply, permit };
        self.send(RunLoopCommand::Embed(EmbedRequest::new(inputs, info, &self.status.fingerprints, caller)))?;
        answer.await.map_err(|_| self.gone())?
    }

    /// The API key that calls are made for.
    pub(super) fn key(&self) -> u64 {
        self.key
    }

    /// Asks the engine a question and waits for the answer.
    pub(super) async fn ask<Q: Ask>(&self, question: Q) -> Result<Q::Answer, TokenizeError> {
        self.check_open()?;
        let place = self.call_place(question.bytes()).ok_or_else(|| self.status.too_much_text(self.key))?;
        let (call, answer) = OpenCall::new(question, self.key, &self.status.fingerprints, place);
        self.send(RunLoopCommand::Call(call))?;
        answer.await.map_err(|_| self.gone())?
    }

    fn call_place(&self, bytes: usize) -> Option<CallPlace> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        let call = Arc::clone(&self.status.text_calls).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.status.text_kib).try_acquire_many_owned(kib).ok()?;
        Some(CallPlace { _call: call, _bytes: bytes })
    }

    fn send(&self, command: RunLoopCommand) -> Result<(), SubmitError> {
        self.commands.send(command).map_err(|_| self.gone())
    }

    /// Fails if new work is not accepted in the present state.
    fn check_open(&self) -> Result<(), SubmitError> {
        match &*self.status.state.borrow() {
            EngineState::Ready => Ok(()),
            EngineState::Restarting(_) if self.status.facts.borrow().is_stuck => Err(SubmitError::stuck()),
            EngineState::Restarting(_) if self.status.facts.borrow().model.is_some() => Ok(()),
            EngineState::Restarting(_) => Err(SubmitError::loading("it is being loaded again")),
            EngineState::Preparing => Err(SubmitError::loading("its file is being fetched or checked")),
            EngineState::Loading(share) => Err(SubmitError::loading(format!("it is being loaded, {:.0} % done", share * 100.0))),
            EngineState::Failed(reason) => Err(SubmitError::failed(reason)),
            EngineState::Draining if self.is_preempted() => Err(SubmitError::Preempted),
            EngineState::Draining => Err(SubmitError::ShuttingDown),
        }
    }

    /// The reason why the run loop does not answer.
    fn gone(&self) -> SubmitError {
        self.check_open().err().unwrap_or(SubmitError::ShuttingDown)
    }
}
