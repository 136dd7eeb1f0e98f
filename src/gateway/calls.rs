//! The table of open calls: sends them to the engine in turn and gives each answer to its caller.
//!
//! Without a clock and without I/O; owned by the run loop. Each call holds a [`CallPlace`]; one key has at most
//! [`MAX_KEY_CALLS`] and [`MAX_KEY_BYTES`]. [`turns`] decides the order; `blame` and `quarantine` decide whether a call
//! is sent again when an engine dies. This module does not know which kinds of questions exist: `questions` does.

mod turns;

use super::{
    blame::{Aftermath, Fate, Gate, Stage, Work},
    error::{SubmitError, TokenizeError},
    fingerprint::{Fingerprint, Fingerprints},
    quarantine::{Quarantine, log_refusal},
};
use crate::protocol::{Answer, CallId, EngineCall, EngineReply, Question, ToEngine};
use std::{collections::BTreeMap, fmt};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use turns::{CallTicket, CallTurns};

pub(super) use turns::Lane;

/// Maximum number of calls that are open or wait; more are refused.
pub(super) const MAX_CALLS: usize = 2048;
/// Maximum number of these calls of one key, so that other keys find places.
pub(super) const MAX_KEY_CALLS: usize = MAX_CALLS / 2;

/// Maximum bytes of all texts in these calls.
pub(super) const MAX_BYTES: usize = 128 << 20;
/// Maximum bytes of the texts of one key.
pub(super) const MAX_KEY_BYTES: usize = MAX_BYTES / 2;

/// Longest text or list of tokens (4 bytes each) in a call: the tokens of a text, at up to 5 bytes on the wire for each
/// byte of it, must fit into a frame. The text of tokens is bounded by the engine.
pub(super) const MAX_TEXT_BYTES: usize = crate::protocol::MAX_FRAME_BYTES / 5 - 1024;

/// A single call may wait this many times the stall timeout, because the engine answers other calls first.
const PATIENCE: u32 = 4;

/// A question that can wait in the table of calls.
pub(super) trait Ask: Question + Clone + fmt::Debug + Send + 'static {
    /// The lane in which the question waits.
    fn lane(&self) -> Lane;

    /// The fingerprint of the question's content, without the caller.
    fn fingerprint(&self, fingerprints: &Fingerprints) -> Fingerprint;
}

/// An open question of any kind, with its caller.
trait Pending: fmt::Debug + Send {
    fn name(&self) -> &'static str;

    fn bytes(&self) -> usize;

    /// The question as the message that is sent to the engine.
    fn call(&self) -> EngineCall;

    /// True if the caller no longer waits for the answer.
    fn is_abandoned(&self) -> bool;

    /// Gives the reply to the caller. True if the reply is an answer to this question and no error.
    fn answer(self: Box<Self>, reply: EngineReply) -> bool;

    /// Gives `error` to the caller instead of an answer.
    fn fail(self: Box<Self>, error: TokenizeError);
}

/// A question with the sender by which its caller gets the answer.
#[derive(Debug)]
struct PendingQuestion<Q: Question> {
    question: Q,
    caller: oneshot::Sender<Result<Q::Answer, TokenizeError>>,
}

impl<Q: Ask> Pending for PendingQuestion<Q> {
    fn name(&self) -> &'static str {
        Q::NAME
    }

    fn bytes(&self) -> usize {
        self.question.bytes()
    }

    fn call(&self) -> EngineCall {
        self.question.clone().into_call()
    }

    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    fn answer(self: Box<Self>, reply: EngineReply) -> bool {
        let answer = Q::answer(reply).ok_or_else(mismatch);
        let is_good = answer.as_ref().is_ok_and(|answer| !answer.is_error());
        // Sending fails if the caller has stopped waiting; then nobody needs the answer.
        let _ = self.caller.send(answer);
        is_good
    }

    fn fail(self: Box<Self>, error: TokenizeError) {
        // Sending fails if the caller has stopped waiting.
        let _ = self.caller.send(Err(error));
    }
}

/// A call's right to be open: one of [`MAX_CALLS`] permits, and permits for its share of [`MAX_BYTES`], counted in KiB.
#[derive(Debug)]
pub(super) struct CallPlace {
    pub(super) _call: OwnedSemaphorePermit,
    pub(super) _bytes: OwnedSemaphorePermit,
}

/// One open call.
#[derive(Debug)]
pub(super) struct OpenCall {
    question: Box<dyn Pending>,
    ticket: CallTicket,
    work: Work,
    /// Ticks since the call was sent to the present engine.
    waited: u32,
    _place: CallPlace,
}

/// The caller's end of an open call, by which the answer comes.
pub(super) type Answered<Q> = oneshot::Receiver<Result<<Q as Question>::Answer, TokenizeError>>;

impl OpenCall {
    /// Creates a call of `key` that no engine has seen, and the end by which its answer comes.
    pub(super) fn new<Q: Ask>(question: Q, key: u64, fingerprints: &Fingerprints, place: CallPlace) -> (Self, Answered<Q>) {
        let (ticket, work) = (CallTicket { lane: question.lane(), key }, Work::new(question.fingerprint(fingerprints)));
        let (caller, answer) = oneshot::channel();
        let question = Box::new(PendingQuestion { question, caller });
        (Self { question, ticket, work, waited: 0, _place: place }, answer)
    }

    /// The key that the call is made for.
    pub(super) fn key(&self) -> u64 {
        self.ticket.key
    }

    /// The fingerprint of the call's content.
    pub(super) fn content(&self) -> Fingerprint {
        self.work.content
    }

    /// Ends the call because engines have died of the same content; `id` is its number if it is in the table.
    pub(super) fn quarantine(self, id: Option<u64>) {
        log_refusal(self.question.name(), id, self.work.content);
        self.refuse(SubmitError::Quarantined);
    }

    /// Ends the call with `error`.
    pub(super) fn refuse(self, error: SubmitError) {
        self.question.fail(error.into());
    }
}

/// The calls and bytes that one key has open.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct KeyUse {
    calls: usize,
    bytes: usize,
}

/// All open calls.
#[derive(Debug, Default)]
pub(super) struct OpenCalls {
    open: BTreeMap<u64, OpenCall>,
    next: u64,
    turns: CallTurns,
    /// Calls and bytes by key; no entry is zero.
    used: BTreeMap<u64, KeyUse>,
    /// Ticks since the present engine last answered, counted while it owes answers.
    silent: u32,
}

impl OpenCalls {
    /// True if no call is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in a call, or ends it with `refusal` if its key has too many calls here. The call waits until
    /// [`Self::unsent`] sends it.
    pub(super) fn insert(&mut self, call: OpenCall, refusal: impl FnOnce() -> SubmitError) {
        if !self.has_room(&call) {
            self.forget_abandoned();
        }
        if !self.has_room(&call) {
            return call.refuse(refusal());
        }
        let key = self.used.entry(call.ticket.key).or_default();
        key.calls += 1;
        key.bytes += call.question.bytes();
        self.turns.push(self.next, call.ticket);
        self.open.insert(self.next, call);
        self.next += 1;
    }

    fn has_room(&self, call: &OpenCall) -> bool {
        let used = self.used.get(&call.ticket.key).copied().unwrap_or_default();
        used.calls < MAX_KEY_CALLS && used.bytes.saturating_add(call.question.bytes()) <= MAX_KEY_BYTES
    }

    /// Work of all calls that the present engine has or could be sent now.
    pub(super) fn works(&self) -> impl Iterator<Item = Work> {
        let can_go = |call: &&OpenCall| !call.question.is_abandoned() && self.turns.has_place(call.ticket);
        self.open.values().filter(move |call| call.work.is_sent() || can_go(call)).map(|call| call.work)
    }

    /// Takes the calls whose turn it is, as messages for the present engine.
    pub(super) fn unsent(&mut self, gate: &mut Gate<'_>) -> Vec<ToEngine> {
        let mut messages = Vec::new();
        loop {
            let open = &self.open;
            // Calls whose callers no longer wait get a turn and are then forgotten.
            let admits = |id: u64| open.get(&id).is_none_or(|call| call.question.is_abandoned() || gate.admits(call.work));
            let Some(id) = self.turns.next(admits) else { return messages };
            let Some(call) = self.open.get_mut(&id) else { continue };
            call.work.stage = Stage::Touched;
            if call.question.is_abandoned() {
                self.remove(id);
                continue;
            }
            call.waited = 0;
            messages.push(ToEngine::Call { id: CallId(id), call: call.question.call() });
        }
    }

    /// Removes a call from all tables.
    fn remove(&mut self, id: u64) -> Option<OpenCall> {
        let call = self.open.remove(&id)?;
        if call.work.is_sent() {
            self.turns.done(call.ticket);
        }
        if let Some(used) = self.used.get_mut(&call.ticket.key) {
            used.calls -= 1;
            used.bytes -= call.question.bytes();
            if *used == KeyUse::default() {
                self.used.remove(&call.ticket.key);
            }
        }
        Some(call)
    }

    /// Removes calls that wait for a turn and whose callers no longer wait for the answer.
    fn forget_abandoned(&mut self) {
        let abandoned = |call: &OpenCall| !call.work.is_sent() && call.question.is_abandoned();
        let gone: Vec<u64> = self.open.iter().filter(|(_, call)| abandoned(call)).map(|(id, _)| *id).collect();
        if gone.is_empty() {
            return;
        }
        for id in gone {
            self.remove(id);
        }
        let open = &self.open;
        self.turns.retain(|id| open.contains_key(&id));
    }

    /// Gives a reply to its caller. A content with a good answer is no suspect any more. A reply to a call that the
    /// engine does not have is ignored.
    pub(super) fn on_reply(&mut self, id: CallId, reply: EngineReply, quarantine: &mut Quarantine) {
        if !self.open.get(&id.0).is_some_and(|call| call.work.is_sent()) {
            return;
        }
        self.silent = 0;
        let Some(call) = self.remove(id.0) else { return };
        if call.question.answer(reply) {
            quarantine.acquit(call.work.content);
        }
    }

    /// Counts a tick. Returns the number of ticks for which the engine has owed answers and given none. A single answer
    /// may take [`PATIENCE`] times as long, because the engine works on other calls first.
    pub(super) fn on_tick(&mut self) -> u32 {
        self.forget_abandoned();
        let sent = self.open.values_mut().filter(|call| call.work.is_sent());
        let longest = sent.map(|call| {
            call.waited += 1;
            call.waited
        });
        let longest = longest.max();
        self.silent = if longest.is_some() { self.silent + 1 } else { 0 };
        self.silent.max(longest.unwrap_or(0) / PATIENCE)
    }

    /// Records that an engine died: the calls that it had are sent again by [`Self::unsent`], or fail.
    pub(super) fn on_death(&mut self, after: &Aftermath<'_>) {
        let mut ended = Vec::new();
        // In reverse order, so that the calls that return to the front of their queues are in order again.
        for (id, call) in self.open.iter_mut().rev() {
            let was_sent = call.work.is_sent();
            match call.work.on_death(after) {
                Fate::Again if was_sent => self.turns.give_back(*id, call.ticket),
                Fate::Again => {}
                fate => {
                    if was_sent {
                        self.turns.done(call.ticket);
                    }
                    ended.push((*id, fate));
                }
            }
        }
        for (id, fate) in ended {
            let Some(call) = self.remove(id) else { continue };
            match fate {
                Fate::Refused | Fate::Again => call.quarantine(Some(id)),
                Fate::GivenUp => call.question.fail(TokenizeError::EngineDied(after.reason.to_owned())),
            }
        }
        let open = &self.open;
        self.turns.retain(|id| open.contains_key(&id));
        self.silent = 0;
    }

    /// Ends every call with `error`.
    pub(super) fn fail_all(&mut self, error: &SubmitError) {
        self.turns = CallTurns::default();
        self.used.clear();
        for call in std::mem::take(&mut self.open).into_values() {
            call.refuse(error.clone());
        }
    }
}

/// The error for an engine that answered another question than it was asked.
fn mismatch() -> TokenizeError {
    TokenizeError::EngineDied("it mixed up its answers".to_owned())
}

#[cfg(test)]
mod tests;
