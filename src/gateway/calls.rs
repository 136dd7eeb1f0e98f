//! Open calls (tokenize, detokenize, spell, foresee, check a constraint): matched to their answers, repeated once when an engine dies.
//!
//! A plain table without a clock and without I/O; owned by the run loop. Each call holds one of [`MAX_CALLS`] permits.

use super::handle::{CheckError, SubmitError, TokenizeError};
use crate::protocol::{CallId, Constraint, Forecast, Prospect, SpecialText, TextError, ToEngine, Token};
use std::collections::BTreeMap;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Calls open at once; more wait for a permit. A text is at most [`MAX_TEXT_BYTES`], so this bounds their memory.
pub(super) const MAX_CALLS: usize = 64;

/// Calls that may wait for a permit; more are refused.
pub(super) const MAX_WAITING_CALLS: usize = 1024;

/// Longest text or list of tokens (4 bytes each) in a call: the tokens of a text, at up to 5 bytes on the wire for each
/// byte of it, must fit into a frame. The text of tokens is bounded by the engine.
pub(super) const MAX_TEXT_BYTES: usize = crate::protocol::MAX_FRAME_BYTES / 5 - 1024;

/// A call may wait this many times as long as the engine may go without answering any: others are before it.
const PATIENCE: u32 = 4;

/// Engines that may die with one call in them before it is given up: it is repeated once.
const MAX_ATTEMPTS: u32 = 2;

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
    Checked(Result<(), String>),
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
            Self::Check { constraint, .. } => ToEngine::Check { call, constraint: constraint.clone() },
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

/// One open call.
#[derive(Debug)]
pub(super) struct TextCall {
    question: Question,
    attempts: u32,
    sent: bool,
    /// Ticks since it was sent to the present engine.
    waited: u32,
    _permit: OwnedSemaphorePermit,
}

impl TextCall {
    /// A call that no engine has seen.
    pub(super) fn new(question: Question, permit: OwnedSemaphorePermit) -> Self {
        Self { question, attempts: 0, sent: false, waited: 0, _permit: permit }
    }
}

/// All open calls, oldest first.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeMap<u64, TextCall>,
    next: u64,
    /// Ticks for which the present engine has owed answers and given none.
    silent: u32,
}

impl Calls {
    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in a call. It waits until [`Self::unsent`] hands it out.
    pub(super) fn insert(&mut self, call: TextCall) {
        self.open.insert(self.next, call);
        self.next += 1;
    }

    /// What the present engine has not been asked, oldest first; callers that went away are forgotten.
    pub(super) fn unsent(&mut self) -> Vec<ToEngine> {
        self.open.retain(|_, call| call.sent || !call.question.is_abandoned());
        let held = self.open.iter_mut().filter(|(_, call)| !call.sent);
        held.map(|(id, call)| {
            call.sent = true;
            call.waited = 0;
            call.attempts += 1;
            call.question.message(CallId(*id))
        })
        .collect()
    }

    /// Passes an answer on. An unknown call is no error: it may be an abandoned one.
    pub(super) fn on_answer(&mut self, call: CallId, given: Answer) {
        self.silent = 0;
        let Some(question) = self.open.remove(&call.0).map(|call| call.question) else { return };
        match (question, given) {
            (Question::Tokenize { reply, .. }, Answer::Tokens(result)) => answer(reply, result.map_err(TokenizeError::Text)),
            (Question::Detokenize { reply, .. }, Answer::Text(result)) => answer(reply, result.map_err(TokenizeError::Text)),
            (Question::Spell { reply, .. }, Answer::Pieces(result)) => answer(reply, result.map_err(TokenizeError::Text)),
            (Question::Foresee { reply, .. }, Answer::Forecast(forecast)) => answer(reply, Ok(forecast)),
            (Question::Check { reply, .. }, Answer::Checked(result)) => answer(reply, result.map_err(CheckError::Refused)),
            (question, _) => question.fail(mismatch()),
        }
    }

    /// A tick has passed. For how many the present engine has owed answers and given none; a single answer may wait
    /// [`PATIENCE`] times as long, behind others.
    pub(super) fn on_tick(&mut self) -> u32 {
        let sent = self.open.values_mut().filter(|call| call.sent);
        let longest = sent.map(|call| {
            call.waited += 1;
            call.waited
        });
        let longest = longest.max();
        self.silent = if longest.is_some() { self.silent + 1 } else { 0 };
        self.silent.max(longest.unwrap_or(0) / PATIENCE)
    }

    /// The engine died of `reason`: what it was asked is handed out again by [`Self::unsent`], or fails.
    pub(super) fn on_death(&mut self, reason: &str) {
        let lost: Vec<u64> = self.open.iter().filter(|(_, call)| call.sent && call.attempts >= MAX_ATTEMPTS).map(|(id, _)| *id).collect();
        for call in lost.iter().filter_map(|id| self.open.remove(id)) {
            call.question.fail(TextError::EngineDied(reason.to_owned()).into());
        }
        for call in self.open.values_mut() {
            call.sent = false;
        }
        self.silent = 0;
    }

    /// Ends every call with `error`.
    pub(super) fn fail_all(&mut self, error: &SubmitError) {
        for call in std::mem::take(&mut self.open).into_values() {
            call.question.fail(error.clone().into());
        }
    }
}

/// The engine answered another question than it was asked.
fn mismatch() -> TokenizeError {
    TextError::EngineDied("it mixed up its answers".to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    fn tokenize(calls: &mut Calls, text: &str) -> oneshot::Receiver<Result<Vec<Token>, TokenizeError>> {
        let (reply, answer) = oneshot::channel();
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        calls.insert(TextCall::new(
            Question::Tokenize { text: text.to_owned(), add_special: true, special: SpecialText::Recognised, reply },
            permit,
        ));
        answer
    }

    fn asked(text: &str, call: u64) -> ToEngine {
        ToEngine::Tokenize { call: CallId(call), text: text.to_owned(), add_special: true, special: SpecialText::Recognised }
    }

    #[test]
    fn answers_find_their_callers_in_any_order() {
        let mut calls = Calls::default();
        let mut first = tokenize(&mut calls, "a");
        let mut second = tokenize(&mut calls, "b");
        assert_eq!(calls.unsent(), [asked("a", 0), asked("b", 1)]);

        calls.on_answer(CallId(1), Answer::Tokens(Ok(vec![Token(2)])));
        calls.on_answer(CallId(0), Answer::Tokens(Ok(vec![Token(1)])));
        calls.on_answer(CallId(7), Answer::Tokens(Ok(vec![])));

        assert_eq!(first.try_recv().unwrap(), Ok(vec![Token(1)]));
        assert_eq!(second.try_recv().unwrap(), Ok(vec![Token(2)]));
        assert!(calls.is_empty());
    }

    #[test]
    fn an_answer_to_another_question_fails_the_call() {
        let mut calls = Calls::default();
        let mut answer = tokenize(&mut calls, "a");
        calls.unsent();

        calls.on_answer(CallId(0), Answer::Text(Ok("b".into())));

        assert_eq!(answer.try_recv().unwrap(), Err(mismatch()));
    }

    #[test]
    fn a_call_is_repeated_once_and_fails_with_the_second_death() {
        let mut calls = Calls::default();
        let mut answer = tokenize(&mut calls, "a");

        assert_eq!(calls.unsent(), [asked("a", 0)]);
        calls.on_death("first");
        assert_eq!(calls.unsent(), [asked("a", 0)]);
        assert!(answer.try_recv().is_err());
        calls.on_death("second");

        assert_eq!(answer.try_recv().unwrap(), Err(TextError::EngineDied("second".into()).into()));
        assert_eq!(calls.unsent(), []);
    }

    #[test]
    fn a_refused_constraint_is_told_from_an_engine_that_died_twice_of_it() {
        let mut calls = Calls::default();
        let mut check = || {
            let (reply, answer) = oneshot::channel();
            let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            calls.insert(TextCall::new(Question::Check { constraint: Constraint::JsonObject, reply }, permit));
            answer
        };
        let (mut refused, mut deadly) = (check(), check());
        assert_eq!(calls.unsent().last(), Some(&ToEngine::Check { call: CallId(1), constraint: Constraint::JsonObject }));

        calls.on_answer(CallId(0), Answer::Checked(Err("no".into())));
        calls.on_death("first");
        assert_eq!(calls.unsent().len(), 1);
        calls.on_death("second");

        assert_eq!(refused.try_recv().unwrap(), Err(CheckError::Refused("no".into())));
        assert_eq!(deadly.try_recv().unwrap(), Err(CheckError::EngineDied("second".into())));
    }

    #[test]
    fn an_answer_to_another_question_is_the_engine_s_fault() {
        let mut calls = Calls::default();
        let mut answer = tokenize(&mut calls, "a");
        calls.unsent();

        calls.on_answer(CallId(0), Answer::Checked(Ok(())));

        assert!(matches!(answer.try_recv().unwrap(), Err(TokenizeError::Text(TextError::EngineDied(_)))));
    }

    #[test]
    fn a_call_that_no_engine_had_survives_any_number_of_deaths() {
        let mut calls = Calls::default();
        let _answer = tokenize(&mut calls, "a");

        for _ in 0..5 {
            calls.on_death("while loading");
        }

        assert_eq!(calls.unsent(), [asked("a", 0)]);
    }

    #[test]
    fn a_caller_that_went_away_is_not_asked_for_again() {
        let mut calls = Calls::default();
        drop(tokenize(&mut calls, "a"));

        assert_eq!(calls.unsent(), []);
        assert!(calls.is_empty());
    }

    #[test]
    fn ticks_count_only_while_an_engine_owes_the_answer() {
        let mut calls = Calls::default();
        let _answer = tokenize(&mut calls, "a");

        assert_eq!(calls.on_tick(), 0);
        calls.unsent();
        assert_eq!((calls.on_tick(), calls.on_tick()), (1, 2));
        calls.on_death("x");
        calls.unsent();

        assert_eq!(calls.on_tick(), 1);
    }
}
