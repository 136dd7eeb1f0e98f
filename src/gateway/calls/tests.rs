//! Tests of the table of open calls.

use super::*;
use crate::{
    gateway::{blame::judge, death::DeathCause},
    protocol::{
        CheckConstraint, Constraint, ConstraintError, ConstraintErrorKind, Detokenize, SpecialText, TextError, TextSize, Token, Tokenize,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};

/// The table, with the quarantine and the fingerprints that the run loop owns.
#[derive(Default)]
struct Table {
    calls: OpenCalls,
    quarantine: Quarantine,
    owes_others: bool,
    fingerprints: Fingerprints,
}

type Tokens = Answered<Tokenize>;

fn too_much() -> SubmitError {
    SubmitError::TooMuchText { retry_after: Duration::from_secs(1) }
}

impl Table {
    fn insert<Q: Ask>(&mut self, question: Q, key: u64) -> Answered<Q> {
        let permit = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let place = CallPlace { _call: permit(), _bytes: permit() };
        let (call, answer) = OpenCall::new(question, key, &self.fingerprints, place);
        self.calls.insert(call, too_much);
        answer
    }

    fn tokenize_as(&mut self, key: u64, text: &str) -> Tokens {
        self.insert(question(text), key)
    }

    fn tokenize(&mut self, text: &str) -> Tokens {
        self.tokenize_as(0, text)
    }

    fn check(&mut self, constraint: Constraint) -> Answered<CheckConstraint> {
        self.insert(CheckConstraint { constraint, namespace: 5 }, 0)
    }

    fn unsent(&mut self) -> Vec<ToEngine> {
        let mut gate = Gate::new(|| self.calls.works().collect(), &self.quarantine, Instant::now(), self.owes_others);
        let mut messages = self.calls.unsent(&mut gate);
        while gate.next_turn() {
            messages.append(&mut self.calls.unsent(&mut gate));
        }
        self.owes_others = gate.owes_others();
        messages
    }

    fn reply(&mut self, call: u64, reply: EngineReply) {
        self.calls.on_reply(CallId(call), reply, &mut self.quarantine);
    }

    /// Answers a call with tokens.
    fn tokens(&mut self, call: u64, tokens: Vec<Token>) {
        self.reply(call, Tokenize::reply(Ok(tokens)));
    }

    fn on_death(&mut self, reason: &str) {
        let now = Instant::now();
        let verdict = judge(self.calls.works(), DeathCause::Signal(11));
        self.quarantine.on_death(&verdict, now);
        self.calls.on_death(&Aftermath { reason, verdict: &verdict, quarantine: &self.quarantine, now });
    }
}

fn question(text: &str) -> Tokenize {
    Tokenize { text: text.to_owned(), add_special: true, special: SpecialText::Recognised }
}

fn asked(text: &str, call: u64) -> ToEngine {
    ToEngine::Call { id: CallId(call), call: question(text).into_call() }
}

const QUARANTINED: TokenizeError = TokenizeError::Engine(SubmitError::Quarantined);

#[test]
fn answers_find_their_callers_in_any_order() {
    let mut table = Table::default();
    let mut first = table.tokenize("a");
    let mut second = table.tokenize("b");
    assert_eq!(table.unsent(), [asked("a", 0), asked("b", 1)]);

    table.tokens(1, vec![Token(2)]);
    table.tokens(0, vec![Token(1)]);
    table.tokens(7, vec![]);

    assert_eq!(first.try_recv().unwrap(), Ok(Ok(vec![Token(1)])));
    assert_eq!(second.try_recv().unwrap(), Ok(Ok(vec![Token(2)])));
    assert!(table.calls.is_empty());
}

#[test]
fn an_answer_to_another_question_fails_the_call_and_is_the_engine_s_fault() {
    for given in [Detokenize::reply(Ok("b".into())), CheckConstraint::reply(Ok(Vec::new()))] {
        let mut table = Table::default();
        let mut answer = table.tokenize("a");
        table.unsent();

        table.reply(0, given);

        assert_eq!(answer.try_recv().unwrap(), Err(mismatch()));
    }
}

#[test]
fn a_call_is_repeated_once_and_refused_after_the_second_death_of_its_own() {
    let mut table = Table::default();
    let mut answer = table.tokenize("a");

    assert_eq!(table.unsent(), [asked("a", 0)]);
    table.on_death("first");
    assert_eq!(table.unsent(), [asked("a", 0)]);
    assert!(answer.try_recv().is_err());
    table.on_death("second");

    assert_eq!(answer.try_recv().unwrap(), Err(QUARANTINED));
    assert_eq!(table.unsent(), []);
    assert!(table.calls.is_empty());
}

#[test]
fn after_a_death_calls_are_repeated_one_at_a_time_and_the_one_that_kills_again_fails_alone() {
    let mut table = Table::default();
    let mut answers: Vec<Tokens> = ["a", "b", "c"].iter().map(|text| table.tokenize(text)).collect();
    table.unsent();
    table.on_death("first");
    let mut new = table.tokenize("d");

    assert_eq!(table.unsent(), [asked("a", 0)]);
    assert_eq!(table.unsent(), []);
    table.tokens(0, vec![]);
    assert_eq!(table.unsent(), [asked("b", 1)]);
    table.on_death("second");
    assert_eq!(table.unsent(), [asked("c", 2)]);
    table.tokens(2, vec![]);
    assert_eq!(table.unsent(), [asked("d", 3)]);

    let results: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap()).collect();
    assert_eq!(results, [Ok(Ok(vec![])), Err(QUARANTINED), Ok(Ok(vec![]))]);
    assert!(new.try_recv().is_err(), "it is worked on");
}

#[test]
fn a_refused_constraint_is_told_from_one_that_two_engines_died_of() {
    let mut table = Table::default();
    let mut refused = table.check(Constraint::JsonObject);
    let mut deadly = table.check(Constraint::Regex("a".into()));
    let check = CheckConstraint { constraint: Constraint::JsonObject, namespace: 5 };
    assert_eq!(table.unsent().first(), Some(&ToEngine::Call { id: CallId(0), call: check.into_call() }));

    table.reply(0, CheckConstraint::reply(Err(ConstraintError::new(ConstraintErrorKind::Invalid, "no"))));
    table.on_death("first");
    assert_eq!(table.unsent().len(), 1);
    table.on_death("second");

    assert_eq!(refused.try_recv().unwrap(), Ok(Err(ConstraintError::new(ConstraintErrorKind::Invalid, "no"))));
    assert_eq!(deadly.try_recv().unwrap(), Err(QUARANTINED));
}

#[test]
fn a_call_that_is_answered_with_an_error_or_past_the_question_stays_a_suspect() {
    let long = || TextError::TooLong { len: 9, max: 8 };
    for (given, is_suspected) in [
        (Tokenize::reply(Ok(vec![])), false),
        (Tokenize::reply(Err(long())), true),
        (Detokenize::reply(Ok("b".into())), true),
        (Detokenize::reply(Err(long())), true),
    ] {
        let mut table = Table::default();
        let _answer = table.tokenize("a");
        table.unsent();
        table.on_death("first");
        table.unsent();
        let content = table.calls.open[&0].work.content;

        table.reply(0, given);

        assert_eq!(table.quarantine.is_suspected(content, Instant::now()), is_suspected);
    }
}

#[test]
fn an_answer_to_a_call_that_the_engine_does_not_have_is_ignored_and_takes_no_place() {
    let mut table = Table::default();
    let long = "x".repeat(TextSize::MIDDLE_BYTES + 1);
    let mut answers: Vec<Tokens> = (0..3).map(|_| table.tokenize(&long)).collect();
    assert_eq!(table.unsent().len(), 1, "one long text at a time");
    assert_eq!(table.calls.on_tick(), 1);

    table.tokens(1, vec![]);
    table.tokens(2, vec![]);
    assert_eq!(table.calls.on_tick(), 2, "nothing was answered");

    for call in 0..3 {
        table.tokens(call, vec![Token(1)]);
        assert_eq!(answers.remove(0).try_recv().unwrap(), Ok(Ok(vec![Token(1)])));
        assert_eq!(table.unsent().len(), usize::from(call < 2), "the next one");
    }
    assert!(table.calls.is_empty());
}

#[test]
fn a_call_that_no_engine_had_survives_any_number_of_deaths() {
    let mut table = Table::default();
    let _answer = table.tokenize("a");

    for _ in 0..5 {
        table.on_death("while loading");
    }

    assert_eq!(table.unsent(), [asked("a", 0)]);
}

#[test]
fn a_caller_that_went_away_is_not_asked_for_again_and_leaves_its_place() {
    let mut table = Table::default();
    drop(table.tokenize("a"));
    let long = "x".repeat(TextSize::MIDDLE_BYTES + 1);
    let answers = [table.tokenize(&long), table.tokenize(&long)];
    assert_eq!(table.unsent().len(), 1);
    drop(answers);

    table.calls.on_tick();
    assert_eq!(table.unsent(), []);
    assert_eq!(table.calls.open.len(), 1, "the engine works on it");
    table.tokens(1, vec![]);

    assert!(table.calls.is_empty() && table.calls.used.is_empty());
    let _next = table.tokenize(&long);
    assert_eq!(table.unsent().len(), 1);
}

#[test]
fn ticks_count_only_while_an_engine_owes_the_answer() {
    let mut table = Table::default();
    let _answer = table.tokenize("a");

    assert_eq!(table.calls.on_tick(), 0);
    table.unsent();
    assert_eq!((table.calls.on_tick(), table.calls.on_tick()), (1, 2));
    table.on_death("x");
    table.unsent();

    assert_eq!(table.calls.on_tick(), 1);
}

#[test]
fn a_short_text_of_another_key_passes_twelve_long_ones() {
    let mut table = Table::default();
    let long = "x".repeat(2_000_000);
    let _long: Vec<_> = (0..12).map(|_| table.tokenize_as(1, &long)).collect();
    assert_eq!(table.unsent().len(), 1);

    let _short = [table.tokenize_as(2, "Hi"), table.tokenize_as(1, "Ho")];

    assert_eq!(table.unsent(), [asked("Ho", 13), asked("Hi", 12)], "both, in the order of keys");
}

#[test]
fn a_key_has_a_bound_on_its_calls_and_another_one_is_taken_in() {
    let mut table = Table::default();
    let mut answers: Vec<_> = (0..=MAX_KEY_CALLS).map(|_| table.tokenize_as(1, "a")).collect();
    let mut other = table.tokenize_as(2, "b");

    assert_eq!(answers.pop().unwrap().try_recv().unwrap(), Err(too_much().into()));
    assert!(answers.last_mut().unwrap().try_recv().is_err(), "the last that fits waits");
    assert!(other.try_recv().is_err());
    drop(answers.pop());
    let mut next = table.tokenize_as(1, "a");
    assert!(next.try_recv().is_err(), "a caller that went away has left its place");
}

#[test]
fn a_key_has_a_bound_on_its_bytes_and_another_one_is_taken_in() {
    let mut table = Table::default();
    let text = "x".repeat(MAX_KEY_BYTES / 32);
    let mut answers: Vec<_> = (0..32).map(|_| table.tokenize_as(1, &text)).collect();

    let mut past = table.tokenize_as(1, "x");
    let mut other = table.tokenize_as(2, "x");

    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
    assert_eq!(past.try_recv().unwrap(), Err(too_much().into()));
    assert!(other.try_recv().is_err());
}
