//! Tests of the table of live sequences.

use super::*;
use crate::{
    gateway::{
        admission::Admission,
        blame::judge,
        death::DeathCause,
        events::{EventReceiver, events},
        quarantine::Quarantine,
        testing,
    },
    protocol::{Constraint, SequenceId, Started, Token},
};
use std::ops::{Deref, DerefMut};
use tokio::time::Instant;

const ID: SequenceId = SequenceId(1);
/// Slots of the engines in these tests.
const SLOTS: usize = 4;

/// The table, with the quarantine that the run loop owns.
#[derive(Default)]
struct Table {
    sequences: InFlight,
    quarantine: Quarantine,
    owes_others: bool,
}

impl Deref for Table {
    type Target = InFlight;

    fn deref(&self) -> &InFlight {
        &self.sequences
    }
}

impl DerefMut for Table {
    fn deref_mut(&mut self) -> &mut InFlight {
        &mut self.sequences
    }
}

impl Table {
    fn unsent(&mut self) -> Vec<SequenceRequest> {
        let mut gate = Gate::new(|| self.sequences.works(SLOTS), &self.quarantine, Instant::now(), self.owes_others);
        let mut requests = self.sequences.unsent(&mut gate, SLOTS);
        while gate.next_turn() {
            requests.append(&mut self.sequences.unsent(&mut gate, SLOTS));
        }
        self.owes_others = gate.owes_others();
        requests
    }

    fn on_report(&mut self, outputs: Vec<SequenceOutput>) -> u32 {
        self.sequences.on_report(outputs, &mut self.quarantine)
    }

    fn on_death(&mut self, reason: &str) -> ReplayOutcome {
        let now = Instant::now();
        let verdict = judge(self.sequences.works(SLOTS), DeathCause::Signal(11));
        self.quarantine.on_death(&verdict, now);
        self.sequences.on_death(&Aftermath { reason, verdict: &verdict, quarantine: &self.quarantine, now })
    }
}

/// A table with one sequence that the engine has.
fn running(max_tokens: u32) -> (Table, EventReceiver) {
    let (sender, receiver) = events();
    let mut table = Table::default();
    table.insert(entry(ID, max_tokens, sender));
    assert_eq!(table.unsent().len(), 1);
    (table, receiver)
}

/// A sequence whose content has its id as fingerprint.
fn entry(id: SequenceId, max_tokens: u32, events: EventSender) -> LiveSequence {
    of_content(id.0, id, max_tokens, events)
}

fn of_content(content: u64, id: SequenceId, max_tokens: u32, events: EventSender) -> LiveSequence {
    let place = Admission::new(1, 0).take(0, 1, Instant::now()).unwrap().remove(0);
    LiveSequence::new(SequenceRequest { id, ..testing::request(max_tokens) }, 0, Fingerprint(content), events, place)
}

fn ids(requests: &[SequenceRequest]) -> Vec<u64> {
    requests.iter().map(|request| request.id.0).collect()
}

/// Reports tokens of a sequence until it has proved itself.
fn prove(table: &mut Table, id: u64) {
    for number in 0..4 {
        table.on_report(vec![testing::token(SequenceId(id), number, "t")]);
    }
}

fn started(output: SequenceOutput) -> SequenceOutput {
    SequenceOutput { started: Some(Started { cached_tokens: 0, queue_us: 7 }), ..output }
}

/// All outputs that were sent to the client.
fn passed_on(receiver: &mut EventReceiver) -> Vec<SequenceOutput> {
    std::iter::from_fn(|| receiver.try_recv().ok()).map(|event| event.output).collect()
}

#[test]
fn a_replay_resumes_behind_all_reported_tokens_whether_their_text_was_released_or_not() {
    let (mut table, _receiver) = running(10);
    table.on_report(vec![testing::token(ID, 5, "a")]);
    table.on_report(vec![testing::token(ID, 6, "")]);

    let replay = table.on_death("x");

    assert_eq!(replay, ReplayOutcome { replayed: 1, failed: 0 });
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
fn a_sequence_of_which_two_engines_died_fails_and_the_same_content_that_waited_with_it_too() {
    let (mut table, mut receiver) = running(10);
    let (sender, mut copy) = events();
    table.on_report(vec![testing::begun(ID)]);
    table.on_death("first");
    table.insert(of_content(ID.0, SequenceId(2), 10, sender));
    assert_eq!(ids(&table.unsent()), [1], "a copy of a suspect waits");
    table.on_report(vec![testing::begun(ID)]);
    passed_on(&mut receiver);

    let replay = table.on_death("second");

    assert_eq!(replay, ReplayOutcome { replayed: 0, failed: 2 });
    for receiver in [&mut receiver, &mut copy] {
        assert_eq!(passed_on(receiver).remove(0).finish, Some(Finish::Failed(GenerationError::Quarantined)));
    }
}

#[test]
fn after_a_death_sequences_are_replayed_one_at_a_time_before_new_ones_and_the_one_that_kills_again_fails_alone() {
    let (mut table, mut first) = running(20);
    let (sender, mut others) = events();
    for id in [2, 3] {
        table.insert(entry(SequenceId(id), 20, sender.clone()));
    }
    assert_eq!(ids(&table.unsent()), [2, 3]);
    for id in 1..4 {
        table.on_report(vec![testing::begun(SequenceId(id))]);
    }
    table.on_death("first");
    table.insert(entry(SequenceId(4), 20, sender));

    assert_eq!(ids(&table.unsent()), [1]);
    assert_eq!(ids(&table.unsent()), [0; 0], "until the one before has proved itself");
    prove(&mut table, 1);
    assert_eq!(ids(&table.unsent()), [2]);
    table.on_report(vec![testing::begun(SequenceId(2))]);
    passed_on(&mut first);
    passed_on(&mut others);
    let replay = table.on_death("second");

    assert_eq!(replay, ReplayOutcome { replayed: 1, failed: 1 });
    let failed = passed_on(&mut others);
    assert_eq!((failed.len(), failed[0].id), (1, SequenceId(2)));
    assert_eq!(passed_on(&mut first), [], "it goes on");
    for id in [1, 3] {
        assert_eq!(ids(&table.unsent()), [id]);
        prove(&mut table, id);
    }
    assert_eq!(ids(&table.unsent()), [4]);
}

#[test]
fn the_oldest_that_waited_is_the_cause_if_it_had_a_slot_though_the_engine_s_word_of_that_is_lost() {
    for (slots_taken, blamed) in [(SLOTS - 1, true), (SLOTS, false)] {
        let (sender, _receiver) = events();
        let mut table = Table::default();
        let ids = 1..=u64::try_from(slots_taken).unwrap() + 2;
        ids.clone().for_each(|id| table.insert(entry(SequenceId(id), 20, sender.clone())));
        table.unsent();
        ids.clone().rev().skip(2).for_each(|id| prove(&mut table, id));

        table.on_death("x");

        let suspected = |id| table.quarantine.is_suspected(Fingerprint(id), Instant::now());
        assert_eq!((suspected(ids.end() - 1), suspected(*ids.end())), (blamed, false), "{slots_taken} slots taken");
    }
}

#[test]
fn one_that_waits_for_a_slot_does_not_hold_up_what_the_engine_can_do() {
    let (sender, _receiver) = events();
    let mut table = Table::default();
    (1..=6).for_each(|id| table.insert(entry(SequenceId(id), 20, sender.clone())));
    assert_eq!(table.unsent().len(), 6, "without a suspect all are handed out");
    (1..=4).for_each(|id| prove(&mut table, id));
    table.on_death("x");

    for id in [1, 2, 3, 4] {
        assert_eq!(ids(&table.unsent()), [id]);
        prove(&mut table, id);
    }

    assert_eq!(ids(&table.unsent()), [5, 6], "nobody is suspected any more, and they may wait in the engine");
}

#[test]
fn a_suspect_without_a_slot_holds_back_new_sequences_only_until_it_has_one() {
    let (mut table, _first) = running(20);
    table.on_report(vec![testing::begun(ID)]);
    table.on_death("first");
    assert!(!table.cancel(ID));
    let (sender, _receiver) = events();
    (2..=6).for_each(|id| table.insert(entry(SequenceId(id), 20, sender.clone())));
    assert_eq!(ids(&table.unsent()), [2, 3, 4, 5, 6]);
    (2..=5).for_each(|id| prove(&mut table, id));
    table.insert(of_content(ID.0, SequenceId(7), 20, sender.clone()));
    table.insert(entry(SequenceId(8), 20, sender));
    let finish = |id| SequenceOutput { finish: Some(Finish::Length), ..SequenceOutput::empty(SequenceId(id)) };

    for id in [2, 3] {
        assert_eq!(ids(&table.unsent()), [0; 0], "they would wait in the engine as well");
        let gate = Gate::new(|| table.works(SLOTS), &table.quarantine, Instant::now(), false);
        assert!(gate.is_open(), "calls of others pass");
        table.on_report(vec![finish(id)]);
    }
    assert_eq!(ids(&table.unsent()), [0; 0], "the sixth has a slot and has not proved itself");
    prove(&mut table, 6);
    assert_eq!(ids(&table.unsent()), [7]);
    assert_eq!(ids(&table.unsent()), [0; 0]);
    prove(&mut table, 7);

    assert_eq!(ids(&table.unsent()), [8]);
}

#[test]
fn a_suspect_that_finishes_is_none_any_more() {
    let (mut table, mut receiver) = running(10);
    table.on_report(vec![testing::begun(ID)]);
    table.on_death("first");
    table.unsent();

    let last = SequenceOutput { finish: Some(Finish::EndOfGeneration), ..testing::token(ID, 5, "a") };
    let finished = table.on_report(vec![last]);
    let (sender, mut again) = events();
    table.insert(of_content(ID.0, SequenceId(2), 10, sender));
    table.unsent();
    table.on_death("second");

    assert_eq!(finished, 1);
    assert_eq!(passed_on(&mut receiver).last().unwrap().finish, Some(Finish::EndOfGeneration));
    assert_eq!(passed_on(&mut again), [], "it is replayed");
}

#[test]
fn a_suspect_that_fails_stays_one() {
    for error in [GenerationError::Busy("later".into()), GenerationError::KvExhausted] {
        let (mut table, _receiver) = running(10);
        table.on_report(vec![testing::begun(ID)]);
        table.on_death("first");
        table.unsent();

        let failed = SequenceOutput { finish: Some(Finish::Failed(error)), ..SequenceOutput::empty(ID) };
        assert_eq!(table.on_report(vec![failed]), 1);

        assert!(table.quarantine.is_suspected(Fingerprint(ID.0), Instant::now()));
    }
}

#[test]
fn a_constraint_is_compiled_at_once_so_that_a_sequence_with_one_may_be_the_cause_before_it_begins() {
    let (mut table, _first) = running(10);
    let (sender, mut receiver) = events();
    prove(&mut table, 1);
    let mut compiled = entry(SequenceId(2), 10, sender);
    compiled.request.constraint = Some(Constraint::JsonObject);
    table.insert(compiled);
    table.unsent();

    for _ in 0..2 {
        table.on_death("while it compiled");
        assert_eq!(ids(&table.unsent()), [1], "the oldest first");
        prove(&mut table, 1);
        table.unsent();
    }

    assert_eq!(passed_on(&mut receiver).remove(0).finish, Some(Finish::Failed(GenerationError::Quarantined)));
}

#[test]
fn what_was_cancelled_is_blamed_until_the_engine_has_forgotten_it() {
    let forgets: [fn(&mut Table); 3] = [|_| {}, |table| table.on_steps(7), |table| table.on_idle()];
    for (forget, blamed) in forgets.into_iter().zip([true, false, false]) {
        let (mut table, _receiver) = running(10);
        table.on_report(vec![testing::begun(ID)]);
        table.on_steps(5);

        assert!(table.cancel(ID));
        table.on_steps(6);
        forget(&mut table);
        table.on_death("x");

        assert_eq!(table.quarantine.is_suspected(Fingerprint(ID.0), Instant::now()), blamed);
    }
}

#[test]
fn sequences_that_go_on_for_long_in_engines_that_die_are_given_up_with_the_fourth() {
    let (mut table, mut first) = running(2_000);
    let (sender, _other) = events();
    table.insert(entry(SequenceId(2), 2_000, sender));
    let mut failed = Vec::new();
    for _ in 0..4 {
        while let Some(next) = table.unsent().first().map(|request| request.id) {
            (0..64).for_each(|_| assert_eq!(table.on_report(vec![testing::token(next, 1, "t")]), 0));
        }
        let both = || vec![testing::token(ID, 1, "t"), testing::token(SequenceId(2), 1, "t")];
        (0..64).for_each(|_| assert_eq!(table.on_report(both()), 0));
        failed.push(table.on_death("late").failed);
    }

    assert_eq!(failed, [0, 0, 0, 2]);
    let reason = GenerationError::EngineDied("late".into());
    assert_eq!(passed_on(&mut first).last().unwrap().finish, Some(Finish::Failed(reason)));
}

#[test]
fn deaths_of_engines_that_never_had_a_sequence_do_not_count_against_it() {
    let (sender, mut receiver) = events();
    let mut table = Table::default();
    table.insert(entry(ID, 10, sender));

    for _ in 0..5 {
        assert_eq!(table.on_death("while loading"), ReplayOutcome::default());
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

#[test]
fn where_the_engine_gets_only_some_keys_take_turns() {
    let (sender, _receiver) = events();
    let of_key = |id, namespace| {
        let place = Admission::new(1, 0).take(namespace, 1, Instant::now()).unwrap().remove(0);
        let request = SequenceRequest { id: SequenceId(id), namespace, ..testing::request(1) };
        LiveSequence::new(request, 0, Fingerprint(id), sender.clone(), place)
    };
    let mut table = Table::default();
    [(1, 7), (2, 7)].into_iter().for_each(|(id, key)| table.insert(of_key(id, key)));
    assert_eq!(ids(&table.unsent()), [1, 2]);

    [(3, 7), (4, 7), (5, 8), (6, 8), (7, 9)].into_iter().for_each(|(id, key)| table.insert(of_key(id, key)));

    assert_eq!(table.sequences.in_turns().iter().map(|id| id.0).collect::<Vec<_>>(), [5, 7, 6, 3, 4]);
}
