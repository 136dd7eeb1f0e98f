//! The engine thread: it drains commands, plans a step, executes it, samples and reports. Owns the runner and every
//! sequence.
//!
//! While it has nothing to compute it waits for commands, and at its end for the files that it writes; it waits for
//! nothing else. Its outbox is bounded by the outbox thread, which the gateway always drains. A gateway that stops
//! reading stops this engine, and no other.

use crate::constrain::Matcher;
use crate::engine::{
    commands::{Disconnected, ENGINE_STACK_BYTES, StepProgress, WorkerCommand},
    disk::{DiskTier, Folder},
    draft_model::{DraftModel, Wanted},
    draws::{Draw, Drawers, Drawn},
    generation::GenerationState,
    masks::Masks,
    runner::{ModelRunner, Row, Step, StepError, Tokenizer},
    scheduler::{NewSequence, Sampled, Scheduler},
};
use crate::protocol::{
    EngineOptions, EngineStats, Finish, FromEngine, GenerationError, SequenceId, SequenceOutput, SequenceRequest, Started, StepReport,
    Token,
};
use crate::sampling::Pieces;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError},
    },
    time::{Duration, Instant},
};

/// The vocabulary in the form that samplers read: special tokens are written out.
struct WrittenOut(Arc<dyn Tokenizer>);

impl Pieces for WrittenOut {
    fn piece(&self, token: Token) -> &[u8] {
        self.0.piece(token, true)
    }
}

/// The engine thread's state.
pub(super) struct Worker<'a> {
    runner: &'a mut dyn ModelRunner,
    draft_model: Option<DraftModel<'a>>,
    tokenizer: Arc<dyn Tokenizer>,
    scheduler: Scheduler,
    disk: Option<DiskTier>,
    generations: HashMap<SequenceId, GenerationState>,
    outbox: SyncSender<FromEngine>,
    progress: Arc<StepProgress>,
    drawers: Drawers,
    masks: Masks,
    reported: EngineStats,
}

impl<'a> Worker<'a> {
    /// A worker without sequences.
    pub(super) fn new(
        runner: &'a mut dyn ModelRunner,
        tokenizer: Arc<dyn Tokenizer>,
        options: &EngineOptions,
        outbox: SyncSender<FromEngine>,
        progress: Arc<StepProgress>,
    ) -> Self {
        let target_itl = options.target_itl_ms.map(|ms| Duration::from_millis(ms.into()));
        let scheduler = Scheduler::new(runner.limits(), options.prefill_step_ratio);
        let scheduler = scheduler.with_target_itl(target_itl).with_drafts(options.num_speculative_tokens);
        let generations = HashMap::new();
        let pieces: Arc<dyn Pieces> = Arc::new(WrittenOut(Arc::clone(&tokenizer)));
        let drawers = Drawers::new(runner.idle_threads(), ENGINE_STACK_BYTES, &pieces);
        let reported = EngineStats::default();
        let masks = Masks::default();
        Self { runner, draft_model: None, tokenizer, scheduler, disk: None, generations, outbox, progress, drawers, masks, reported }
    }

    /// Adds a draft model, if there is one; it then guesses instead of a search in the earlier text.
    pub(super) fn with_draft_model(mut self, draft: Option<&'a mut dyn ModelRunner>) -> Self {
        if let Some(draft) = draft {
            self.draft_model = Some(DraftModel::new(draft, self.runner.limits().vocabulary_size));
            self.scheduler = self.scheduler.with_draft_model();
        }
        self
    }

    /// Adds a folder for cached contents, if there is one: the worker begins with the contents in it and keeps it up to
    /// date.
    pub(super) fn with_folder(mut self, folder: Option<Folder>) -> Self {
        self.disk = folder.and_then(|folder| DiskTier::start(folder, self.runner));
        self
    }

    /// Works until the gateway hangs up.
    pub(super) fn run(mut self, commands: &Receiver<WorkerCommand>) {
        while self.turn(commands).is_ok() {}
        self.keep();
    }

    /// Writes cached contents to disk, if there is a folder for them. Called when the gateway has hung up.
    fn keep(mut self) {
        if self.disk.is_none() {
            return;
        }
        for id in std::mem::take(&mut self.generations).into_keys() {
            self.scheduler.cancel(id);
        }
        self.check_cache();
        while let Some(step) = self.scheduler.park_idle(true) {
            // A step without rows has no outputs; the same holds below.
            self.step(&step, Instant::now());
        }
        if let Some(disk) = self.disk {
            disk.close();
        }
    }

    /// One turn: applies every command that has come, then executes at most one step.
    fn turn(&mut self, commands: &Receiver<WorkerCommand>) -> Result<(), Disconnected> {
        loop {
            match commands.try_recv() {
                Ok(command) => self.apply(command)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Disconnected),
            }
        }
        if let Some(disk) = &mut self.disk {
            disk.restore(&mut self.scheduler, self.runner);
        }
        self.scheduler.leave_out(self.masks.prepare(&mut self.generations));
        let drafting = Instant::now();
        self.draft();
        let planning = Instant::now();
        let Some(step) = self.scheduler.next_step() else { return self.idle(commands) };
        // Drafting is part of the step's time only if the drafts are used.
        let begun = if self.scheduler.uses_drafts() { drafting } else { planning };
        self.progress.busy.store(true, Ordering::Relaxed);
        let started = self.started();
        // Reported before the step: if the step ends this process, the gateway knows which sequences to suspect.
        let reported = if started.is_empty() { Ok(()) } else { self.report(started) };
        // Executed even if the gateway has hung up: until the step is executed, the record of the KV cache is ahead of
        // the runner.
        let outputs = self.step(&step, begun);
        self.progress.steps.fetch_add(1, Ordering::Relaxed);
        if let Some(disk) = &mut self.disk {
            disk.on_step();
        }
        reported?;
        self.report(outputs)
    }

    /// Reports that nothing is left to do, if the counts have changed, and waits for a command.
    fn idle(&mut self, commands: &Receiver<WorkerCommand>) -> Result<(), Disconnected> {
        self.check_cache();
        self.progress.busy.store(false, Ordering::Relaxed);
        if self.stats() != self.reported {
            self.report(Vec::new())?;
        }
        match self.disk.as_ref().and_then(DiskTier::patience) {
            None => {
                let command = commands.recv().map_err(|_| Disconnected)?;
                self.apply(command)
            }
            Some(patience) => match commands.recv_timeout(patience) {
                Ok(command) => self.apply(command),
                Err(RecvTimeoutError::Timeout) => {
                    self.save_idle();
                    Ok(())
                }
                Err(RecvTimeoutError::Disconnected) => Err(Disconnected),
            },
        }
    }

    /// Drops the whole cache if its record contradicts itself. Called when no sequence is live.
    fn check_cache(&mut self) {
        if let Err(contradiction) = self.scheduler.check_idle() {
            tracing::error!(%contradiction, "the KV cache is not what it should be; all of it is dropped");
        }
    }

    /// Saves a content that a slot holds and disk lacks, if it is time for that.
    fn save_idle(&mut self) {
        let Some(disk) = self.disk.as_mut().filter(|disk| disk.may_save()) else { return };
        let step = self.scheduler.park_idle(false);
        disk.on_idle(step.is_some());
        if let Some(step) = step {
            self.step(&step, Instant::now());
        }
    }

    fn apply(&mut self, command: WorkerCommand) -> Result<(), Disconnected> {
        match command {
            WorkerCommand::Cancel(id) => {
                self.scheduler.cancel(id);
                self.generations.remove(&id);
                Ok(())
            }
            WorkerCommand::Submit { request, matcher } => match self.submit(&request, matcher) {
                Ok(()) => Ok(()),
                Err(error) => self.report(vec![failed(request.id, error)]),
            },
            WorkerCommand::Forecast(asked) => {
                let forecast = self.scheduler.forecast(&asked.question);
                self.outbox.send(asked.reply(forecast)).map_err(|_| Disconnected)
            }
            WorkerCommand::Refuse(id, error) => self.report(vec![failed(id, error)]),
        }
    }

    fn submit(&mut self, request: &SequenceRequest, matcher: Option<Box<Matcher>>) -> Result<(), GenerationError> {
        let max_len = self.check(request)?;
        if request.constraint.is_some() != matcher.is_some() {
            return Err(GenerationError::Constraint("it was not compiled".to_owned()));
        }
        let tokens: Vec<Token> = request.prompt.iter().chain(&request.resume).copied().collect();
        let scored = GenerationState::scored_positions(request);
        let (namespace, repeatable) = (request.namespace, request.sampling.repeatable);
        self.scheduler.submit(NewSequence { id: request.id, tokens, max_len, scored, namespace, repeatable })?;
        self.generations.insert(request.id, GenerationState::new(request, matcher, self.tokenizer.as_ref()));
        Ok(())
    }

    /// Checks the conditions of [`SequenceRequest`]. A breach is the gateway's bug, and must not reach llama.cpp.
    /// Returns the largest length of the sequence, in tokens.
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

    /// Guesses the next tokens of sequences for which that pays: from the caller's prediction, else with the draft
    /// model, or from the earlier text if there is no draft model.
    fn draft(&mut self) {
        let mut wanted = Vec::new();
        let mut drafts = Vec::new();
        for request in self.scheduler.take_draft_requests() {
            let Some(generation) = self.generations.get_mut(&request.id).filter(|generation| generation.takes_drafts()) else { continue };
            let tokens = self.scheduler.tokens(request.id);
            let draft = generation.draft(tokens, request.max_tokens, self.draft_model.is_none());
            if draft.is_empty() {
                wanted.push(Wanted { id: request.id, tokens, max_tokens: request.max_tokens });
            } else {
                drafts.push((request.id, draft));
            }
        }
        if let Some(model) = &mut self.draft_model {
            drafts.extend(model.draft(&wanted, |id| self.generations.contains_key(&id)));
        }
        for (id, draft) in drafts {
            self.scheduler.propose(id, draft);
        }
    }

    /// Executes a step whose planning began at `begun`, and samples.
    fn step(&mut self, step: &Step, begun: Instant) -> Vec<SequenceOutput> {
        let mut outputs = BTreeMap::new();
        let executed = self.runner.execute(step);
        self.scheduler.learn_shortest(|slot| self.runner.shortest(slot));
        if let Some(disk) = &mut self.disk {
            disk.follow(&step.kv, &self.scheduler, self.runner);
        }
        match executed {
            Ok(()) => {
                // On a GPU the call returns before the work is done; the first look at a logit waits for it.
                for row in step.rows.iter().filter(|row| row.sample) {
                    if let Some(generation) = self.generations.get_mut(&row.seq) {
                        generation.prepare_mask();
                    }
                }
                let sampled = self.sample(step, &mut outputs);
                self.report_progress(step, &mut outputs);
                self.scheduler.complete(step, &sampled, begun.elapsed());
            }
            Err(error) => self.failed_step(step, &error, &mut outputs),
        }
        outputs.into_values().collect()
    }

    /// The reports of the sequences that begin with the step just planned.
    fn started(&mut self) -> Vec<SequenceOutput> {
        let now = Instant::now();
        let begin = |(id, cached_tokens)| {
            let queued = now.saturating_duration_since(self.generations.get(&id)?.received);
            let queue_us = u64::try_from(queued.as_micros()).unwrap_or(u64::MAX);
            Some(SequenceOutput { started: Some(Started { cached_tokens, queue_us }), ..SequenceOutput::empty(id) })
        };
        self.scheduler.take_started().into_iter().filter_map(begin).collect()
    }

    /// Draws the tokens that follow each sequence whose last row is in the step, and scores the prompt tokens after
    /// rows of scored prompts.
    fn sample(&mut self, step: &Step, outputs: &mut BTreeMap<SequenceId, SequenceOutput>) -> Vec<Sampled> {
        let mut draws = Vec::new();
        let mut first = 0;
        for rows in step.rows.chunk_by(|a, b| a.seq == b.seq) {
            let indices = first..first + rows.len();
            first = indices.end;
            if rows.iter().any(|row| row.sample)
                && let Some(generation) = self.generations.remove(&rows[0].seq)
            {
                let logits = indices.map(|index| if step.rows[index].sample { self.runner.logits(index) } else { None }).collect();
                draws.push(Draw { rows, logits, generation });
            }
        }
        let drawn = self.drawers.draw(draws, self.tokenizer.as_ref());
        drawn.into_iter().filter_map(|drawn| self.take(drawn, outputs)).collect()
    }

    /// Reports how far the prompts of the step are that have more rows to come.
    fn report_progress(&mut self, step: &Step, outputs: &mut BTreeMap<SequenceId, SequenceOutput>) {
        let now = Instant::now();
        for last in step.rows.chunk_by(|a, b| a.seq == b.seq).filter_map(<[Row]>::last) {
            let (id, processed) = (last.seq, last.pos + 1);
            // Streams, which have all their rows, are the most.
            if usize::try_from(processed).is_ok_and(|processed| processed >= self.scheduler.tokens(id).len()) {
                continue;
            }
            if self.generations.get_mut(&id).is_some_and(|generation| generation.progress.is_due(now)) {
                outputs.entry(id).or_insert_with(|| SequenceOutput::empty(id)).processed = Some(processed);
            }
        }
    }

    fn take(&mut self, drawn: Drawn, outputs: &mut BTreeMap<SequenceId, SequenceOutput>) -> Option<Sampled> {
        let Drawn { generation, output, sampled } = drawn;
        if output.finish.is_none() {
            self.generations.insert(output.id, generation);
        } else if sampled.is_none() {
            self.scheduler.cancel(output.id);
        }
        outputs.insert(output.id, output);
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
        let mut stats = self.scheduler.stats();
        stats.totals.steps = self.progress.steps.load(Ordering::Relaxed);
        stats.gauges.threads = self.runner.threads();
        stats
    }

    /// Sends the outputs of sequences, and the counts.
    fn report(&mut self, outputs: Vec<SequenceOutput>) -> Result<(), Disconnected> {
        let stats = self.stats();
        self.reported = stats;
        self.outbox.send(FromEngine::Step(StepReport { outputs, stats })).map_err(|_| Disconnected)
    }
}

fn failed(id: SequenceId, error: GenerationError) -> SequenceOutput {
    SequenceOutput { finish: Some(Finish::Failed(error)), ..SequenceOutput::empty(id) }
}
