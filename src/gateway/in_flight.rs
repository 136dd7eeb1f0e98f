//! The live sequences with their output so far; replays them when an engine dies, or ends them.
//!
//! A plain table without a clock and without I/O; owned by the run loop. An entry holds the sequence's place, so
//! removing the entry makes room for another sequence.
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

/// Steps after which an engine has forgotten a cancelled sequence: the step that was being computed, and the next one,
/// which begins with reading messages.
const STEPS_TO_FORGET: u64 = 2;
/// Maximum number of cancelled sequences that are watched until the engine has forgotten them; further ones are not
/// watched.
const MAX_LEAVING: usize = 4096;

/// One live sequence.
#[derive(Debug)]
pub(super) struct LiveSequence {
    /// The request. Its `resume` grows with each report, so that a replay needs nothing else.
    request: SequenceRequest,
    /// The sequence's index in its generation.
    choice: usize,
    events: EventSender,
    work: Work,
    /// True if the start was reported to the client.
    started: bool,
    _place: SequencePlace,
}

impl LiveSequence {
    /// Creates a sequence that no engine has seen.
    pub(super) fn new(request: SequenceRequest, choice: usize, content: Fingerprint, events: EventSender, place: SequencePlace) -> Self {
        Self { request, choice, events, work: Work::new(content), started: false, _place: place }
    }

    /// The fingerprint of the sequence's content.
    pub(super) fn content(&self) -> Fingerprint {
        self.work.content
    }

    /// Ends the sequence before any engine has it, because engines have died of the same content.
    pub(super) fn refuse(&self) {
        log_refusal("sequence", Some(self.request.id.0), self.work.content);
        self.end(Finish::Failed(GenerationError::Quarantined));
    }

    fn emit(&self, output: SequenceOutput) {
        // Sending fails if the client has dropped its `Generation`: the `Cancel` that the drop sent is on its way here.
        let _ = self.events.send(Box::new(GenerationEvent { choice: self.choice, output }));
    }

    fn end(&self, finish: Finish) {
        self.emit(SequenceOutput { finish: Some(finish), ..SequenceOutput::empty(self.request.id) });
    }

    /// Takes in one report and passes its new parts on to the client. True if the sequence has finished.
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
        // A replay computes the tokens of the answer so far as if they were part of the prompt.
        output.processed = output.processed.filter(|_| self.request.resume.is_empty());
        let scored = u32::try_from(output.prompt_logprobs.len()).unwrap_or(u32::MAX);
        self.request.prompt_scored = self.request.prompt_scored.saturating_add(scored);
        let finished = output.finish.is_some();
        let is_news = output.started.is_some()
            || output.processed.is_some()
            || !output.tokens.is_empty()
            || !output.text.is_empty()
            || !output.logprobs.is_empty()
            || !output.prompt_logprobs.is_empty();
        if finished || is_news {
            self.emit(output);
        }
        finished
    }

    /// Marks the sequence as sent, and returns the request for the present engine.
    fn hand_out(&mut self) -> SequenceRequest {
        // An engine begins at once with work under a constraint: it compiles the constraint.
        self.work.stage = if self.request.constraint.is_some() { Stage::Compiling } else { Stage::Waiting };
        self.request.clone()
    }

    /// Records that the engine died. Returns how the sequence ends, or `None` if it goes on.
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

/// A cancelled sequence, which the engine may still compute.
#[derive(Debug)]
struct Leaving {
    work: Work,
    /// Steps of the engine after which it has forgotten the sequence.
    steps: u64,
}

/// All live sequences, oldest first; never more than there are places.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    sequences: BTreeMap<SequenceId, LiveSequence>,
    leaving: Vec<Leaving>,
    /// Steps of the present engine, as last reported.
    steps: u64,
}

impl InFlight {
    /// Number of live sequences.
    pub(super) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Takes in a sequence, which waits until [`Self::unsent`] sends it.
    pub(super) fn insert(&mut self, entry: LiveSequence) {
        self.sequences.insert(entry.request.id, entry);
    }

    /// Work of all sequences that an engine with `slots` slots has, could be sent now, or has not forgotten yet. The
    /// oldest waiting ones count as begun if slots are free for them: the engine's report that they began may be on its
    /// way, or lost with the engine.
    pub(super) fn works(&self, slots: usize) -> Vec<Work> {
        let has_room = self.room(slots) > 0;
        let live = self.sequences.values().map(|entry| entry.work).filter(|work| work.is_sent() || has_room);
        let mut works: Vec<Work> = live.chain(self.leaving.iter().map(|leaving| leaving.work)).collect();
        let begun = works.iter().filter(|work| matches!(work.stage, Stage::Touched | Stage::Proved)).count();
        let waiting = works.iter_mut().filter(|work| matches!(work.stage, Stage::Waiting | Stage::Compiling));
        waiting.take(slots.saturating_sub(begun)).for_each(Work::begin);
        works
    }

    /// Number of slots for which the engine has no sequence.
    fn room(&self, slots: usize) -> usize {
        slots.saturating_sub(self.sequences.values().filter(|entry| entry.work.is_sent()).count())
    }

    /// Takes the requests that the present engine does not have and that the gate admits. If the gate is not open, or a
    /// suspect is held, the engine gets at most as many as it has free slots, so that none waits there for others to
    /// end; keys then take turns here as they do there.
    pub(super) fn unsent(&mut self, gate: &mut Gate<'_>, slots: usize) -> Vec<SequenceRequest> {
        let mut held = self.sequences.values().filter(|entry| !entry.work.is_sent());
        let takes_all = gate.is_open() && !held.any(|entry| gate.suspects(entry.work));
        let mut room = if takes_all { usize::MAX } else { self.room(slots) };
        let mut requests = Vec::new();
        for id in if room > 0 { self.in_turns() } else { Vec::new() } {
            if room == 0 {
                break;
            }
            if let Some(entry) = self.sequences.get_mut(&id).filter(|entry| gate.admits(entry.work)) {
                requests.push(entry.hand_out());
                room -= 1;
            }
        }
        requests
    }

    /// The sequences that the present engine does not have, in the order in which keys take turns: the key of which the
    /// engine has the fewest goes first, and within a key the oldest.
    fn in_turns(&self) -> Vec<SequenceId> {
        let mut of_key: BTreeMap<u64, usize> = BTreeMap::new();
        let (sent, held): (Vec<_>, Vec<_>) = self.sequences.iter().partition(|(_, entry)| entry.work.is_sent());
        sent.into_iter().for_each(|(_, entry)| *of_key.entry(entry.request.namespace).or_default() += 1);
        let turn = |(id, entry): (&SequenceId, &LiveSequence)| {
            let turns = of_key.entry(entry.request.namespace).or_default();
            *turns += 1;
            (*turns, *id)
        };
        let mut order: Vec<(usize, SequenceId)> = held.into_iter().map(turn).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }

    /// Passes a step's outputs on and returns how many sequences finished. A sequence that finishes well is no suspect
    /// any more. An output of an unknown sequence (cancelled meanwhile) is dropped.
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

    /// Records that the engine has taken `steps` steps.
    pub(super) fn on_steps(&mut self, steps: u64) {
        self.steps = steps;
        self.leaving.retain(|leaving| steps < leaving.steps);
    }

    /// Records that the engine has nothing to do: it has forgotten all cancelled sequences.
    pub(super) fn on_idle(&mut self) {
        self.leaving.clear();
    }

    /// Removes a sequence. True if the present engine has to be told.
    pub(super) fn cancel(&mut self, id: SequenceId) -> bool {
        let Some(entry) = self.sequences.remove(&id) else { return false };
        let was_sent = entry.work.is_sent();
        if was_sent && self.leaving.len() < MAX_LEAVING {
            self.leaving.push(Leaving { work: entry.work, steps: self.steps + STEPS_TO_FORGET });
        }
        was_sent
    }

    /// Records that an engine died: the sequences that it had are sent again by [`Self::unsent`], or fail.
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

    /// Ends every sequence with `error`, and returns how many there were.
    pub(super) fn fail_all(&mut self, error: &GenerationError) -> usize {
        let all = std::mem::take(&mut self.sequences);
        for entry in all.values() {
            entry.end(Finish::Failed(error.clone()));
        }
        all.len()
    }
}

/// Counts of the sequences that an engine's death affected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReplayOutcome {
    /// Number of sequences to be sent to the next engine.
    pub(super) replayed: usize,
    /// Number of sequences that ended with an error.
    pub(super) failed: usize,
}

#[cfg(test)]
mod tests;
