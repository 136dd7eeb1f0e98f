//! The interface between supervision and the processes of engines: something that starts engines.
//!
//! Implemented by [`super::process::ProcessLauncher`] and, in tests, by launchers whose engines are tasks or threads.

use super::death::DeathCause;
use std::{future::Future, io};
use tokio::net::UnixStream;

/// Starts engines. Dropping the launcher may end those that still run.
pub trait Launcher: Send + 'static {
    /// A running engine that this launcher started.
    type Child: EngineChild;

    /// Starts an engine that waits for `Load`.
    ///
    /// # Errors
    /// The engine could not be started.
    fn launch(&mut self) -> impl Future<Output = io::Result<Launched<Self::Child>>> + Send;
}

/// An engine that was started, with its connection.
#[derive(Debug)]
pub struct Launched<C> {
    /// The connection; closing it asks the engine to end.
    pub stream: UnixStream,
    /// The running engine: waits for its end, or kills it.
    pub child: C,
}

/// A running engine. Dropping it must not leave it running.
pub trait EngineChild: Send + 'static {
    /// The engine's process id, if it has a process.
    fn pid(&self) -> Option<u32>;

    /// The engine's progress with loading, as seen from outside; `None` if it cannot be seen.
    fn load_work(&self) -> Option<LoadWork> {
        None
    }

    /// Waits until the engine has ended and returns the cause. Cancel-safe, and may be called again.
    fn wait(&mut self) -> impl Future<Output = DeathCause> + Send;

    /// Ends the engine at once (SIGKILL), without waiting.
    fn kill(&mut self);

    /// The engine's last lines on stderr, oldest first; complete once `wait` has returned.
    fn last_lines(&self) -> Vec<String>;
}

/// Progress of a loading process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadWork {
    /// Grows with all work of a load except computing: bytes read by calls and from disks, and page faults. Has no
    /// unit.
    pub count: u64,
    /// Bytes of files that the process has read or has in memory.
    pub bytes: u64,
}
