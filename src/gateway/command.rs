//! The commands that the handle sends to the run loop.
//!
//! The channel is unbounded in type and bounded in fact: see [`channel`].

use super::{calls::OpenCall, embeds::EmbedRequest, in_flight::LiveSequence};
use crate::protocol::SequenceId;
use tokio::{sync::mpsc, time::Instant};

/// One message to the run loop.
#[derive(Debug)]
pub(super) enum RunLoopCommand {
    /// Generate these sequences; each entry holds its place.
    Submit(Vec<LiveSequence>),
    /// Cancel these sequences: nobody listens to them any more.
    Cancel(Vec<SequenceId>),
    /// Ask the engine this question; the call holds its place.
    Call(OpenCall),
    /// Compute vectors; the request holds its permit.
    Embed(EmbedRequest),
    /// Finish open work by this moment, and stop. A second `Drain` has an earlier moment.
    Drain(Instant),
}

/// Sends commands without waiting, from `Drop` as well.
pub(super) type CommandSender = mpsc::UnboundedSender<RunLoopCommand>;

/// A channel of commands.
///
/// Its bound: a sequence holds a place from before its `Submit` until after its one `Cancel` was received; a call or a
/// request for vectors holds one of a fixed number of permits; and there are two `Drain`s. So at most 2 × places +
/// permits + 2 commands wait.
#[expect(clippy::disallowed_methods, reason = "bounded by the places and permits that commands hold, see above")]
pub(super) fn channel() -> (CommandSender, mpsc::UnboundedReceiver<RunLoopCommand>) {
    mpsc::unbounded_channel()
}
