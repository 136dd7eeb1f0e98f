//! The seam between supervising an engine and having one: something that starts engines.
//!
//! Implemented by [`super::process::ProcessLauncher`] and, in tests, by launchers whose engines are tasks or threads.

use super::death::DeathCause;
use std::{future::Future, io};
use tokio::net::UnixStream;

/// Starts engines. Dropping it may end those that still run.
pub trait Launcher: Send + 'static {
    /// An engine that it has started.
    type Child: EngineChild;

    /// Starts an engine that waits for `Load`.
    ///
    /// # Errors
    /// Whatever kept it from starting.
    fn launch(&mut self) -> impl Future<Output = io::Result<Launched<Self::Child>>> + Send;
}

/// An engine that was started: how to talk to it and how to end it.
#[derive(Debug)]
pub struct Launched<C> {
    /// The connection; closing it asks the engine to end.
    pub stream: UnixStream,
    /// The engine itself.
    pub child: C,
}

/// A running engine. Dropping it must not leave it running.
pub trait EngineChild: Send + 'static {
    /// Its process, where it has one.
    fn pid(&self) -> Option<u32>;

    /// Its progress with loading, as far as that can be seen from outside.
    fn load_work(&self) -> Option<LoadWork> {
        None
    }

    /// Waits until it has ended and says how. Cancel-safe, and may be called again.
    fn wait(&mut self) -> impl Future<Output = DeathCause> + Send;

    /// Ends it at once (SIGKILL), without waiting.
    fn kill(&mut self);

    /// Its last lines on stderr, oldest first; complete once `wait` has returned.
    fn last_lines(&self) -> Vec<String>;
}

/// Progress of a loading process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadWork {
    /// Rises with all that a load does but computing: bytes read by calls and from disks, and page faults. Of no unit.
    pub count: u64,
    /// Bytes of files that it has read or has in memory.
    pub bytes: u64,
}
