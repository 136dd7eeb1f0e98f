//! Shared by the engine's threads: the commands of the engine thread, the counters of its progress that the gateway
//! asks for, and the function that starts a thread.
//!
//! Owns nothing. `serve` sends commands, `worker` or `embedding` carries them out.

use crate::constrain::Matcher;
use crate::protocol::{Asked, FrameError, GenerationError, Prospect, SequenceId, SequenceRequest};
use std::{
    sync::atomic::{AtomicBool, AtomicU64},
    thread,
};

/// Constraints are followed by code that recurses, on the engine thread and where resumed sequences catch up.
pub(super) const ENGINE_STACK_BYTES: usize = 64 << 20;

/// A command to the engine thread of a model that generates. The one of a model that embeds gets batches of inputs.
#[derive(Debug)]
pub(super) enum WorkerCommand {
    /// Generate.
    Submit {
        /// The sequence to generate.
        request: Box<SequenceRequest>,
        /// The state of its constraint after the `resume` tokens; there if the request has a constraint.
        matcher: Option<Box<Matcher>>,
    },
    /// A submission failed on its way to the engine thread: report that.
    Refuse(SequenceId, GenerationError),
    /// Forget a sequence.
    Cancel(SequenceId),
    /// Predict how a request would fare.
    Forecast(Asked<Prospect>),
}

/// Read by the inbox thread, for the gateway's heartbeat.
#[derive(Debug, Default)]
pub(super) struct StepProgress {
    /// Steps finished.
    pub(super) steps: AtomicU64,
    /// True if there is work.
    pub(super) busy: AtomicBool,
}

/// The gateway has hung up, so the engine thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disconnected;

/// Starts a thread with a stack of so many bytes; 0 leaves the size to the system.
///
/// # Errors
/// The system gives no thread.
pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    stack_bytes: usize,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, FrameError> {
    let builder = thread::Builder::new().name(name.to_owned());
    let builder = if stack_bytes > 0 { builder.stack_size(stack_bytes) } else { builder };
    Ok(builder.spawn(body)?)
}
