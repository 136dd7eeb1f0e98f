//! Tests of the table of live sequences.

use super::*;
use crate::{
    gateway::{
        admission::Admission,
        generation::{EventReceiver, events},
        testing,
    },
    protocol::{SequenceId, Started, Token},
};

const ID: SequenceId = SequenceId(1);

/// A table with one sequence that the engine has.
fn running(max_tokens: u32) -> (InFlight, EventReceiver) {
    let (sender, receiver) = events();
    let mut table = InFlight::default();
    table.insert(entry(ID, max_tokens, sender));
    assert_eq!(table.unsent().len(), 1);
    (table, receiver)
}

fn entry(id: SequenceId, max_tokens: u32, events: EventSender) -> Entry {
    let place = Admission::new(1, 0).take(1).unwrap().remove(0);
    Entry::new(SequenceRequest { id, ..testing::request(max_tokens) }, 0, events, place)
}

fn started(output: SequenceOutput) -> SequenceOutput {
    SequenceOutput { started: Some(Started { cached_tokens: 0, queue_us: 7 }), ..output }
}

/// The outputs that were passed on.
fn passed_on(receiver: &mut EventReceiver) -> Vec<SequenceOutput> {
    std::iter::from_fn(|| receiver.try_recv().ok()).map(|event| event.output).collect()
}

#[test]
fn a_replay_resumes_behind_all_reported_tokens_whether_their_text_was_released_or_not() {
    let (mut table, _receiver) = running(10);
    table.on_report(vec![testing::token(ID, 5, "a")]);
    table.on_report(vec![testing::token(ID, 6, "")]);

    let casualties = table.on_death("x");

    assert_eq!(casualties, Casualties { replayed: 1, failed: 0 });
    let replays = table.unsent();
    assert_eq!(replays[0].resume, [Token(5), Token(6)]);
    assert_eq!(replays[0].max_tokens, 10);
}

#[test]
fn a_start_is_reported_once_even_if_two_engines_report_it() {
    let (mut table, mut receiver) = running(10);
    let first = started(testing::token(ID, 5, "a"));

    table.on_report(vec![first.clone()]);
    table.on_death("x");
    table.unsent();
    table.on_report(vec![started(SequenceOutput::empty(ID))]);
    table.on_report(vec![started(testing::token(ID, 6, "b"))]);

    assert_eq!(passed_on(&mut receiver), [first, testing::token(ID, 6, "b")]);
}

#[test]
fn a_sequence_that_was_in_two_dying_engines_fails_and_one_that_was_in_the_second_only_is_replayed() {
    let (mut table, mut receiver) = running(10);
    let (sender, mut late) = events();
    table.on_report(vec![testing::begun(ID)]);
    table.on_death("first");
    table.insert(entry(SequenceId(2), 10, sender));
    assert_eq!(table.unsent().len(), 2);
    table.on_report(vec![testing::begun(ID), testing::begun(SequenceId(2))]);
    passed_on(&mut receiver);
    passed_on(&mut late);

    let casualties = table.on_death("second");

    assert_eq!(casualties, Casualties { replayed: 1, failed: 1 });
    let finish = passed_on(&mut receiver).remove(0).finish;
    assert_eq!(finish, Some(Finish::Failed(GenerationError::EngineDied("second".into()))));
    assert_eq!(passed_on(&mut late), []);
    assert_eq!(table.unsent()[0].id, SequenceId(2));
}

#[test]
fn a_sequence_that_only_waited_in_dying_engines_fails_with_the_fourth() {
    let (mut table, _receiver) = running(10);

    let failed = [1, 2, 3, 4].map(|_| {
        let failed = table.on_death("poisoned by another").failed;
        table.unsent();
        failed
    });

    assert_eq!(failed, [0, 0, 0, 1]);
}

#[test]
fn deaths_of_engines_that_never_had_a_sequence_do_not_count_against_it() {
    let (sender, mut receiver) = events();
    let mut table = InFlight::default();
    table.insert(entry(ID, 10, sender));

    for _ in 0..5 {
        assert_eq!(table.on_death("while loading"), Casualties::default());
    }

    assert_eq!(table.unsent().len(), 1);
    assert_eq!(passed_on(&mut receiver), []);
}

#[test]
fn a_sequence_with_all_of_its_tokens_ends_by_length_instead_of_being_replayed() {
    let (mut table, mut receiver) = running(1);
    table.on_report(vec![testing::token(ID, 5, "a")]);

    table.on_death("x");

    assert_eq!(passed_on(&mut receiver).pop().unwrap().finish, Some(Finish::Length));
    assert_eq!(table.len(), 0);
}

#[test]
fn only_what_the_engine_has_must_be_cancelled_there() {
    let (mut table, _receiver) = running(10);
    let (sender, _held) = events();
    table.insert(entry(SequenceId(2), 10, sender));

    assert!(table.cancel(ID));
    assert!(!table.cancel(SequenceId(2)));
    assert!(!table.cancel(SequenceId(3)));
    assert_eq!(table.len(), 0);
}

#[test]
fn news_of_unknown_sequences_are_dropped_and_those_of_others_in_the_same_report_are_not() {
    let (mut table, mut receiver) = running(10);
    let last = SequenceOutput { finish: Some(Finish::EndOfGeneration), ..testing::token(ID, 5, "a") };

    let finished = table.on_report(vec![testing::token(SequenceId(99), 1, "?"), last.clone()]);

    assert_eq!(finished, 1);
    assert_eq!(passed_on(&mut receiver), [last]);
    assert_eq!(table.on_report(vec![testing::token(ID, 6, "late")]), 0);
}
