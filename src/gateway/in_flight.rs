//! The live sequences with their output so far; replays them when an engine dies, or ends them.
//!
//! A plain table without a clock and without I/O; owned by the run loop. An entry holds the sequence's place, so
//! removing it makes room for another.
//!
//! ```text
//! insert ─▶ held ──unsent()──▶ sent ──on_report(finish)──▶ gone
//!             ▲                 │  └──cancel()───────────▶ leaving, until the engine has forgotten it
//!             └── on_death() ───┘ as `blame` and `quarantine` decide; else it fails
//! ```

use super::{
    admission::SequencePlace,
    blame::{Aftermath, Fate, Gate, Stage, Work},
    events::{EventSender, GenerationEvent},
    fingerprint::Fingerprint,
    quarantine::{Quarantine, log_refusal},
};
use crate::protocol::{Finish, GenerationError, SequenceId, SequenceOutput, SequenceRequest};
use std::collections::BTreeMap;

/// Steps after which an engine has forgotten a cancelled sequence: the one that was being computed, and the next, which
/// begins with reading messages.
const STEPS_TO_FORGET: u64 = 2;
/// Cancelled sequences that are watched until the engine has forgotten them; further ones are not watched.
const MAX_LEAVING: usize = 4096;

/// One live sequence.
#[derive(Debug)]
pub(super) struct LiveSequence {
    /// The request; its `resume` grows with each report, so that a replay needs nothing else.
    request: SequenceRequest,
    /// Index in its generation.
    choice: usize,
    events: EventSender,
    work: Work,
    /// True if its start was reported to the client.
    started: bool,
    _place: SequencePlace,
}

impl LiveSequence {
    /// A sequence that no engine has seen.
    pub(super) fn new(request: SequenceRequest, choice: usize, content: Fingerprint, events: EventSender, place: SequencePlace) -> Self {
        Self { request, choice, events, work: Work::new(content), started: false, _place: place }
    }

    /// The fingerprint of its content.
    pub(super) fn content(&self) -> Fingerprint {
        self.work.content
    }

    /// Ends it before any engine has it: two have died of the same content.
    pub(super) fn refuse(&self) {
        log_refusal("sequence", Some(self.request.id.0), self.work.content);
        self.end(Finish::Failed(GenerationError::Quarantined));
    }

    fn emit(&self, output: SequenceOutput) {
        // Fails when the client has dropped its `Generation`: the `Cancel` that this sent is on its way here.
        let _ = self.events.send(Box::new(GenerationEvent { choice: self.choice, output }));
    }

    fn end(&self, finish: Finish) {
        self.emit(SequenceOutput { finish: Some(finish), ..SequenceOutput::empty(self.request.id) });
    }

    /// Takes in one report and passes the news on to the client. Whether the sequence has finished.
    fn on_output(&mut self, mut output: SequenceOutput) -> bool {
        if !output.tokens.is_empty() {
            self.work.on_tokens();
        } else if output.started.is_some() {
            self.work.begin();
        }
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

    /// The present engine gets it.
    fn hand_out(&mut self) -> SequenceRequest {
        // Under a constraint an engine begins at once: it compiles it.
        self.work.stage = if self.request.constraint.is_some() { Stage::Compiling } else { Stage::Waiting };
        self.request.clone()
    }

    /// An engine is gone. How the sequence ends, or `None` if it goes on.
    fn on_death(&mut self, after: &Aftermath<'_>) -> Option<Finish> {
        let was_sent = self.work.is_sent();
        let fate = self.work.on_death(after);
        let max_tokens = usize::try_from(self.request.max_tokens).unwrap_or(usize::MAX);
        if was_sent && max_tokens > 0 && self.request.resume.len() >= max_tokens {
            return Some(Finish::Length);
        }
        match fate {
            Fate::Again => None,
            Fate::Refused => {
                log_refusal("sequence", Some(self.request.id.0), self.work.content);
                Some(Finish::Failed(GenerationError::Quarantined))
            }
            Fate::GivenUp => Some(Finish::Failed(GenerationError::EngineDied(after.reason.to_owned()))),
        }
    }
}

/// A sequence that nobody listens to any more and that the engine may still compute.
#[derive(Debug)]
struct Leaving {
    work: Work,
    /// Gone when so many steps were taken.
    steps: u64,
}

/// All live sequences, oldest first; at most as many as there are places.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    sequences: BTreeMap<SequenceId, LiveSequence>,
    leaving: Vec<Leaving>,
    /// Steps of the present engine, as last heard.
    steps: u64,
}

impl InFlight {
    /// How many are live.
    pub(super) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Takes in a sequence. It waits until [`Self::unsent`] hands it out.
    pub(super) fn insert(&mut self, entry: LiveSequence) {
        self.sequences.insert(entry.request.id, entry);
    }

    /// All sequences that an engine with so many slots has, can be handed now, or has not forgotten yet. The oldest
    /// that waited may have got a slot just now: the engine's word that it began is on its way, or lost with it.
    pub(super) fn works(&self, slots: usize) -> Vec<Work> {
        let has_room = self.room(slots) > 0;
        let live = self.sequences.values().map(|entry| entry.work).filter(|work| work.is_sent() || has_room);
        let mut works: Vec<Work> = live.chain(self.leaving.iter().map(|leaving| leaving.work)).collect();
        let begun = works.iter().filter(|work| matches!(work.stage, Stage::Touched | Stage::Proved)).count();
        let waiting = works.iter_mut().filter(|work| matches!(work.stage, Stage::Waiting | Stage::Compiling));
        waiting.take(slots.saturating_sub(begun)).for_each(Work::begin);
        works
    }

    /// Slots for which the engine has no sequence.
    fn room(&self, slots: usize) -> usize {
        slots.saturating_sub(self.sequences.values().filter(|entry| entry.work.is_sent()).count())
    }

    /// The requests that the present engine has not got and that the gate admits, oldest first; from now on it has
    /// them. Where not everything is admitted, or a suspect waits for a slot, it gets no more than `slots`, so that
    /// none waits there for others to end.
    pub(super) fn unsent(&mut self, gate: &mut Gate<'_>, slots: usize) -> Vec<SequenceRequest> {
        let mut held = self.sequences.values().filter(|entry| !entry.work.is_sent());
        let takes_all = gate.is_open() && !held.any(|entry| gate.suspects(entry.work));
        let mut room = if takes_all { usize::MAX } else { self.room(slots) };
        let mut requests = Vec::new();
        for entry in self.sequences.values_mut().filter(|entry| !entry.work.is_sent()) {
            if room == 0 {
                break;
            }
            if gate.admits(entry.work) {
                requests.push(entry.hand_out());
                room -= 1;
            }
        }
        requests
    }

    /// Passes a step's news on and returns how many sequences finished. One that finishes well is no suspect any more.
    /// News of unknown ones (cancelled meanwhile) is dropped.
    pub(super) fn on_report(&mut self, outputs: Vec<SequenceOutput>, quarantine: &mut Quarantine) -> u32 {
        let mut finished = 0;
        for output in outputs {
            let id = output.id;
            let Some(entry) = self.sequences.get_mut(&id) else { continue };
            let is_good = output.finish.as_ref().is_some_and(|finish| !matches!(finish, Finish::Failed(_)));
            if is_good {
                quarantine.acquit(entry.work.content);
            }
            let was_proved = entry.work.stage == Stage::Proved;
            let has_finished = entry.on_output(output);
            if entry.work.stage == Stage::Proved && !was_proved {
                quarantine.on_proof(entry.work.content);
            }
            if has_finished {
                finished += 1;
                self.sequences.remove(&id);
            }
        }
        finished
    }

    /// The engine has taken so many steps.
    pub(super) fn on_steps(&mut self, steps: u64) {
        self.steps = steps;
        self.leaving.retain(|leaving| steps < leaving.steps);
    }

    /// The engine has nothing to do: it has forgotten all that were cancelled.
    pub(super) fn on_idle(&mut self) {
        self.leaving.clear();
    }

    /// Forgets a sequence. Whether the present engine has to forget it too.
    pub(super) fn cancel(&mut self, id: SequenceId) -> bool {
        let Some(entry) = self.sequences.remove(&id) else { return false };
        let was_sent = entry.work.is_sent();
        if was_sent && self.leaving.len() < MAX_LEAVING {
            self.leaving.push(Leaving { work: entry.work, steps: self.steps + STEPS_TO_FORGET });
        }
        was_sent
    }

    /// An engine died: the sequences that it had are handed out again by [`Self::unsent`], or fail.
    pub(super) fn on_death(&mut self, after: &Aftermath<'_>) -> ReplayOutcome {
        let mut replay = ReplayOutcome::default();
        self.leaving.clear();
        self.steps = 0;
        self.sequences.retain(|_, entry| {
            let was_sent = entry.work.is_sent();
            let end = entry.on_death(after);
            replay.replayed += usize::from(was_sent && end.is_none());
            replay.failed += usize::from(matches!(end, Some(Finish::Failed(_))));
            if let Some(finish) = end {
                entry.end(finish);
                return false;
            }
            true
        });
        replay
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

/// Numbers of sequences that the death of an engine concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReplayOutcome {
    /// To be sent to the next engine.
    pub(super) replayed: usize,
    /// Ended with an error.
    pub(super) failed: usize,
}

#[cfg(test)]
mod tests;
