//! The owner of the run loop: starts it, drains it, ends it.
//!
//! Owns the loop's task, which owns the engine: no engine outlives this value. Decides nothing about engines itself.

use super::{
    admission::Admission,
    calls::OpenCalls,
    command::{self, CommandSender, RunLoopCommand},
    embeds::Embeds,
    engine_state::EngineState,
    handle::EngineHandle,
    in_flight::InFlight,
    launcher::Launcher,
    quarantine::Quarantine,
    run_loop::RunLoop,
    status::StatusBoard,
};
use crate::{config::SupervisionConfig, protocol::EngineOptions};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Deadline of a drain without a limit: nobody waits a year for a drain.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// An engine that is not started yet, because its model is still being fetched or checked. The handle that came with it
/// refuses requests meanwhile and gives the reason. If this value is dropped, the handle stays in that state.
#[derive(Debug)]
pub struct UnstartedEngine {
    supervision: SupervisionConfig,
    status: Arc<StatusBoard>,
    sender: CommandSender,
    commands: UnboundedReceiver<RunLoopCommand>,
}

/// Makes the handle of an engine that runs `max_num_seqs` sequences at once, before the engine's model is known.
#[must_use]
pub fn prepare(max_num_seqs: u32, supervision: SupervisionConfig) -> (EngineHandle, UnstartedEngine) {
    let running = usize::try_from(max_num_seqs).unwrap_or(usize::MAX);
    let admission = Admission::new(running, supervision.max_waiting);
    let status = Arc::new(StatusBoard::new(admission));
    let (sender, commands) = command::channel();
    let handle = EngineHandle::new(Arc::clone(&status), sender.clone());
    (handle, UnstartedEngine { supervision, status, sender, commands })
}

/// Starts an engine and everything that keeps one running. Must be called within a tokio runtime.
///
/// Returns at once; the handle's state tells the progress of the load.
#[must_use]
pub fn start<L: Launcher>(launcher: L, options: EngineOptions, supervision: SupervisionConfig) -> (EngineHandle, Supervisor) {
    let (handle, prepared) = prepare(options.max_num_seqs(), supervision);
    (handle, prepared.start(launcher, options))
}

impl UnstartedEngine {
    /// Starts the engine, with the `max_num_seqs` given to [`prepare`]. Otherwise the same as [`start`].
    #[must_use]
    pub fn start<L: Launcher>(self, launcher: L, options: EngineOptions) -> Supervisor {
        let Self { supervision, status, sender, commands } = self;
        status.set_state(EngineState::Loading(0.0));
        let run_loop = RunLoop {
            launcher,
            options,
            policy: supervision,
            status: Arc::clone(&status),
            commands,
            sequences: InFlight::default(),
            calls: OpenCalls::default(),
            embeds: Embeds::default(),
            quarantine: Quarantine::default(),
            drain_by: None,
            history: super::run_loop::History::default(),
        };
        let guard = EndGuard(Arc::clone(&status));
        let task = tokio::spawn(async move {
            let _guard = guard;
            run_loop.run().await;
        });
        Supervisor { task: AbortOnDropHandle::new(task), status, commands: sender }
    }
}

/// The owner of an engine's supervision. Dropping it kills the engine and fails all work in flight.
#[derive(Debug)]
pub struct Supervisor {
    task: AbortOnDropHandle<()>,
    status: Arc<StatusBoard>,
    commands: CommandSender,
}

impl Supervisor {
    /// Announces the end: [`EngineHandle::is_leaving`] is true from now on, and everything else continues as before.
    pub fn leave(&self) {
        self.status.leaving.store(true, Ordering::Relaxed);
    }

    /// Refuses new requests at once, lets running ones finish for up to `patience`, ends the rest with
    /// `GenerationError::ShuttingDown`, and stops the engine. Returns when its process is gone: a few seconds after
    /// `patience` at the latest, or about 15 if the engine has a prefix cache to write.
    pub async fn drain_and_stop(self, patience: Duration) {
        self.drain_and_stop_unless(patience, &CancellationToken::new()).await;
    }

    /// The same as [`Self::drain_and_stop`], but running requests are ended at once when `hurry` is cancelled.
    pub async fn drain_and_stop_unless(mut self, patience: Duration, hurry: &CancellationToken) {
        self.status.set_state(EngineState::Draining);
        let now = Instant::now();
        let deadline = now.checked_add(patience.min(FOREVER)).unwrap_or(now);
        // Sending fails if the run loop has given up already; its end is awaited all the same.
        let _ = self.commands.send(RunLoopCommand::Drain(deadline));
        let ended = tokio::select! {
            ended = &mut self.task => ended,
            () = hurry.cancelled() => {
                // Sending fails if the run loop has ended.
                let _ = self.commands.send(RunLoopCommand::Drain(Instant::now()));
                self.task.await
            }
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the supervision of the engine ended early");
        }
    }

    /// Waits until the engine is given up, and returns the report on the reason, over several lines. Cancel-safe.
    pub async fn failed(&mut self) -> String {
        let mut state = self.status.state.subscribe();
        let reason = match state.wait_for(|state| matches!(state, EngineState::Failed(_))).await.as_deref() {
            Ok(EngineState::Failed(reason)) => reason.clone(),
            // Unreachable: the sender lives in `self.status`, and no other state passes the filter.
            Ok(_) | Err(_) => "the engine's state is unknown".to_owned(),
        };
        self.status.facts.borrow().failure.clone().unwrap_or(reason)
    }
}

/// Publishes that the run loop is gone if it panics or is aborted.
struct EndGuard(Arc<StatusBoard>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        // No effect if the loop ended in order: `Draining` and `Failed` are final.
        self.0.set_state(EngineState::Failed("the supervision of the engine ended".to_owned()));
        self.0.facts.send_modify(|facts| facts.pid = None);
    }
}

#[cfg(test)]
mod tests;
