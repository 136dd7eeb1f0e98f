//! One engine as the run loop sees it: its connection, its pulse, its process.
//!
//! Owns all three, and ends the process when asked to or when dropped. Knows nothing of sequences.

use super::{
    death::{Death, DeathCause},
    heartbeat::{Heartbeat, Stall, TICK},
    launcher::{EngineChild, Launched},
    link::Link,
    load_watch::LoadWatch,
};
use crate::config::SupervisionConfig;
use crate::protocol::{EngineOptions, FrameError, FromEngine, LoadError, PROTOCOL_VERSION, ToEngine};
use std::{io::ErrorKind, time::Duration};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// Time for an engine to end by itself once the connection is closed.
const GRACE: Duration = Duration::from_secs(2);
/// The same for an engine that writes its cache to disk: entries that it has not written by then are lost.
const WRITING_GRACE: Duration = Duration::from_secs(10);
/// Time for a killed process to end; a longer time means that the kernel cannot end it.
const REAP: Duration = Duration::from_secs(5);

/// The reason why an engine cannot be used any longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineFault {
    /// The connection closed or broke, or carried bytes that are no message.
    #[error(transparent)]
    Connection(#[from] FrameError),
    /// The engine breached the protocol.
    #[error("{0}")]
    Breach(&'static str),
    /// The engine is stuck.
    #[error(transparent)]
    Stalled(#[from] Stall),
    /// The engine cannot serve this model.
    #[error(transparent)]
    LoadFailed(LoadError),
}

/// An event of an engine's life.
pub(super) enum EngineEvent {
    /// The engine sent a message.
    Message(FromEngine),
    /// The engine has lived for another [`TICK`].
    Tick,
}

/// A launched engine.
pub(super) struct Engine<C> {
    link: Link,
    child: C,
    heartbeat: Heartbeat,
    load_watch: LoadWatch,
    ticks: Interval,
    ready: bool,
    /// Time for the engine to end by itself.
    grace: Duration,
}

impl<C: EngineChild> Engine<C> {
    /// Takes over a launched engine, and tells it to load the model.
    pub(super) fn new(launched: Launched<C>, outbox_frames: usize, policy: &SupervisionConfig, options: EngineOptions) -> Self {
        let Launched { stream, child } = launched;
        let mut ticks = interval(TICK);
        // A late tick must not be followed by a burst: the heartbeat counts them.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut engine = Self {
            link: Link::open(stream, outbox_frames),
            child,
            heartbeat: Heartbeat::new(policy.stall_timeout, policy.load_timeout),
            load_watch: LoadWatch::new(&options),
            ticks,
            ready: false,
            grace: if options.prefix_cache.is_some() { WRITING_GRACE } else { GRACE },
        };
        engine.send(ToEngine::Load { version: PROTOCOL_VERSION, options: Box::new(options) });
        engine
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.pid()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(super) fn is_stable(&self) -> bool {
        self.heartbeat.is_stable()
    }

    /// Queues a message; see [`Self::check_outbox`].
    pub(super) fn send(&mut self, message: ToEngine) {
        self.link.send(message);
    }

    /// Fails if the engine does not read its messages, so that one was lost.
    pub(super) fn check_outbox(&self) -> Result<(), Stall> {
        if self.link.is_overrun() { Err(Stall::Inbox) } else { Ok(()) }
    }

    /// Waits for the next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<EngineEvent, FrameError> {
        tokio::select! {
            message = self.link.receive() => message.map(EngineEvent::Message),
            _ = self.ticks.tick() => Ok(EngineEvent::Tick),
        }
    }

    // === Pulse ===

    /// Checks the engine's pulse and sends the next ping. The engine has owed answers to calls for `text_ticks`.
    pub(super) fn on_tick(&mut self, text_ticks: u32) -> Result<(), Stall> {
        if !self.ready {
            self.watch_load();
        }
        if let Some(nonce) = self.heartbeat.on_tick(text_ticks)? {
            self.send(ToEngine::Ping { nonce });
        }
        Ok(())
    }

    /// See [`Heartbeat::still_seconds`].
    pub(super) fn still_seconds(&self) -> u32 {
        self.heartbeat.still_seconds()
    }

    fn watch_load(&mut self) {
        let work = self.child.load_work();
        if let Some(work) = work {
            self.heartbeat.on_load_work(work.count);
        }
        if let Some(line) = self.load_watch.on_tick(work) {
            tracing::info!(pid = self.pid(), "{line}");
        }
    }

    /// Records the engine's report that this share of the load is done, 0–1.
    pub(super) fn on_progress(&mut self, share: f32) {
        self.heartbeat.on_progress();
        self.load_watch.on_told(share);
    }

    /// Share of the load that is done, 0–1; `None` once the engine serves.
    pub(super) fn load_share(&self) -> Option<f32> {
        (!self.ready).then(|| self.load_watch.share())
    }

    pub(super) fn on_ready(&mut self) -> Result<(), EngineFault> {
        if self.ready {
            return Err(EngineFault::Breach("it was ready twice"));
        }
        self.ready = true;
        self.heartbeat.on_ready();
        Ok(())
    }

    pub(super) fn on_pong(&mut self, nonce: u64, steps: u64, busy: bool) -> Result<(), Stall> {
        self.heartbeat.on_pong(nonce, steps, busy)
    }

    pub(super) fn on_steps(&mut self, steps: u64) {
        self.heartbeat.on_steps(steps);
    }

    // === End ===

    /// Closes the connection, which asks the engine to end, and makes sure that it does.
    pub(super) async fn stop(self) {
        let Self { link, mut child, grace, ready, .. } = self;
        drop(link);
        let grace = if ready { grace } else { GRACE };
        if let Err(cause) = end(&mut child, grace).await {
            tracing::warn!(%cause, pid = child.pid(), "the engine did not stop by itself");
        }
    }

    /// Makes sure that a faulty engine has ended, and returns its death. Returns the process too if it does not end
    /// even when killed.
    pub(super) async fn end_faulty(self, fault: EngineFault) -> (Death, Option<C>) {
        let Self { link, mut child, .. } = self;
        drop(link);
        // (1) The cut connection is usually that of a dead process: its exit status tells more, and is about to come.
        // (2) An engine that said why it cannot load ends by itself. (3) No other faulty engine is worth waiting for.
        let (grace, known) = match &fault {
            EngineFault::Connection(FrameError::Closed) => (GRACE, None),
            EngineFault::Connection(FrameError::Io(error)) if error.kind() != ErrorKind::InvalidData => (GRACE, None),
            EngineFault::LoadFailed(LoadError::Changed(_)) => (GRACE, Some(DeathCause::ModelChanged)),
            EngineFault::LoadFailed(_) => (GRACE, Some(DeathCause::LoadFailed)),
            EngineFault::Connection(_) | EngineFault::Breach(_) => (Duration::ZERO, Some(DeathCause::Protocol)),
            EngineFault::Stalled(_) => (Duration::ZERO, Some(DeathCause::Stalled)),
        };
        let cause = match end(&mut child, grace).await {
            Err(DeathCause::Unkillable) => DeathCause::Unkillable,
            Ok(seen) => known.unwrap_or(seen),
            Err(_) => known.unwrap_or(DeathCause::Protocol),
        };
        let exited = matches!(cause, DeathCause::Signal(_) | DeathCause::Exit(_));
        let death = Death { cause, detail: (!exited).then(|| fault.to_string()), last_lines: child.last_lines() };
        (death, (cause == DeathCause::Unkillable).then_some(child))
    }
}

/// Waits for `grace`, then kills. Returns `Ok` with the cause if the process ended by itself, else `Err`: with the
/// cause after the kill, or `Unkillable`.
async fn end(child: &mut impl EngineChild, grace: Duration) -> Result<DeathCause, DeathCause> {
    if let Ok(cause) = timeout(grace, child.wait()).await {
        return Ok(cause);
    }
    child.kill();
    match timeout(REAP, child.wait()).await {
        Ok(cause) => Err(cause),
        Err(_) => Err(DeathCause::Unkillable),
    }
}
