//! The client's end of a running request: events come out, dropping it cancels.
//!
//! Owns the receiver of the request's events. Never ends silently: a choice whose events cannot come any more is
//! reported as failed.

use super::{
    command::{CommandSender, RunLoopCommand},
    events::{EventReceiver, GenerationEvent},
};
use crate::protocol::{Finish, GenerationError, SequenceId, SequenceOutput};
use std::collections::VecDeque;

/// The running generation that a request started. Dropping it cancels unfinished choices within one step.
#[derive(Debug)]
pub struct Generation {
    /// Ids of the sequences, by choice; `None` once a choice has finished.
    unfinished: Vec<Option<SequenceId>>,
    events: EventReceiver,
    commands: CommandSender,
    /// Failures made here because the run loop has ended, not yet returned by [`Self::next`].
    orphaned: VecDeque<GenerationEvent>,
}

impl Generation {
    pub(super) fn new(ids: &[SequenceId], events: EventReceiver, commands: CommandSender) -> Self {
        Self { unfinished: ids.iter().copied().map(Some).collect(), events, commands, orphaned: VecDeque::new() }
    }

    /// Waits for the next event; `None` after every choice has finished. Cancel-safe.
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

    /// Fails the unfinished choices: the run loop dropped them without an event, because it was aborted or panicked.
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
            // Sending fails only when the run loop has ended, and then nothing is left to cancel.
            let _ = self.commands.send(RunLoopCommand::Cancel(ids));
        }
    }
}
