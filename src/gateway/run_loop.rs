//! The run loop: one task that owns the engine and everything that is in flight.
//!
//! ```text
//! launch ─▶ load ─▶ serve ─▶ death ─▶ pause ─▶ launch …     gives up after too many failed starts in a row
//!                     └─ drained ─▶ stop
//! ```
//!
//! An engine that dies after it was given work may have died of that work: then a pause and a quarantine follow, and
//! never the end of the server, so that no request can end it. Only engines that die before any was ready, or that were
//! ready and never given work, count as failed starts: a model that was loaded once is loaded again until that works,
//! whatever its engine dies of meanwhile.
//!
//! Events (a frame, a command, a tick, a deadline) come in one at a time and are handled without waiting, so nothing
//! here locks and no client can hold up another. At most one engine is alive.

mod history;

pub(super) use history::History;

use super::{
    blame::{Aftermath, Gate, judge},
    calls::OpenCalls,
    command::RunLoopCommand,
    death::{Death, DeathCause},
    embeds::Embeds,
    engine::{Engine, EngineEvent, EngineFault},
    engine_state::EngineState,
    error::SubmitError,
    in_flight::{InFlight, ReplayOutcome},
    launcher::{EngineChild, Launcher},
    quarantine::{Quarantine, log_refusal},
    status::StatusBoard,
};
use crate::{
    config::SupervisionConfig,
    protocol::{EngineGauges, EngineOptions, EngineReply, EngineStats, FromEngine, GenerationError, StepReport, ToEngine},
};
use history::MAX_PAUSE;
use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

/// Consecutive failed reloads of a model during which requests are held: about half a minute if loads fail at once.
/// After that the held requests fail, and new ones are refused, until a load works.
const MAX_HELD_LOADS: u32 = 5;
/// Frames that may wait to be written, in addition to those of all admitted sequences.
const OUTBOX_RESERVE: usize = 256;

/// Supervises the engine; see the module's header.
pub(super) struct RunLoop<L: Launcher> {
    pub(super) launcher: L,
    pub(super) options: EngineOptions,
    pub(super) policy: SupervisionConfig,
    pub(super) status: Arc<StatusBoard>,
    pub(super) commands: UnboundedReceiver<RunLoopCommand>,
    pub(super) sequences: InFlight,
    pub(super) calls: OpenCalls,
    pub(super) embeds: Embeds,
    pub(super) quarantine: Quarantine,
    /// The latest time to stop; set when the server is stopping.
    pub(super) drain_by: Option<Instant>,
    pub(super) history: History,
}

/// The reason why the loop ended.
enum End {
    Drained,
    GaveUp(Death),
}

/// The end of one engine.
enum EngineExit<C> {
    Drained,
    /// The engine died; with its child if the process does not end when killed.
    Died(Death, Option<C>),
}

impl<L: Launcher> RunLoop<L> {
    /// Runs until the server stops or the engine is given up. Afterwards no engine is left.
    pub(super) async fn run(mut self) {
        let end = loop {
            let (death, stuck_child) = match self.run_engine().await {
                EngineExit::Drained => break End::Drained,
                EngineExit::Died(death, stuck_child) => (death, stuck_child),
            };
            let replay = self.record_exit(&death);
            if self.should_give_up(&death) {
                // The task that waits for the end reports it, once.
                break End::GaveUp(death);
            }
            self.log_death(&death, &replay);
            if self.wait_for_end(stuck_child).await || self.pause().await {
                break End::Drained;
            }
            self.status.facts.send_modify(|facts| facts.restarts += 1);
        };
        self.finish(&end);
    }

    // === One engine ===

    /// Launches an engine and serves with it until it dies or everything is drained.
    async fn run_engine(&mut self) -> EngineExit<L::Child> {
        (self.history.was_ready, self.history.was_given_work) = (false, false);
        let launched = match self.launcher.launch().await {
            Ok(launched) => launched,
            Err(error) => return EngineExit::Died(Death { detail: Some(error.to_string()), ..Death::new(DeathCause::LaunchFailed) }, None),
        };
        let outbox_frames = self.status.admission.capacity().saturating_mul(2).saturating_add(OUTBOX_RESERVE);
        let mut engine = Engine::new(launched, outbox_frames, &self.policy, self.options.clone());
        self.status.facts.send_modify(|facts| facts.pid = engine.pid());

        let outcome = self.serve(&mut engine).await;

        self.status.pulse.on_exit();
        self.status.facts.send_modify(|facts| (facts.pid, facts.load_share) = (None, None));
        match outcome {
            Ok(()) => {
                // Clients get their errors before the wait for the engine.
                self.fail_all(&GenerationError::ShuttingDown, &SubmitError::ShuttingDown);
                engine.stop().await;
                EngineExit::Drained
            }
            Err(fault) => {
                let (death, stuck_child) = engine.end_faulty(fault).await;
                EngineExit::Died(death, stuck_child)
            }
        }
    }

    /// Handles events until everything is drained (`Ok`) or the engine cannot be used any longer.
    async fn serve(&mut self, engine: &mut Engine<L::Child>) -> Result<(), EngineFault> {
        loop {
            if self.is_drained() {
                return Ok(());
            }
            tokio::select! {
                event = engine.next() => match event? {
                    EngineEvent::Message(message) => self.on_message(engine, message)?,
                    EngineEvent::Tick => {
                        engine.on_tick(self.calls.on_tick())?;
                        self.status.pulse.on_tick(engine.still_seconds());
                        self.quarantine.purge(Instant::now());
                        self.publish_load(engine);
                    }
                },
                Some(command) = self.commands.recv() => self.on_command(command, Some(&mut *engine)),
                () = at(self.drain_by) => {}
            }
            if engine.is_ready() {
                self.send_what_is_held(engine);
            }
            if engine.is_stable() {
                self.history.forgive();
            }
            engine.check_outbox()?;
        }
    }

    fn on_message(&mut self, engine: &mut Engine<L::Child>, message: FromEngine) -> Result<(), EngineFault> {
        match message {
            FromEngine::LoadProgress(share) => {
                engine.on_progress(share);
                self.publish_load(engine);
            }
            FromEngine::Ready(info) => {
                engine.on_ready()?;
                if info.generation().is_some() {
                    // The next engine has room for all that is admitted under these sizes.
                    self.options.max_model_len = Some(info.max_model_len);
                    self.options.max_num_seqs = Some(info.max_num_seqs);
                }
                self.status.facts.send_modify(|facts| facts.model = Some(Arc::new(*info)));
                self.history.was_ready = true;
                self.history.failed_loads = 0;
                self.publish_load(engine);
                // A failed test was one of the last engine.
                self.status.failing.store(false, Ordering::Relaxed);
                self.status.set_state(EngineState::Ready);
                tracing::info!(pid = engine.pid(), held = self.sequences.len(), "the engine is ready");
            }
            FromEngine::LoadFailed(error) => return Err(EngineFault::LoadFailed(error)),
            FromEngine::Embedding(calls) => self.embeds.on_begun(&calls),
            FromEngine::Reply { id, reply: EngineReply::Embed(result) } => self.embeds.on_embedded(id, result, &mut self.quarantine),
            FromEngine::Reply { id, reply } => self.calls.on_reply(id, reply, &mut self.quarantine),
            FromEngine::Step(report) => self.on_step(engine, report),
            FromEngine::Pong { nonce, steps, busy } => {
                if !busy {
                    self.sequences.on_idle();
                }
                engine.on_pong(nonce, steps, busy)?;
            }
        }
        Ok(())
    }

    /// Publishes the progress of the load.
    fn publish_load(&self, engine: &Engine<L::Child>) {
        let share = engine.load_share();
        self.status.facts.send_if_modified(|facts| std::mem::replace(&mut facts.load_share, share) != share);
        let is_loading = matches!(*self.status.state.borrow(), EngineState::Loading(_));
        if let Some(share) = share.filter(|_| is_loading) {
            self.status.set_state(EngineState::Loading(share));
        }
    }

    fn on_step(&mut self, engine: &mut Engine<L::Child>, report: StepReport) {
        engine.on_steps(report.stats.totals.steps);
        if report.stats.totals.steps > 0 {
            self.history.forgive();
        }
        let generated: usize = report.outputs.iter().map(|output| output.tokens.len()).sum();
        let generated = u64::try_from(generated).unwrap_or(u64::MAX);
        self.status.generated.fetch_add(generated, Ordering::Relaxed);
        self.history.meter.on_report(&report.stats.totals, generated);
        let finished = self.sequences.on_report(report.outputs, &mut self.quarantine);
        self.sequences.on_steps(report.stats.totals.steps);
        self.measure_pace(finished);
        // The totals of earlier engines are added, so that totals never decrease.
        let EngineStats { gauges, totals } = report.stats;
        self.status.stats.send_replace(EngineStats { gauges, totals: self.history.totals + totals });
    }

    fn measure_pace(&mut self, finished: u32) {
        let pace = self.history.pace.update(Instant::now(), finished, self.sequences.len());
        self.status.admission.set_pace(pace);
    }

    fn on_command(&mut self, command: RunLoopCommand, engine: Option<&mut Engine<L::Child>>) {
        let now = Instant::now();
        let is_refused = |content| self.quarantine.is_refused(content, now);
        match command {
            RunLoopCommand::Submit(entries) => {
                for entry in entries {
                    if is_refused(entry.content()) { entry.refuse() } else { self.sequences.insert(entry) }
                }
            }
            RunLoopCommand::Cancel(ids) => {
                let known: Vec<_> = ids.into_iter().filter(|id| self.sequences.cancel(*id)).collect();
                self.measure_pace(0);
                if let Some(engine) = engine {
                    known.into_iter().for_each(|id| engine.send(ToEngine::Cancel(id)));
                }
            }
            RunLoopCommand::Call(call) if is_refused(call.content()) => call.quarantine(None),
            RunLoopCommand::Call(call) => {
                let key = call.key();
                self.calls.insert(call, || self.status.too_much_text(key));
            }
            RunLoopCommand::Embed(request) => {
                let refused = request.contents().find(|content| is_refused(*content));
                if let Some(content) = refused {
                    log_refusal("embed", None, content);
                    request.refuse(SubmitError::Quarantined);
                } else {
                    let key = request.key();
                    self.embeds.insert(request, || self.status.too_much_text(key));
                }
            }
            RunLoopCommand::Drain(deadline) => self.drain_by = Some(deadline),
        }
    }

    /// Sends new requests and, after a restart, those to be replayed: all of them, or suspects one at a time (`blame`).
    fn send_what_is_held(&mut self, engine: &mut Engine<L::Child>) {
        let slots = slots(&self.status, &self.options);
        let works = || self.calls.works().chain(self.embeds.works()).chain(self.sequences.works(slots)).collect();
        let mut gate = Gate::new(works, &self.quarantine, Instant::now(), self.history.owes_others);
        loop {
            let mut messages = self.calls.unsent(&mut gate);
            messages.append(&mut self.embeds.unsent(&mut gate));
            messages.extend(self.sequences.unsent(&mut gate, slots).into_iter().map(|request| ToEngine::Submit(Box::new(request))));
            self.history.was_given_work |= !messages.is_empty();
            messages.into_iter().for_each(|message| engine.send(message));
            if !gate.next_turn() {
                break;
            }
        }
        self.history.owes_others = gate.owes_others();
    }

    // === Between two engines ===

    /// Records a death, and replays or fails the work that is in flight.
    fn record_exit(&mut self, death: &Death) -> ReplayOutcome {
        if self.is_failed_reload(death) {
            self.history.failed_loads += 1;
        } else {
            self.history.on_death(self.is_of_work(death));
        }
        self.status.facts.send_modify(|facts| *facts.deaths.entry(death.cause).or_default() += 1);
        let summary = death.cause.to_string();
        let replay = self.decide_replays(death.cause);
        if let Some(folder) = self.options.prefix_cache.as_mut().filter(|_| death.cause.is_of_work()) {
            // The engine may have died of the contents of that folder.
            folder.discard = true;
        }

        // Nothing of the dead engine is left; sequences to be replayed count as waiting.
        let waiting = u32::try_from(self.sequences.len()).unwrap_or(u32::MAX);
        self.status.stats.send_modify(|stats| {
            self.history.totals = stats.totals;
            stats.gauges = EngineGauges { running: 0, waiting, deferred: 0, kv_cells_used: 0, parked_bytes: 0, ..stats.gauges };
        });
        self.status.set_state(EngineState::Restarting(summary));
        replay
    }

    fn log_death(&self, death: &Death, replay: &ReplayOutcome) {
        tracing::error!(
            cause = death.cause.label(),
            in_a_row = self.history.deaths_in_a_row + self.history.failed_loads,
            replayed = replay.replayed,
            failed = replay.failed,
            "the engine died: {}",
            death.report()
        );
    }

    /// True if the model, which was loaded before, could not be loaded this time: the disk is missing or memory is
    /// short for a while. A changed model file and an engine that does not end are other cases, because they do not
    /// pass.
    fn is_failed_reload(&self, death: &Death) -> bool {
        let was_loaded = self.status.facts.borrow().model.is_some();
        was_loaded && !self.history.was_ready && !matches!(death.cause, DeathCause::ModelChanged | DeathCause::Unkillable)
    }

    /// Finds out which work the engine may have died of, and decides which work the next one gets.
    fn decide_replays(&mut self, cause: DeathCause) -> ReplayOutcome {
        let now = Instant::now();
        let sequences = self.sequences.works(slots(&self.status, &self.options));
        let verdict = judge(self.calls.works().chain(self.embeds.works()).chain(sequences), cause);
        let is_convicted = self.quarantine.on_death(&verdict, now);
        if let Some(content) = verdict.blamed.filter(|_| is_convicted) {
            tracing::error!(%content, "one engine too many died of the same content: it is refused from now on");
        }
        let reason = &cause.to_string();
        let after = Aftermath { reason, verdict: &verdict, quarantine: &self.quarantine, now };
        self.calls.on_death(&after);
        self.embeds.on_death(&after);
        self.sequences.on_death(&after)
    }

    /// True if the engine may have died of the work that clients gave it.
    fn is_of_work(&self, death: &Death) -> bool {
        self.history.was_given_work && death.cause.is_of_work()
    }

    /// True if another engine would fail in the same way.
    fn should_give_up(&self, death: &Death) -> bool {
        match death.cause {
            _ if self.is_failed_reload(death) || self.is_of_work(death) => false,
            DeathCause::LoadFailed | DeathCause::ModelChanged | DeathCause::Unkillable => true,
            _ => self.history.failed_starts >= self.policy.max_restarts,
        }
    }

    /// Waits until an engine that does not end when killed is gone: it has the memory that the next engine needs. The
    /// wait has no known end, so all requests fail meanwhile. True if everything was drained instead.
    async fn wait_for_end(&mut self, stuck_child: Option<L::Child>) -> bool {
        let Some(mut child) = stuck_child else { return false };
        self.status.facts.send_modify(|facts| facts.is_stuck = true);
        let refusal = SubmitError::stuck();
        let error = GenerationError::EngineDied(DeathCause::Unkillable.to_string());
        let gone = loop {
            self.fail_all(&error, &refusal);
            if self.is_drained() {
                break false;
            }
            tokio::select! {
                _ = child.wait() => break true,
                Some(command) = self.commands.recv() => self.on_command(command, None),
                () = at(self.drain_by) => {}
            }
        };
        self.status.facts.send_modify(|facts| facts.is_stuck = false);
        !gone
    }

    /// Waits before the next start, taking in commands meanwhile. True if everything was drained instead.
    async fn pause(&mut self) -> bool {
        let pause = self.history.pause(self.policy.restart_backoff);
        if self.history.failed_loads >= MAX_HELD_LOADS {
            self.stop_holding();
        }
        let until = Instant::now() + pause;
        loop {
            if self.is_drained() {
                return true;
            }
            tokio::select! {
                Some(command) = self.commands.recv() => self.on_command(command, None),
                () = at(self.drain_by) => {}
                () = sleep_until(until) => return false,
            }
        }
    }

    /// Fails all held requests, and refuses new ones until a load works.
    fn stop_holding(&mut self) {
        let reason = DeathCause::LoadFailed.to_string();
        self.status.set_state(EngineState::Loading(0.0));
        self.fail_all(&GenerationError::EngineDied(reason.clone()), &SubmitError::NotReady { reason, retry_after: MAX_PAUSE });
    }

    // === The end ===

    /// True if the server is stopping and nothing is left to wait for.
    fn is_drained(&self) -> bool {
        let is_empty = self.sequences.len() == 0 && self.calls.is_empty() && self.embeds.is_empty();
        self.drain_by.is_some_and(|deadline| is_empty || Instant::now() >= deadline)
    }

    fn fail_all(&mut self, error: &GenerationError, refusal: &SubmitError) {
        let failed = self.sequences.fail_all(error);
        self.calls.fail_all(refusal);
        self.embeds.fail_all(refusal);
        if failed > 0 {
            tracing::warn!(failed, %error, "requests were ended early");
        }
    }

    /// Publishes the end, then fails all work that is in flight or on its way here.
    fn finish(mut self, end: &End) {
        let (error, refusal) = match end {
            End::Drained => (GenerationError::ShuttingDown, SubmitError::ShuttingDown),
            End::GaveUp(death) => {
                let summary = death.cause.to_string();
                tracing::error!(cause = death.cause.label(), failed_starts = self.history.failed_starts, "the engine is given up");
                self.status.facts.send_modify(|facts| facts.failure = Some(death.report()));
                self.status.set_state(EngineState::Failed(summary.clone()));
                let refusal = SubmitError::failed(&summary);
                let error = match death.cause {
                    DeathCause::ModelChanged => GenerationError::ModelChanged,
                    _ => GenerationError::EngineDied(summary),
                };
                (error, refusal)
            }
        };
        // From now on, senders see at once that the loop has ended.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.on_command(command, None);
        }
        self.fail_all(&error, &refusal);
    }
}

/// Number of sequences that an engine computes at once.
fn slots(status: &StatusBoard, options: &EngineOptions) -> usize {
    let slots = status.facts.borrow().model.as_ref().map_or(options.max_num_seqs(), |model| model.max_num_seqs);
    usize::try_from(slots).unwrap_or(usize::MAX)
}

/// Waits until `moment`, or for ever if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
