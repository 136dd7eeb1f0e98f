//! The channel by which the run loop sends a generation its events.
//!
//! Lies between the table of live sequences, which sends, and the client's end, which receives: neither imports the
//! other.

use crate::protocol::SequenceOutput;
use tokio::sync::mpsc;

/// An output of one choice of a generation.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationEvent {
    /// Index into the submitted sequences.
    pub choice: usize,
    /// The output. The last one of each choice has a `finish`.
    pub output: SequenceOutput,
}

/// The run loop's end of a request's channel; shared by its choices.
///
/// Events are boxed, because a channel allocates room for 32 at once: 6 KB for each request that waits in a queue.
pub(super) type EventSender = mpsc::UnboundedSender<Box<GenerationEvent>>;
/// The client's end of a request's channel.
pub(super) type EventReceiver = mpsc::UnboundedReceiver<Box<GenerationEvent>>;

/// A request's channel of events.
///
/// Unbounded so that a slow reader never holds up the others. Its bound is the number of events of its choices: for
/// each choice at most `max_tokens` reports with tokens, one more for held-back text and one for the finish, and before
/// them four a second, and no more than the prompt has tokens, of the progress of the prompt.
#[expect(clippy::disallowed_methods, reason = "bounded by the tokens of prompt and answer of each choice, see above")]
pub(super) fn events() -> (EventSender, EventReceiver) {
    mpsc::unbounded_channel()
}
