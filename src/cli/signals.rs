//! The signals that a server obeys: SIGTERM and SIGINT stop it, SIGHUP makes it read its files again
//! (`serve/reload.rs`), SIGUSR1 makes it open its log file again.
//!
//! Owns the signal handlers, from before the configuration is read: without them, process 1 of a container would ignore
//! these signals, and any other process would be ended at once. After a stop signal, `serve` decides the next step.

use crate::telemetry::log_writer;
use std::{io, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::Instant,
};

/// Stop signals within this time count as one: `timeout` signals its child and then the child's group, and a user may
/// press Ctrl-C twice in a moment.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// SIGTERM, SIGINT, SIGHUP and SIGUSR1, caught from now on.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) stop: StopSignals,
    /// SIGHUP.
    pub(super) hangup: Signal,
    pub(super) user1: LogFileSignals,
}

impl Signals {
    /// Catches the signals from now on. Must be called within a tokio runtime.
    pub(super) fn catch() -> io::Result<Self> {
        let stop = StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            counted: LastCounted::default(),
            is_expected: false,
        };
        let user1 = LogFileSignals(signal(SignalKind::user_defined1())?);
        Ok(Self { stop, hangup: signal(SignalKind::hangup())?, user1 })
    }
}

/// The signals SIGTERM and SIGINT.
#[derive(Debug)]
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    counted: LastCounted,
    /// True if the next signal was announced otherwise, and so is nothing new.
    is_expected: bool,
}

impl StopSignals {
    /// Waits for the next signal that counts, and returns its name. Cancel-safe.
    pub(super) async fn next(&mut self) -> &'static str {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
            };
            if !self.counted.is_new(Instant::now()) {
                tracing::info!("{name} again within {SAME_SIGNAL:?} counts as one");
            } else if std::mem::take(&mut self.is_expected) {
                tracing::info!("{name}: the server stops already");
            } else {
                return name;
            }
        }
    }

    /// The next signal is not returned: the server stops for the same reason already.
    pub(super) fn expect_one(&mut self) {
        self.is_expected = true;
    }
}

/// The time of the last signal that counted.
#[derive(Debug, Default)]
struct LastCounted(Option<Instant>);

impl LastCounted {
    /// True if a signal at `now` counts by itself; `now` then becomes the last one that counted.
    fn is_new(&mut self, now: Instant) -> bool {
        let is_new = self.0.is_none_or(|counted| now.saturating_duration_since(counted) >= SAME_SIGNAL);
        if is_new {
            self.0 = Some(now);
        }
        is_new
    }
}

/// The signal SIGUSR1.
#[derive(Debug)]
pub(super) struct LogFileSignals(Signal);

impl LogFileSignals {
    /// Opens the log file again for each SIGUSR1, for ever. A file that cannot be opened changes nothing.
    pub(super) async fn reopen(mut self) {
        while self.0.recv().await.is_some() {
            match spawn_blocking(log_writer::reopen_file).await {
                Ok(Ok(true)) => tracing::info!("SIGUSR1: the log file was opened again"),
                Ok(Ok(false)) => tracing::info!("SIGUSR1: there is no --log-file to open again; nothing changes"),
                Ok(Err(error)) => tracing::error!("SIGUSR1: log lines go where they went, because --log-file cannot be opened: {error}"),
                Err(error) => tracing::error!("SIGUSR1: opening the log file ended early: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_within_a_second_of_one_that_counted_count_as_one() {
        let begun = Instant::now();
        let mut last = LastCounted::default();

        let counted = [0, 1, 999, 1000, 1001, 1999, 2000, 9000].map(|ms| last.is_new(begun + Duration::from_millis(ms)));

        assert_eq!(counted, [true, false, false, true, false, false, true, true]);
    }
}
