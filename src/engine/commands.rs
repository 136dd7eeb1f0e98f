//! Shared by the engine's threads: the commands of the engine thread, the counters of its progress that the gateway
//! asks for, and the function that starts a thread.
//!
//! Owns nothing. `serve` sends the commands; `worker` or `embedding` carries them out.

use crate::constrain::Matcher;
use crate::protocol::{Asked, FrameError, GenerationError, Prospect, SequenceId, SequenceRequest};
use std::{
    sync::atomic::{AtomicBool, AtomicU64},
    thread,
};

/// Stack of the engine thread, and of the threads on which resumed sequences catch up, bytes: constraints are followed
/// by code that recurses.
pub(super) const ENGINE_STACK_BYTES: usize = 64 << 20;

/// A command to the engine thread of a model that generates. The engine thread of a model that embeds gets batches of
/// inputs instead.
#[derive(Debug)]
pub(super) enum WorkerCommand {
    /// Generate a sequence.
    Submit {
        /// The sequence to generate.
        request: Box<SequenceRequest>,
        /// The state of the sequence's constraint after the `resume` tokens; present if the request has a constraint.
        matcher: Option<Box<Matcher>>,
    },
    /// Report that a submission failed on its way to the engine thread.
    Refuse(SequenceId, GenerationError),
    /// Forget a sequence.
    Cancel(SequenceId),
    /// Forecast a request.
    Forecast(Asked<Prospect>),
}

/// The progress of the engine thread. The inbox thread reads it for the gateway's heartbeat.
#[derive(Debug, Default)]
pub(super) struct StepProgress {
    /// Number of steps finished.
    pub(super) steps: AtomicU64,
    /// True if the engine thread has work.
    pub(super) busy: AtomicBool,
}

/// The gateway has hung up, so the engine thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disconnected;

/// Starts a thread with a stack of `stack_bytes`; 0 leaves the size to the system.
///
/// # Errors
/// The system starts no thread.
pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    stack_bytes: usize,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, FrameError> {
    let builder = thread::Builder::new().name(name.to_owned());
    let builder = if stack_bytes > 0 { builder.stack_size(stack_bytes) } else { builder };
    Ok(builder.spawn(body)?)
}
