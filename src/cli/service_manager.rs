//! Tells the service manager how the server is: `READY`, `STATUS`, `RELOADING`, `STOPPING`, `EXTEND_TIMEOUT_USEC` and
//! `WATCHDOG` of sd_notify(3), for systemd's `Type=notify` and `WatchdogSec=`.
//!
//! Owns these messages and their times. One task sends them all, in order; nobody waits for it. Without a service
//! manager (no `NOTIFY_SOCKET`) there is no task.

use crate::{
    gateway::{engine_state::EngineState, handle::EngineHandle, pulse::PulseReading},
    protocol::EngineGauges,
};
use sd_notify::NotifyState;
use std::{env, io, time::Duration};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

/// Longest time between two messages.
const PERIOD: Duration = Duration::from_secs(5);
/// Shortest time between two messages, however short the watchdog's time is.
const MIN_PERIOD: Duration = Duration::from_millis(100);
/// Time that each message of a start or stop gives the next one, µs. The server itself ends a load that is stuck
/// (`--load-timeout`) and a stop that takes too long (`--drain-timeout`). A download may take as long as it takes.
const EXTENSION_USEC: u32 = 60_000_000;
/// Shortest time without progress that keeps the watchdog from being fed: progress is seen once a second.
const MIN_STILL: Duration = Duration::from_secs(3);
/// Number of phases that may wait to be told.
const MAX_PHASES: usize = 16;
/// Longest wait for the last messages.
const FAREWELL: Duration = Duration::from_secs(1);

/// An action of the process that the state of the engine does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Files are read again.
    Reloading,
    /// They were read.
    Reloaded,
    /// The server stops.
    Stopping,
}

/// The channel to the task that sends messages. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ServiceManager {
    phases: Option<mpsc::Sender<Phase>>,
}

/// The task that sends messages.
#[derive(Debug)]
pub(super) struct Reports(Option<JoinHandle<()>>);

/// Starts to report on an engine to the service manager that started this process, if one did. A stuck engine is killed
/// after `stall_timeout`.
pub(super) fn start(engine: EngineHandle, stall_timeout: Duration) -> (ServiceManager, Reports) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return (ServiceManager { phases: None }, Reports(None));
    }
    let watchdog = sd_notify::watchdog_enabled();
    if let Some(watchdog) = watchdog.filter(|watchdog| patience(*watchdog) <= stall_timeout) {
        tracing::warn!(
            "the service manager's watchdog ({watchdog:?}) may end the whole server before --stall-timeout ({stall_timeout:?}) ends a \
             stuck engine alone; give WatchdogSec more than twice that time"
        );
    }
    let (sender, phases) = mpsc::channel(MAX_PHASES);
    let task = tokio::spawn(report(engine, Told::new(watchdog, Instant::now()), phases));
    (ServiceManager { phases: Some(sender) }, Reports(Some(task)))
}

impl ServiceManager {
    /// Has a phase told. It is lost if the service manager has not read messages for a long time.
    pub(super) fn tell(&self, phase: Phase) {
        if let Some(Err(error)) = self.phases.as_ref().map(|phases| phases.try_send(phase)) {
            tracing::debug!(%error, "the service manager is not told");
        }
    }
}

impl Reports {
    /// Waits until all phases are told; all senders must be gone.
    pub(super) async fn finish(self) {
        if let Some(task) = self.0 {
            // A service manager that reads nothing must not keep the process.
            let _ = timeout(FAREWELL, task).await;
        }
    }
}

/// Sends messages until no phase can come any more.
async fn report(engine: EngineHandle, mut told: Told, mut phases: mpsc::Receiver<Phase>) {
    let mut states = engine.watch_state();
    let mut ticks = interval(told.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            phase = phases.recv() => match phase {
                Some(phase) => Event::Phase(phase),
                None => return,
            },
            _ = ticks.tick() => Event::Tick,
            // The handle keeps the sender alive.
            _ = states.changed() => Event::State,
        };
        let view = View { state: engine.state(), gauges: engine.stats().gauges, leaving: engine.is_leaving(), pulse: engine.pulse() };
        let messages = told.messages(event, &view, Instant::now());
        if messages.is_empty() {
            continue;
        }
        // The socket may be full, and sending then waits.
        let sent = spawn_blocking(move || send(&messages)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        told.on_sent(sent.map_err(|error| error.to_string()));
    }
}

fn send(messages: &[Notice]) -> io::Result<()> {
    let states: io::Result<Vec<NotifyState<'_>>> = messages.iter().map(Notice::state).collect();
    sd_notify::notify(&states?)
}

/// One line of a message to the service manager.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Notice {
    Ready,
    Reloading,
    /// systemd 253 and later demands it beside `Reloading` (sd_notify(3)).
    Now,
    Stopping,
    Status(String),
    Extend,
    Watchdog,
}

impl Notice {
    fn state(&self) -> io::Result<NotifyState<'_>> {
        Ok(match self {
            Self::Ready => NotifyState::Ready,
            Self::Reloading => NotifyState::Reloading,
            Self::Now => NotifyState::monotonic_usec_now()?,
            Self::Stopping => NotifyState::Stopping,
            Self::Status(text) => NotifyState::Status(text),
            Self::Extend => NotifyState::ExtendTimeoutUsec(EXTENSION_USEC),
            Self::Watchdog => NotifyState::Watchdog,
        })
    }
}

/// The reason for a look at the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Phase(Phase),
    State,
    Tick,
}

/// The engine at one moment.
#[derive(Debug, Clone)]
struct View {
    state: EngineState,
    gauges: EngineGauges,
    leaving: bool,
    pulse: PulseReading,
}

/// The messages sent so far, as far as the next ones depend on them.
#[derive(Debug)]
struct Told {
    watchdog: Option<Duration>,
    is_ready: bool,
    is_stopping: bool,
    status: String,
    /// True if the last message could not be sent.
    is_unheard: bool,
    /// The last number of ticks of the run loop, and the time at which it was first seen.
    ticked: (u64, Instant),
}

impl Told {
    fn new(watchdog: Option<Duration>, now: Instant) -> Self {
        Self { watchdog, is_ready: false, is_stopping: false, status: String::new(), is_unheard: false, ticked: (0, now) }
    }

    /// Time between two looks: four within the watchdog's time.
    fn period(&self) -> Duration {
        self.watchdog.map_or(PERIOD, |watchdog| (watchdog / 4).clamp(MIN_PERIOD, PERIOD))
    }

    /// Records whether a message was sent. One that was not is said again, as far as it still holds: a server that is
    /// ready would be ended after its time to start.
    fn on_sent(&mut self, sent: Result<(), String>) {
        let Err(error) = sent else {
            self.is_unheard = false;
            return;
        };
        if !self.is_unheard {
            tracing::warn!("the service manager cannot be told how the server is: {error}; this is tried again");
        }
        self.is_unheard = true;
        self.is_ready = false;
        self.status.clear();
    }

    /// The messages to send after an event.
    fn messages(&mut self, event: Event, view: &View, now: Instant) -> Vec<Notice> {
        let mut messages = Vec::new();
        if self.is_unheard && self.is_stopping {
            messages.push(Notice::Stopping);
        }
        match event {
            Event::Phase(Phase::Stopping) => {
                self.is_stopping = true;
                messages.push(Notice::Stopping);
            }
            // Before READY a reload is part of the start, and systemd knows no way back from STOPPING.
            Event::Phase(Phase::Reloading) if self.is_ready && !self.is_stopping => messages.extend([Notice::Reloading, Notice::Now]),
            Event::Phase(Phase::Reloaded) if self.is_ready && !self.is_stopping => messages.push(Notice::Ready),
            Event::Phase(_) | Event::State | Event::Tick => {}
        }
        if view.state == EngineState::Ready && !self.is_ready && !self.is_stopping {
            self.is_ready = true;
            messages.push(Notice::Ready);
        }
        let status = self.status_of(view);
        if status != self.status {
            self.status.clone_from(&status);
            messages.push(Notice::Status(status));
        }
        if event == Event::Tick {
            if self.is_stopping || !self.is_ready {
                messages.push(Notice::Extend);
            }
            if self.is_well(view, now) {
                messages.push(Notice::Watchdog);
            }
        }
        messages
    }

    /// True if there is a watchdog and it is to be fed: the engine makes progress or has nothing to do. While there is
    /// no engine that serves, the gateway is well by itself: loads and stops have limits of their own, and an engine
    /// that the kernel cannot end would not end with the gateway either.
    fn is_well(&mut self, view: &View, now: Instant) -> bool {
        if self.ticked.0 != view.pulse.ticks || view.state != EngineState::Ready {
            self.ticked = (view.pulse.ticks, now);
        }
        let run_loop_still = now.saturating_duration_since(self.ticked.1);
        let still = if view.state == EngineState::Ready { view.pulse.still.max(run_loop_still) } else { Duration::ZERO };
        self.watchdog.is_some_and(|watchdog| still < patience(watchdog))
    }

    fn status_of(&self, view: &View) -> String {
        let percent = |share: f32| (share.clamp(0.0, 1.0) * 100.0).floor();
        let EngineGauges { running, waiting, .. } = view.gauges;
        match &view.state {
            EngineState::Draining => format!("stopping: {running} sequences still run"),
            EngineState::Ready if view.leaving => format!("about to stop (--shutdown-delay): {running} sequences run, {waiting} wait"),
            _ if self.is_stopping => "stopping".to_owned(),
            EngineState::Preparing => "the model file is being fetched or checked".to_owned(),
            EngineState::Loading(share) => format!("the model is being loaded: {} %", percent(*share)),
            EngineState::Ready => format!("serving: {running} sequences run, {waiting} wait"),
            EngineState::Restarting(cause) => format!("the engine stopped ({}) and is being started again", first_line(cause)),
            EngineState::Failed(reason) => format!("the engine is given up: {}", first_line(reason)),
        }
    }
}

/// Time without progress from which the watchdog is not fed. systemd ends the server a whole watchdog time after the
/// last message.
fn patience(watchdog: Duration) -> Duration {
    (watchdog / 2).max(MIN_STILL)
}

/// A message has a line for each state.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
