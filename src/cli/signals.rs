//! The signals that a server obeys: SIGTERM and SIGINT stop it, SIGHUP makes it read its key file and its certificate
//! again.
//!
//! Owns the signal handlers, from before the configuration is read: without them, process 1 of a container would ignore
//! these signals, and any other process would be ended at once. After a stop signal, `serve` decides the next step.

use super::service_manager::{Phase, ServiceManager};
use crate::{api::server::tls::Certificate, gateway::keys::KeyRing};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::Instant,
};

/// Stop signals within this time count as one: `timeout` signals its child and then the child's group, and a user may
/// press Ctrl-C twice in a moment.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// SIGTERM, SIGINT and SIGHUP, caught from now on.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) stop: StopSignals,
    pub(super) hangup: Hangups,
}

impl Signals {
    /// Catches the signals from now on. Must be called within a tokio runtime.
    pub(super) fn catch() -> io::Result<Self> {
        let stop = StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            counted: LastCounted::default(),
        };
        Ok(Self { stop, hangup: Hangups(signal(SignalKind::hangup())?) })
    }
}

/// The signals SIGTERM and SIGINT.
#[derive(Debug)]
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    counted: LastCounted,
}

impl StopSignals {
    /// Waits for the next signal that counts, and returns its name. Cancel-safe.
    pub(super) async fn next(&mut self) -> &'static str {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
            };
            if self.counted.is_new(Instant::now()) {
                return name;
            }
            tracing::info!("{name} again within {SAME_SIGNAL:?} counts as one");
        }
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

/// The signal SIGHUP.
#[derive(Debug)]
pub(super) struct Hangups(Signal);

impl Hangups {
    /// Reads the key file and the certificate again for each SIGHUP, for ever, and tells the service manager so. A file
    /// that cannot be used changes nothing.
    pub(super) async fn reload(mut self, keys: Arc<KeyRing>, certificate: Option<Certificate>, manager: ServiceManager) {
        while self.0.recv().await.is_some() {
            // Signals that come during a reload count as one.
            manager.tell(Phase::Reloading);
            let (keys, certificate) = (Arc::clone(&keys), certificate.clone());
            if let Err(error) = spawn_blocking(move || reload_files(&keys, certificate.as_ref())).await {
                tracing::error!("SIGHUP: reading files again ended early: {error}");
            }
            manager.tell(Phase::Reloaded);
        }
    }
}

fn reload_files(keys: &KeyRing, certificate: Option<&Certificate>) {
    match (keys.reload(), certificate) {
        (Ok(Some(number)), _) => tracing::info!("SIGHUP: the key file was read again; {number} keys are accepted"),
        (Ok(None), None) => tracing::info!("SIGHUP: there is no --api-key-file and no --tls-cert to read again; nothing changes"),
        (Ok(None), Some(_)) => {}
        (Err(error), _) => tracing::error!("SIGHUP: the keys stay as they are: {error}; mend the file and send SIGHUP again"),
    }
    match certificate.map(Certificate::reload) {
        None => {}
        Some(Ok(())) => tracing::info!("SIGHUP: the certificate was read again; new connections get it"),
        Some(Err(error)) => tracing::error!("SIGHUP: the certificate stays as it is: {error}; mend the file and send SIGHUP again"),
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
