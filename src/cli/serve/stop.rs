//! The end of a server: it serves on for `--shutdown-delay`, then drains for `--drain-timeout`, then closes.
//!
//! A second signal, at least a second after the first, cuts this short: running streams end with an error event at
//! once, and the process ends a moment later. Owns no handlers and no sockets.

use super::super::{logging, signals::StopSignals};
use crate::{
    config::ListenConfig,
    gateway::{engine_state::EngineState, handle::EngineHandle, supervisor::Supervisor},
};
use anyhow::{Context, bail};
use std::{io, process, time::Duration};
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

/// Continues to serve for `delay`, but reports not to be ready, so that load balancers send their requests elsewhere.
/// Returns at once if the engine is not ready. Returns the reason if the engine was given up meanwhile, and true if
/// another signal ended the wait.
pub(super) async fn delay(
    engine: &EngineHandle,
    supervisor: &mut Supervisor,
    signals: &mut StopSignals,
    delay: Duration,
) -> (Option<String>, bool) {
    if delay.is_zero() || engine.state() != EngineState::Ready {
        return (None, false);
    }
    tracing::info!("no longer ready; requests are served for {delay:?} (--shutdown-delay)");
    supervisor.leave();
    tokio::select! {
        () = sleep(delay) => (None, false),
        reason = supervisor.failed() => (Some(reason), false),
        signal = signals.next() => {
            tracing::warn!("{signal} again: the rest of --shutdown-delay is skipped");
            (None, true)
        }
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
    signals: &mut StopSignals,
    listen: &ListenConfig,
    hurried: bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now().checked_add(listen.drain_timeout).unwrap_or_else(Instant::now);
    let hurry = CancellationToken::new();
    let draining = async {
        supervisor.drain_and_stop_unless(listen.drain_timeout, &hurry).await;
        let left = if hurry.is_cancelled() { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
        serving.close(left).await
    };
    tokio::pin!(draining);
    if !hurried {
        tokio::select! {
            drained = &mut draining => {
                drained?;
                tracing::info!("stopped");
                return Ok(());
            }
            signal = signals.next() => tracing::warn!("{signal} again: running requests are ended now"),
        }
    }
    hurry.cancel();
    tokio::select! {
        drained = &mut draining => drained?,
        () = sleep_until(Instant::now() + HURRIED_STOP) => end_at_once(),
        _signal = signals.next() => end_at_once(),
    }
    bail!("a second signal ended running requests early")
}

/// Ends the process without waiting; the engine dies with it.
fn end_at_once() -> ! {
    tracing::warn!("exiting without waiting for running requests");
    logging::finish();
    process::exit(1)
}
