//! The client's end of a running request: events come out, dropping it cancels.
//!
//! Owns the receiver of the request's events. Never ends silently: a choice whose news cannot come any more is
//! reported as failed.

use super::command::{Command, CommandSender};
use crate::protocol::{Finish, GenerationError, SequenceId, SequenceOutput};
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// News of one choice of a generation.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationEvent {
    /// Index into the submitted sequences.
    pub choice: usize,
    /// The news. The last one of each choice has a `finish`.
    pub output: SequenceOutput,
}

/// Where the run loop puts a sequence's news; shared by the choices of a request.
///
/// Boxed, because a channel allocates room for 32 events at once: 6 KB for each request that waits in a queue.
pub(super) type EventSender = mpsc::UnboundedSender<Box<GenerationEvent>>;
/// The other end.
pub(super) type EventReceiver = mpsc::UnboundedReceiver<Box<GenerationEvent>>;

/// A request's channel of events.
///
/// Unbounded so that a slow reader never holds up the others; its bound is what the choices can say: at most
/// `max_tokens` reports with tokens, one more for held-back text and one for the finish, for each choice.
#[expect(clippy::disallowed_methods, reason = "bounded by max_tokens + 2 events for each choice, see above")]
pub(super) fn events() -> (EventSender, EventReceiver) {
    mpsc::unbounded_channel()
}

/// The running thing that a request started. Dropping it cancels what has not finished within one step.
#[derive(Debug)]
pub struct Generation {
    /// By choice; `None` once it has finished.
    unfinished: Vec<Option<SequenceId>>,
    events: EventReceiver,
    commands: CommandSender,
    /// Failures made here after the run loop went away, not yet handed out.
    orphaned: VecDeque<GenerationEvent>,
}

impl Generation {
    pub(super) fn new(ids: &[SequenceId], events: EventReceiver, commands: CommandSender) -> Self {
        Self { unfinished: ids.iter().copied().map(Some).collect(), events, commands, orphaned: VecDeque::new() }
    }

    /// The next news, or `None` after every choice has finished. Cancel-safe.
    pub async fn next(&mut self) -> Option<GenerationEvent> {
        if self.unfinished.iter().all(Option::is_none) {
            return self.orphaned.pop_front();
        }
        let Some(event) = self.events.recv().await else {
            self.fail_the_rest();
            return self.orphaned.pop_front();
        };
        if event.output.finish.is_some()
            && let Some(id) = self.unfinished.get_mut(event.choice)
        {
            *id = None;
        }
        Some(*event)
    }

    /// The run loop dropped our sequences without a word: it was aborted or it panicked.
    fn fail_the_rest(&mut self) {
        for (choice, id) in self.unfinished.iter_mut().enumerate() {
            if let Some(id) = id.take() {
                let error = GenerationError::EngineDied("its supervisor ended".to_owned());
                let output = SequenceOutput { finish: Some(Finish::Failed(error)), ..SequenceOutput::empty(id) };
                self.orphaned.push_back(GenerationEvent { choice, output });
            }
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        let ids: Vec<SequenceId> = self.unfinished.iter().flatten().copied().collect();
        if !ids.is_empty() {
            // Fails only when the run loop has ended, and then nothing is left to cancel.
            let _ = self.commands.send(Command::Cancel(ids));
        }
    }
}
