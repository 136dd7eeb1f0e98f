//! Open calls (tokenize, detokenize, spell, foresee, check a constraint): whose turn it is, and which answer is whose.
//!
//! A plain table without a clock and without I/O; owned by the run loop. Each call holds a [`CallPlace`]; of one key there are at
//! most [`MAX_KEY_CALLS`] and [`MAX_KEY_BYTES`]. In which order they are handed out says [`turns`], whether a call is handed out
//! again when an engine dies say `blame` and `quarantine`.

mod turns;

use super::{
    blame::{Aftermath, Fate, Gate, Stage, Work},
    error::{CheckError, SubmitError, TokenizeError},
    fingerprint::{Fingerprint, Fingerprints},
    quarantine::{Quarantine, log_refusal},
};
use crate::protocol::{CallId, Constraint, ConstraintError, Forecast, Prospect, SpecialText, TextError, ToEngine, Token};
use std::collections::BTreeMap;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use turns::{Lane, Ticket, Turns};

/// Calls that are open or wait, at most; more are refused.
pub(super) const MAX_CALLS: usize = 2048;
/// The same of one key, so that others find places.
pub(super) const MAX_KEY_CALLS: usize = MAX_CALLS / 2;

/// Bytes of all texts in these calls, at most.
pub(super) const MAX_BYTES: usize = 128 << 20;
/// The same of one key.
pub(super) const MAX_KEY_BYTES: usize = MAX_BYTES / 2;

/// Longest text or list of tokens (4 bytes each) in a call: the tokens of a text, at up to 5 bytes on the wire for each
/// byte of it, must fit into a frame. The text of tokens is bounded by the engine.
pub(super) const MAX_TEXT_BYTES: usize = crate::protocol::MAX_FRAME_BYTES / 5 - 1024;

/// A call may wait this many times as long as the engine may go without answering any: others are before it.
const PATIENCE: u32 = 4;

type Reply<T, E = TokenizeError> = oneshot::Sender<Result<T, E>>;

/// What is asked, and who wants to know.
#[derive(Debug)]
pub(super) enum Question {
    /// Text to tokens.
    Tokenize {
        /// The text.
        text: String,
        /// Put BOS in front.
        add_special: bool,
        /// What control tokens in it become.
        special: SpecialText,
        /// Gets the tokens.
        reply: Reply<Vec<Token>>,
    },
    /// Tokens to text.
    Detokenize {
        /// The tokens.
        tokens: Vec<Token>,
        /// Gets the text.
        reply: Reply<String>,
    },
    /// Tokens to the bytes of each.
    Spell {
        /// The tokens.
        tokens: Vec<Token>,
        /// Gets the bytes.
        reply: Reply<Vec<Vec<u8>>>,
    },
    /// What would become of a request.
    Foresee {
        /// The request.
        prospect: Prospect,
        /// Gets the figures.
        reply: Reply<Forecast>,
    },
    /// Can this be generated?
    Check {
        /// What an output would have to obey.
        constraint: Constraint,
        /// The key of the caller.
        namespace: u64,
        /// Gets the answer.
        reply: Reply<(), CheckError>,
    },
}

/// What an engine answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// To `Tokenize`.
    Tokens(Result<Vec<Token>, TextError>),
    /// To `Detokenize`.
    Text(Result<String, TextError>),
    /// To `Spell`.
    Pieces(Result<Vec<Vec<u8>>, TextError>),
    /// To `Foresee`.
    Forecast(Forecast),
    /// To `Check`.
    Checked(Result<(), ConstraintError>),
}

impl Answer {
    /// Whether it is no error.
    fn is_good(&self) -> bool {
        match self {
            Self::Tokens(result) => result.is_ok(),
            Self::Text(result) => result.is_ok(),
            Self::Pieces(result) => result.is_ok(),
            Self::Forecast(_) => true,
            Self::Checked(result) => result.is_ok(),
        }
    }
}

impl Question {
    fn message(&self, call: CallId) -> ToEngine {
        match self {
            Self::Tokenize { text, add_special, special, .. } => {
                ToEngine::Tokenize { call, text: text.clone(), add_special: *add_special, special: special.clone() }
            }
            Self::Detokenize { tokens, .. } => ToEngine::Detokenize { call, tokens: tokens.clone() },
            Self::Spell { tokens, .. } => ToEngine::Spell { call, tokens: tokens.clone() },
            Self::Foresee { prospect, .. } => ToEngine::Foresee { call, prospect: prospect.clone() },
            Self::Check { constraint, namespace, .. } => ToEngine::Check { call, constraint: constraint.clone(), namespace: *namespace },
        }
    }

    /// Bytes of its text or tokens.
    fn bytes(&self) -> usize {
        let of_tokens = |tokens: usize| tokens.saturating_mul(size_of::<Token>());
        match self {
            Self::Tokenize { text, .. } => text.len(),
            Self::Detokenize { tokens, .. } | Self::Spell { tokens, .. } => of_tokens(tokens.len()),
            Self::Foresee { prospect, .. } => of_tokens(prospect.prompts.iter().map(Vec::len).sum()),
            Self::Check { constraint, .. } => constraint.text_bytes(),
        }
    }

    fn lane(&self) -> Lane {
        match self {
            Self::Tokenize { .. } | Self::Detokenize { .. } | Self::Spell { .. } => Lane::of_text(self.bytes()),
            Self::Foresee { .. } => Lane::Forecast,
            Self::Check { .. } => Lane::Constraint,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Tokenize { .. } => "tokenize",
            Self::Detokenize { .. } => "detokenize",
            Self::Spell { .. } => "spell",
            Self::Foresee { .. } => "foresee",
            Self::Check { .. } => "check",
        }
    }

    fn fingerprint(&self, fingerprints: &Fingerprints) -> Fingerprint {
        match self {
            Self::Tokenize { text, add_special, special, .. } => fingerprints.of(self.kind(), (text, add_special, special)),
            Self::Detokenize { tokens, .. } | Self::Spell { tokens, .. } => fingerprints.of(self.kind(), tokens),
            Self::Foresee { prospect, .. } => fingerprints.of(self.kind(), prospect),
            Self::Check { constraint, .. } => fingerprints.of(self.kind(), constraint),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Tokenize { reply, .. } => reply.is_closed(),
            Self::Detokenize { reply, .. } => reply.is_closed(),
            Self::Spell { reply, .. } => reply.is_closed(),
            Self::Foresee { reply, .. } => reply.is_closed(),
            Self::Check { reply, .. } => reply.is_closed(),
        }
    }

    fn fail(self, error: TokenizeError) {
        match self {
            Self::Tokenize { reply, .. } => answer(reply, Err(error)),
            Self::Detokenize { reply, .. } => answer(reply, Err(error)),
            Self::Spell { reply, .. } => answer(reply, Err(error)),
            Self::Foresee { reply, .. } => answer(reply, Err(error)),
            Self::Check { reply, .. } => answer(reply, Err(error.into())),
        }
    }
}

/// Answers a caller, who may have gone away meanwhile: then nobody wants to know.
fn answer<T, E>(reply: Reply<T, E>, result: Result<T, E>) {
    let _ = reply.send(result);
}

/// A call's right to be here: one of [`MAX_CALLS`], and one of [`MAX_BYTES`] for each byte, counted in KiB.
#[derive(Debug)]
pub(super) struct CallPlace {
    pub(super) _call: OwnedSemaphorePermit,
    pub(super) _bytes: OwnedSemaphorePermit,
}

/// One open call.
#[derive(Debug)]
pub(super) struct TextCall {
    question: Question,
    ticket: Ticket,
    work: Work,
    /// Ticks since it was sent to the present engine.
    waited: u32,
    _place: CallPlace,
}

impl TextCall {
    /// A call of `key` that no engine has seen.
    pub(super) fn new(question: Question, key: u64, fingerprints: &Fingerprints, place: CallPlace) -> Self {
        let (ticket, work) = (Ticket { lane: question.lane(), key }, Work::new(question.fingerprint(fingerprints)));
        Self { question, ticket, work, waited: 0, _place: place }
    }

    /// The fingerprint of its content.
    pub(super) fn content(&self) -> Fingerprint {
        self.work.content
    }

    /// Ends it, with its number if it has one here: engines have died of the same content.
    pub(super) fn quarantine(self, id: Option<u64>) {
        log_refusal(self.question.kind(), id, self.work.content);
        self.refuse(SubmitError::Quarantined);
    }

    /// Ends it.
    pub(super) fn refuse(self, error: SubmitError) {
        self.question.fail(error.into());
    }
}

/// The calls and bytes that one key has open.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Use {
    calls: usize,
    bytes: usize,
}

/// All open calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeMap<u64, TextCall>,
    next: u64,
    turns: Turns,
    /// By key; none is zero.
    used: BTreeMap<u64, Use>,
    /// Ticks for which the present engine has owed answers and given none.
    silent: u32,
}

impl Calls {
    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in a call, or refuses it if its key has too many here. It waits until [`Self::unsent`] hands it out.
    pub(super) fn insert(&mut self, call: TextCall) {
        if !self.has_room(&call) {
            self.forget_abandoned();
        }
        if !self.has_room(&call) {
            return call.refuse(SubmitError::TooMuchText);
        }
        let key = self.used.entry(call.ticket.key).or_default();
        key.calls += 1;
        key.bytes += call.question.bytes();
        self.turns.push(self.next, call.ticket);
        self.open.insert(self.next, call);
        self.next += 1;
    }

    fn has_room(&self, call: &TextCall) -> bool {
        let used = self.used.get(&call.ticket.key).copied().unwrap_or_default();
        used.calls < MAX_KEY_CALLS && used.bytes.saturating_add(call.question.bytes()) <= MAX_KEY_BYTES
    }

    /// All that the present engine has, or can be handed now.
    pub(super) fn works(&self) -> impl Iterator<Item = Work> {
        let can_go = |call: &&TextCall| !call.question.is_abandoned() && self.turns.has_place(call.ticket);
        self.open.values().filter(move |call| call.work.is_sent() || can_go(call)).map(|call| call.work)
    }

    /// Takes the calls whose turn it is, as messages for the present engine.
    pub(super) fn unsent(&mut self, gate: &mut Gate<'_>) -> Vec<ToEngine> {
        let mut messages = Vec::new();
        loop {
            let open = &self.open;
            // Those whose callers went away have a turn and are then forgotten.
            let admits = |id: u64| open.get(&id).is_none_or(|call| call.question.is_abandoned() || gate.admits(call.work));
            let Some(id) = self.turns.next(admits) else { return messages };
            let Some(call) = self.open.get_mut(&id) else { continue };
            call.work.stage = Stage::Touched;
            if call.question.is_abandoned() {
                self.remove(id);
                continue;
            }
            call.waited = 0;
            messages.push(call.question.message(CallId(id)));
        }
    }

    /// Takes a call out of all tables.
    fn remove(&mut self, id: u64) -> Option<TextCall> {
        let call = self.open.remove(&id)?;
        if call.work.is_sent() {
            self.turns.done(call.ticket);
        }
        if let Some(used) = self.used.get_mut(&call.ticket.key) {
            used.calls -= 1;
            used.bytes -= call.question.bytes();
            if *used == Use::default() {
                self.used.remove(&call.ticket.key);
            }
        }
        Some(call)
    }

    /// Removes what waits for a turn and nobody waits for.
    fn forget_abandoned(&mut self) {
        let abandoned = |call: &TextCall| !call.work.is_sent() && call.question.is_abandoned();
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

    /// Passes an answer on; a content that was answered well is no suspect any more. An answer to a call that the engine does not
    /// have says nothing.
    pub(super) fn on_answer(&mut self, call: CallId, given: Answer, quarantine: &mut Quarantine) {
        if !self.open.get(&call.0).is_some_and(|call| call.work.is_sent()) {
            return;
        }
        self.silent = 0;
        let Some(call) = self.remove(call.0) else { return };
        let is_good = given.is_good();
        match (call.question, given) {
            (Question::Tokenize { reply, .. }, Answer::Tokens(result)) => answer(reply, result.map_err(TokenizeError::Text)),
            (Question::Detokenize { reply, .. }, Answer::Text(result)) => answer(reply, result.map_err(TokenizeError::Text)),
            (Question::Spell { reply, .. }, Answer::Pieces(result)) => answer(reply, result.map_err(TokenizeError::Text)),
            (Question::Foresee { reply, .. }, Answer::Forecast(forecast)) => answer(reply, Ok(forecast)),
            (Question::Check { reply, .. }, Answer::Checked(result)) => answer(reply, result.map_err(CheckError::from)),
            (question, _) => return question.fail(mismatch()),
        }
        if is_good {
            quarantine.acquit(call.work.content);
        }
    }

    /// A tick has passed. For how many the present engine has owed answers and given none; a single answer may wait
    /// [`PATIENCE`] times as long, behind others.
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

    /// An engine died: what it was asked is handed out again by [`Self::unsent`], or fails.
    pub(super) fn on_death(&mut self, after: &Aftermath<'_>) {
        let mut ended = Vec::new();
        // Backwards, so that what is given back is in order again.
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
                Fate::GivenUp => call.question.fail(TextError::EngineDied(after.reason.to_owned()).into()),
            }
        }
        let open = &self.open;
        self.turns.retain(|id| open.contains_key(&id));
        self.silent = 0;
    }

    /// Ends every call with `error`.
    pub(super) fn fail_all(&mut self, error: &SubmitError) {
        self.turns = Turns::default();
        self.used.clear();
        for call in std::mem::take(&mut self.open).into_values() {
            call.refuse(error.clone());
        }
    }
}

/// The engine answered another question than it was asked.
fn mismatch() -> TokenizeError {
    TextError::EngineDied("it mixed up its answers".to_owned()).into()
}

#[cfg(test)]
mod tests;
