//! The engine thread: drain commands, plan a step, execute it, sample, report. Owns the runner and every sequence.
//!
//! Never waits for anything but commands, and only while it has nothing to compute. Its outbox is bounded by the
//! outbox thread, which the gateway always drains; a gateway that stops reading stops this engine, and no other.

use crate::constrain::Matcher;
use crate::engine::{
    embedding::EmbedCall,
    generation::Generation,
    runner::{ModelRunner, Step, StepError, Tokenizer},
    scheduler::{NewSequence, Sampled, Scheduler},
};
use crate::protocol::{
    CallId, EmbedError, EngineStats, Finish, FromEngine, GenerationError, Prospect, SequenceId, SequenceOutput, SequenceRequest, Started,
    StepReport, Token,
};
use crate::sampling::{Pieces, Scratch};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError},
    },
    time::Instant,
};

/// What reaches the engine thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Generate.
    Submit {
        /// What.
        request: Box<SequenceRequest>,
        /// The state of its constraint behind `resume`; there if the request has one.
        matcher: Option<Box<Matcher>>,
    },
    /// A submission failed on its way here: say so.
    Refuse(SequenceId, GenerationError),
    /// Forget.
    Cancel(SequenceId),
    /// Compute vectors.
    Embed(Box<EmbedCall>),
    /// Say what would become of a request.
    Foresee(CallId, Prospect),
}

/// Signs of life, read by the inbox thread for the gateway's heartbeat.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Steps finished.
    pub(super) steps: AtomicU64,
    /// Whether there is work.
    pub(super) busy: AtomicBool,
}

/// The gateway is gone: nobody is left to work for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disconnected;

/// The vocabulary as samplers read it.
struct WrittenOut(Arc<dyn Tokenizer>);

impl Pieces for WrittenOut {
    fn piece(&self, token: Token) -> &[u8] {
        self.0.piece(token, true)
    }
}

/// The engine thread's state.
pub(super) struct Worker<'a> {
    runner: &'a mut dyn ModelRunner,
    tokenizer: Arc<dyn Tokenizer>,
    scheduler: Scheduler,
    generations: HashMap<SequenceId, Generation>,
    outbox: SyncSender<FromEngine>,
    progress: Arc<Progress>,
    scratch: Scratch,
    reported: EngineStats,
}

impl<'a> Worker<'a> {
    /// A worker without sequences.
    pub(super) fn new(
        runner: &'a mut dyn ModelRunner,
        tokenizer: Arc<dyn Tokenizer>,
        prefill_step_ratio: f32,
        outbox: SyncSender<FromEngine>,
        progress: Arc<Progress>,
    ) -> Self {
        let scheduler = Scheduler::new(runner.limits(), prefill_step_ratio);
        let generations = HashMap::new();
        let scratch = Scratch::new(Arc::new(WrittenOut(Arc::clone(&tokenizer))));
        Self { runner, tokenizer, scheduler, generations, outbox, progress, scratch, reported: EngineStats::default() }
    }

    /// Works until the gateway hangs up.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        while self.turn(commands).is_ok() {}
    }

    /// One turn: every command that is there, then at most one step.
    fn turn(&mut self, commands: &Receiver<Command>) -> Result<(), Disconnected> {
        loop {
            match commands.try_recv() {
                Ok(command) => self.apply(command)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Disconnected),
            }
        }
        let Some(step) = self.scheduler.next_step() else { return self.idle(commands) };
        self.progress.busy.store(true, Ordering::Relaxed);
        let started = self.started();
        if !started.is_empty() {
            // Before the step: if it kills this process, the gateway knows whom to suspect.
            self.report(started)?;
        }
        let outputs = self.step(&step);
        self.progress.steps.fetch_add(1, Ordering::Relaxed);
        self.report(outputs)
    }

    /// Reports that nothing is left to do, if that is news, and waits for a command.
    fn idle(&mut self, commands: &Receiver<Command>) -> Result<(), Disconnected> {
        if let Err(contradiction) = self.scheduler.check_idle() {
            tracing::error!(%contradiction, "the KV cache is not what it should be; all of it is dropped");
        }
        self.progress.busy.store(false, Ordering::Relaxed);
        if self.stats() != self.reported {
            self.report(Vec::new())?;
        }
        let command = commands.recv().map_err(|_| Disconnected)?;
        self.apply(command)
    }

    fn apply(&mut self, command: Command) -> Result<(), Disconnected> {
        match command {
            Command::Cancel(id) => {
                self.scheduler.cancel(id);
                self.generations.remove(&id);
                Ok(())
            }
            Command::Submit { request, matcher } => match self.submit(&request, matcher) {
                Ok(()) => Ok(()),
                Err(error) => self.report(vec![failed(request.id, error)]),
            },
            Command::Embed(call) => {
                let result = Err(EmbedError::Invalid("this model generates and does not embed".to_owned()));
                self.outbox.send(FromEngine::Embedded { call: call.call, result }).map_err(|_| Disconnected)
            }
            Command::Foresee(call, prospect) => {
                let forecast = self.scheduler.foresee(&prospect);
                self.outbox.send(FromEngine::Forecast { call, forecast }).map_err(|_| Disconnected)
            }
            Command::Refuse(id, error) => self.report(vec![failed(id, error)]),
        }
    }

    fn submit(&mut self, request: &SequenceRequest, matcher: Option<Box<Matcher>>) -> Result<(), GenerationError> {
        let max_len = self.check(request)?;
        if request.constraint.is_some() != matcher.is_some() {
            return Err(GenerationError::Constraint("it was not compiled".to_owned()));
        }
        let tokens: Vec<Token> = request.prompt.iter().chain(&request.resume).copied().collect();
        let scored = Generation::scored_positions(request);
        self.scheduler.submit(NewSequence { id: request.id, tokens, max_len, scored, namespace: request.namespace })?;
        self.generations.insert(request.id, Generation::new(request, matcher, self.tokenizer.as_ref()));
        Ok(())
    }

    /// The promises of [`SequenceRequest`]; a breach is the gateway's bug, and must not become llama.cpp's.
    fn check(&self, request: &SequenceRequest) -> Result<u32, GenerationError> {
        let invalid = |what: &str| Err(GenerationError::Invalid(what.to_owned()));
        let limits = self.runner.limits();
        let outside = |token: &Token| token.0 >= limits.vocabulary_size;
        if request.prompt.iter().chain(&request.resume).any(outside)
            || request.sampling.logit_bias.iter().any(|(t, _)| outside(t))
            || request.stop_tokens.iter().any(outside)
        {
            return invalid("a token id is outside the vocabulary");
        }
        let (Ok(prompt), Ok(resume)) = (u32::try_from(request.prompt.len()), u32::try_from(request.resume.len())) else {
            return invalid("the prompt is too long");
        };
        let scores_only = request.prompt_logprobs.is_some() && request.max_tokens == 0 && resume == 0;
        if prompt == 0 || (request.max_tokens <= resume && !scores_only) {
            return invalid("nothing to compute");
        }
        match prompt.checked_add(request.max_tokens) {
            Some(max_len) if max_len <= limits.max_model_len => Ok(max_len),
            _ => invalid("prompt and max_tokens exceed the model length"),
        }
    }

    fn step(&mut self, step: &Step) -> Vec<SequenceOutput> {
        let begun = Instant::now();
        let mut outputs = BTreeMap::new();
        match self.runner.execute(step) {
            Ok(()) => {
                let sampled = self.sample(step, &mut outputs);
                self.scheduler.complete(step, &sampled, begun.elapsed());
            }
            Err(error) => self.failed_step(step, &error, &mut outputs),
        }
        outputs.into_values().collect()
    }

    /// Reports of the sequences that begin with the step just planned.
    fn started(&mut self) -> Vec<SequenceOutput> {
        let now = Instant::now();
        let begin = |(id, cached_tokens)| {
            let queued = now.saturating_duration_since(self.generations.get(&id)?.received);
            let queue_us = u64::try_from(queued.as_micros()).unwrap_or(u64::MAX);
            Some(SequenceOutput { started: Some(Started { cached_tokens, queue_us }), ..SequenceOutput::empty(id) })
        };
        self.scheduler.take_started().into_iter().filter_map(begin).collect()
    }

    /// Draws a token for each row that asked for one, and scores the prompt tokens that follow rows of a scored prompt.
    fn sample(&mut self, step: &Step, outputs: &mut BTreeMap<SequenceId, SequenceOutput>) -> Vec<Sampled> {
        let mut sampled = Vec::new();
        for (index, row) in step.rows.iter().enumerate().filter(|(_, row)| row.sample) {
            let Some(generation) = self.generations.get_mut(&row.seq) else { continue };
            let output = outputs.entry(row.seq).or_insert_with(|| SequenceOutput::empty(row.seq));
            match self.runner.logits(index) {
                Some(logits) if generation.is_scored(row.pos) => {
                    match generation.score(row.pos, logits, self.tokenizer.as_ref(), &mut self.scratch) {
                        Ok(news) => output.prompt_logprobs.extend(news),
                        Err(_no_candidate) => {
                            output.finish = Some(Finish::Failed(GenerationError::NoCandidate));
                            self.generations.remove(&row.seq);
                            self.scheduler.cancel(row.seq);
                        }
                    }
                    continue;
                }
                Some(logits) => generation.advance(logits, self.tokenizer.as_ref(), &mut self.scratch, output),
                None => {
                    tracing::error!(index, "the runner has no logits of a row that asked for them");
                    output.finish = Some(Finish::Failed(GenerationError::Decode { code: -1 }));
                }
            }
            let finished = output.finish.is_some();
            // A sequence that failed before a token was drawn ends all the same; its token is never computed.
            let (token, forced) = output.tokens.split_first().map_or((row.token, &[][..]), |(token, forced)| (*token, forced));
            sampled.push(Sampled { id: row.seq, token, forced: forced.to_vec(), finished });
            if finished {
                self.generations.remove(&row.seq);
            }
        }
        sampled
    }

    fn failed_step(&mut self, step: &Step, error: &StepError, outputs: &mut BTreeMap<SequenceId, SequenceOutput>) {
        tracing::warn!(rows = step.rows.len(), %error, "a step failed");
        for (id, error) in self.scheduler.fail(step, error) {
            self.generations.remove(&id);
            outputs.entry(id).or_insert_with(|| SequenceOutput::empty(id)).finish = Some(Finish::Failed(error));
        }
    }

    fn stats(&self) -> EngineStats {
        EngineStats { steps: self.progress.steps.load(Ordering::Relaxed), ..self.scheduler.stats() }
    }

    /// Sends what is new to the sequences, and the counts.
    fn report(&mut self, outputs: Vec<SequenceOutput>) -> Result<(), Disconnected> {
        let stats = self.stats();
        self.reported = stats;
        self.outbox.send(FromEngine::Step(StepReport { outputs, stats })).map_err(|_| Disconnected)
    }
}

fn failed(id: SequenceId, error: GenerationError) -> SequenceOutput {
    SequenceOutput { finish: Some(Finish::Failed(error)), ..SequenceOutput::empty(id) }
}
