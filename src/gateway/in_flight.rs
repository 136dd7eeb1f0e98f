//! The live sequences: what each has produced, and what becomes of them when an engine dies.
//!
//! A plain table without a clock and without I/O; owned by the run loop. An entry holds the sequence's place, so
//! removing it makes room for another.
//!
//! ```text
//! insert ─▶ held ──unsent()──▶ sent ──on_report(finish)──▶ gone
//!             ▲                 │  └──cancel()───────────▶ gone
//!             └── on_death() ───┘ once for what was being computed; the second time it fails
//! ```

use super::{
    admission::Place,
    generation::{EventSender, GenerationEvent},
};
use crate::protocol::{Finish, GenerationError, SequenceId, SequenceOutput, SequenceRequest};
use std::collections::BTreeMap;

/// Engines that may die computing a sequence before it is given up: it is replayed once.
const MAX_ATTEMPTS: u32 = 2;
/// Engines that may die with a sequence in them that only waited there, as far as we heard. Fewer than the deaths in a
/// row that end the server, because the engine's word that it began may be lost with it.
const MAX_DEATHS: u32 = 4;

/// One live sequence.
#[derive(Debug)]
pub(super) struct Entry {
    /// What to generate; `resume` grows with each report, so that this is what a replay needs.
    request: SequenceRequest,
    /// Index in its generation.
    choice: usize,
    events: EventSender,
    /// Engines that died when they had begun to compute it.
    attempts: u32,
    /// Engines that died with it.
    deaths: u32,
    /// Whether the present engine has it.
    sent: bool,
    /// Whether the present engine has begun to compute it.
    begun: bool,
    /// Whether its start was reported to the client.
    started: bool,
    _place: Place,
}

impl Entry {
    /// A sequence that no engine has seen.
    pub(super) fn new(request: SequenceRequest, choice: usize, events: EventSender, place: Place) -> Self {
        Self { request, choice, events, attempts: 0, deaths: 0, sent: false, begun: false, started: false, _place: place }
    }

    fn emit(&self, output: SequenceOutput) {
        // Fails when the client has dropped its `Generation`: the `Cancel` that this sent is on its way here.
        let _ = self.events.send(Box::new(GenerationEvent { choice: self.choice, output }));
    }

    fn end(&self, finish: Finish) {
        self.emit(SequenceOutput { finish: Some(finish), ..SequenceOutput::empty(self.request.id) });
    }

    /// Takes in one report and passes on what is new to the client. Whether the sequence has finished.
    fn on_output(&mut self, mut output: SequenceOutput) -> bool {
        self.begun |= output.started.is_some() || !output.tokens.is_empty();
        if self.started {
            output.started = None;
        }
        self.started |= output.started.is_some();
        self.request.resume.extend_from_slice(&output.tokens);
        let scored = u32::try_from(output.prompt_logprobs.len()).unwrap_or(u32::MAX);
        self.request.prompt_scored = self.request.prompt_scored.saturating_add(scored);
        let finished = output.finish.is_some();
        let is_news = output.started.is_some()
            || !output.tokens.is_empty()
            || !output.text.is_empty()
            || !output.logprobs.is_empty()
            || !output.prompt_logprobs.is_empty();
        if finished || is_news {
            self.emit(output);
        }
        finished
    }

    /// Its engine is gone. How the sequence ends, or `None` if it is to be replayed.
    fn on_death(&mut self, reason: &str) -> Option<Finish> {
        if !self.sent {
            return None;
        }
        self.sent = false;
        self.deaths += 1;
        self.attempts += u32::from(std::mem::take(&mut self.begun));
        let max_tokens = usize::try_from(self.request.max_tokens).unwrap_or(usize::MAX);
        if max_tokens > 0 && self.request.resume.len() >= max_tokens {
            return Some(Finish::Length);
        }
        (self.attempts >= MAX_ATTEMPTS || self.deaths >= MAX_DEATHS).then(|| Finish::Failed(GenerationError::EngineDied(reason.to_owned())))
    }
}

/// All live sequences, oldest first; at most as many as there are places.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    sequences: BTreeMap<SequenceId, Entry>,
}

impl InFlight {
    /// How many are live.
    pub(super) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Takes in a sequence. It waits until [`Self::unsent`] hands it out.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.sequences.insert(entry.request.id, entry);
    }

    /// The requests that the present engine has not got, oldest first; from now on it has them.
    pub(super) fn unsent(&mut self) -> Vec<SequenceRequest> {
        let held = self.sequences.values_mut().filter(|entry| !entry.sent);
        held.map(|entry| {
            entry.sent = true;
            entry.request.clone()
        })
        .collect()
    }

    /// Passes a step's news on. How many sequences finished. News of unknown ones (cancelled meanwhile) is dropped.
    pub(super) fn on_report(&mut self, outputs: Vec<SequenceOutput>) -> u32 {
        let mut finished = 0;
        for output in outputs {
            let id = output.id;
            let Some(entry) = self.sequences.get_mut(&id) else { continue };
            if entry.on_output(output) {
                self.sequences.remove(&id);
                finished += 1;
            }
        }
        finished
    }

    /// Forgets a sequence. Whether the present engine has to forget it too.
    pub(super) fn cancel(&mut self, id: SequenceId) -> bool {
        self.sequences.remove(&id).is_some_and(|entry| entry.sent)
    }

    /// The engine died of `reason`: what it had is handed out again by [`Self::unsent`], or fails.
    /// The numbers of both.
    pub(super) fn on_death(&mut self, reason: &str) -> Casualties {
        let mut casualties = Casualties::default();
        self.sequences.retain(|_, entry| {
            let was_sent = entry.sent;
            let end = entry.on_death(reason);
            casualties.replayed += usize::from(was_sent && end.is_none());
            casualties.failed += usize::from(matches!(end, Some(Finish::Failed(_))));
            if let Some(finish) = end {
                entry.end(finish);
                return false;
            }
            true
        });
        casualties
    }

    /// Ends every sequence with `error`. How many there were.
    pub(super) fn fail_all(&mut self, error: &GenerationError) -> usize {
        let all = std::mem::take(&mut self.sequences);
        for entry in all.values() {
            entry.end(Finish::Failed(error.clone()));
        }
        all.len()
    }
}

/// What a death did to the sequences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Casualties {
    /// To be sent to the next engine.
    pub(super) replayed: usize,
    /// Ended with an error.
    pub(super) failed: usize,
}

#[cfg(test)]
mod tests;
