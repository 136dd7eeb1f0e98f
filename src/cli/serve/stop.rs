//! The end of a server: it serves on for `--shutdown-delay`, then drains for `--drain-timeout`, then closes.
//!
//! A second signal, at least a second after the first, cuts this short: running streams end with an error event at
//! once, and the process ends a moment later. So does the notice of the cloud that it takes the machine back, after the
//! time that it leaves. Owns no handlers and no sockets.

use super::{
    super::{logging, preemption},
    stop_causes::{StopCause, StopCauses},
};
use crate::{
    config::ServeConfig,
    gateway::{engine_state::EngineState, handle::EngineHandle, supervisor::Supervisor},
};
use anyhow::{Context, bail};
use std::{cell::Cell, io, process, time::Duration};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Time left after a second signal: for the last events of streams, and for the engine to end.
const HURRIED_STOP: Duration = Duration::from_secs(4);

/// The HTTP server while it runs, and the channel that stops it. The channel takes the time that running requests get.
pub(super) struct Serving {
    pub(super) task: JoinHandle<io::Result<()>>,
    pub(super) stop: watch::Sender<Option<Duration>>,
}

impl Serving {
    /// Waits until the server has ended by itself. Cancel-safe.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        (&mut self.task).await.context("the server's task ended early")?.context("the server ended early")
    }

    /// Stops the server and waits for its end. Running requests get `patience` to finish.
    pub(super) async fn close(mut self, patience: Duration) -> anyhow::Result<()> {
        // Sending fails if the server ended just now; joining it returns the reason.
        let _ = self.stop.send(Some(patience));
        self.ended().await
    }
}

/// The time that running requests get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// `--drain-timeout`.
    Ordinary,
    /// As long as the cloud leaves, and no longer than `--drain-timeout`.
    Preempted,
    /// None: the operator insists.
    AtOnce,
}

/// Continues to serve for `--shutdown-delay`, but reports not to be ready, so that load balancers send their requests
/// elsewhere. Returns at once if the engine is not ready or the machine is taken back. Returns the reason if the engine
/// was given up meanwhile, and the time that running requests get.
pub(super) async fn delay(
    cause: StopCause,
    engine: &EngineHandle,
    supervisor: &mut Supervisor,
    causes: &mut StopCauses,
    config: &ServeConfig,
) -> (Option<String>, Haste) {
    let StopCause::Signal(signal) = cause else { return (None, Haste::Preempted) };
    let (delay, patience) = (config.listen.shutdown_delay, config.listen.drain_timeout);
    tracing::info!("{signal}: the server stops; running requests get {patience:?} to finish (--drain-timeout)");
    if delay.is_zero() || engine.state() != EngineState::Ready {
        return (None, Haste::Ordinary);
    }
    tracing::info!("no longer ready; requests are served for {delay:?} (--shutdown-delay)");
    supervisor.leave();
    tokio::select! {
        () = sleep(delay) => (None, Haste::Ordinary),
        reason = supervisor.failed() => (Some(reason), Haste::Ordinary),
        cause = causes.next() => match cause {
            StopCause::Signal(signal) => {
                tracing::warn!("{signal} again: the rest of --shutdown-delay is skipped");
                (None, Haste::AtOnce)
            }
            StopCause::Preempted => (None, Haste::Preempted),
        },
    }
}

/// Ends the engine, then the server, which answers meanwhile: new requests get 503 with `Retry-After`, and probes that
/// it is not ready. Clients that read slowly get the rest of the drain time.
///
/// # Errors
/// The server failed, or a second signal ended running requests early.
pub(super) async fn drain(
    supervisor: Supervisor,
    serving: Serving,
    causes: &mut StopCauses,
    config: &ServeConfig,
    haste: Haste,
) -> anyhow::Result<()> {
    let patience = config.listen.drain_timeout;
    let deadline = Cell::new(Instant::now().checked_add(patience).unwrap_or_else(Instant::now));
    let hurry = CancellationToken::new();
    let draining = async {
        supervisor.drain_and_stop_unless(patience, &hurry).await;
        let left = if hurry.is_cancelled() { Duration::ZERO } else { deadline.get().saturating_duration_since(Instant::now()) };
        serving.close(left).await
    };
    tokio::pin!(draining);
    // The time at which requests are ended because the machine goes away.
    let mut machine_ends = (haste == Haste::Preempted).then(|| expect_end_of_machine(config, &deadline));
    let mut is_hurried = haste == Haste::AtOnce;
    while !is_hurried {
        tokio::select! {
            drained = &mut draining => {
                drained?;
                tracing::info!("stopped");
                return Ok(());
            }
            () = sleep_until(machine_ends.unwrap_or(deadline.get())), if machine_ends.is_some() => {
                hurry.cancel();
                machine_ends = None;
            }
            cause = causes.next() => match cause {
                StopCause::Preempted => machine_ends = Some(expect_end_of_machine(config, &deadline)),
                StopCause::Signal(signal) => {
                    tracing::warn!("{signal} again: running requests are ended now");
                    is_hurried = true;
                }
            },
        }
    }
    hurry.cancel();
    let at_last = Instant::now() + HURRIED_STOP;
    loop {
        tokio::select! {
            drained = &mut draining => break drained?,
            () = sleep_until(at_last) => end_at_once(),
            cause = causes.next() => match cause {
                StopCause::Signal(_) => end_at_once(),
                // That leaves more time than this.
                StopCause::Preempted => {}
            },
        }
    }
    bail!("a second signal ended running requests early")
}

/// Brings the deadline forward, because the cloud takes the machine back now, says so, and returns it.
fn expect_end_of_machine(config: &ServeConfig, deadline: &Cell<Instant>) -> Instant {
    let now = Instant::now();
    let left = preemption::time_left(config.engine.prefix_cache.is_some()).min(deadline.get().saturating_duration_since(now));
    tracing::warn!("the cloud takes this machine back; running requests get {left:.0?} to finish");
    deadline.set(now + left);
    now + left
}

/// Ends the process without waiting; the engine dies with it.
fn end_at_once() -> ! {
    tracing::warn!("exiting without waiting for running requests");
    logging::finish();
    process::exit(1)
}
