//! Tests of the table alone: which batches are sent, when, and with which result the callers are answered.

use super::*;
use crate::{
    gateway::{blame::judge, death::DeathCause, testing::embedding_info},
    protocol::EngineCall,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};

fn too_much() -> SubmitError {
    SubmitError::TooMuchText { retry_after: Duration::from_secs(1) }
}

type Answer = oneshot::Receiver<Result<Vec<Vec<f32>>, EmbeddingError>>;

/// The table, with the quarantine and the fingerprints that the run loop owns.
#[derive(Default)]
struct Table {
    embeds: Embeds,
    quarantine: Quarantine,
    owes_others: bool,
    fingerprints: Fingerprints,
}

impl Table {
    /// Asks for vectors of inputs of these lengths, whose tokens are `first` and the numbers after it.
    fn ask_of(&mut self, key: u64, first: u32, lengths: &[usize]) -> Answer {
        let (reply, answer) = oneshot::channel();
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let inputs = (first..).zip(lengths).map(|(token, &length)| vec![Token(token); length]).collect();
        // Batches of at most 16 tokens and 4 inputs.
        let info = EmbeddingInfo { batch_tokens: 16, batch_inputs: 4, max_input_tokens: 32, ..embedding_info() };
        self.embeds.insert(EmbedRequest::new(inputs, &info, &self.fingerprints, EmbedCaller { key, reply, permit }), too_much);
        answer
    }

    fn ask(&mut self, lengths: &[usize]) -> Answer {
        self.ask_of(0, 0, lengths)
    }

    /// Takes the calls that are sent next: number, lengths of the inputs, and true if they are to be computed alone.
    fn sent(&mut self) -> Vec<(u64, Vec<usize>, bool)> {
        let mut gate = Gate::new(|| self.embeds.works().collect(), &self.quarantine, Instant::now(), self.owes_others);
        let mut messages = self.embeds.unsent(&mut gate);
        while gate.next_turn() {
            messages.append(&mut self.embeds.unsent(&mut gate));
        }
        self.owes_others = gate.owes_others();
        let lengths = |message| match message {
            ToEngine::Call { id, call: EngineCall::Embed(EmbedBatch { inputs, alone }) } => {
                (id.0, inputs.iter().map(Vec::len).collect(), alone)
            }
            other => panic!("{other:?}"),
        };
        messages.into_iter().map(lengths).collect()
    }

    fn embedded(&mut self, call: u64, result: Result<Vec<Vec<f32>>, EmbedError>) {
        self.embeds.on_embedded(CallId(call), result, &mut self.quarantine);
    }

    fn on_death(&mut self, reason: &str) {
        let now = Instant::now();
        let verdict = judge(self.embeds.works(), DeathCause::Signal(11));
        self.quarantine.on_death(&verdict, now);
        self.embeds.on_death(&Aftermath { reason, verdict: &verdict, quarantine: &self.quarantine, now });
    }
}

/// Vectors of `count` inputs; each is the input's number, from `first` on.
fn vectors(first: u16, count: u16) -> Vec<Vec<f32>> {
    (first..first + count).map(|index| vec![f32::from(index)]).collect()
}

#[test]
fn a_large_request_is_cut_into_batches_of_which_two_are_sent_ahead() {
    let mut table = Table::default();
    let mut answer = table.ask(&[10, 6, 1, 1, 1, 1, 1, 32, 4]);

    assert_eq!(table.sent(), [(0, vec![10, 6], false), (1, vec![1, 1, 1, 1], false)]);
    assert_eq!(table.sent(), []);
    table.embedded(1, Ok(vectors(2, 4)));
    assert_eq!(table.sent(), [(2, vec![1], false)]);
    table.embedded(0, Ok(vectors(0, 2)));
    assert_eq!(table.sent(), [(3, vec![32], false)]);
    table.embedded(2, Ok(vectors(6, 1)));
    table.embedded(3, Ok(vectors(7, 1)));
    assert_eq!(table.sent(), [(4, vec![4], false)]);
    assert!(answer.try_recv().is_err());
    table.embedded(4, Ok(vectors(8, 1)));

    assert_eq!(answer.try_recv().unwrap(), Ok(vectors(0, 9)), "in the order of the request");
    assert!(table.embeds.is_empty());
}

#[test]
fn a_small_request_does_not_wait_for_a_large_one() {
    let mut table = Table::default();
    let _large = table.ask(&[16; 10]);
    let _small = table.ask(&[1]);

    let calls: Vec<Vec<usize>> = table.sent().into_iter().map(|(_, lengths, _)| lengths).collect();

    assert_eq!(calls, [vec![16], vec![1], vec![16]]);
}

#[test]
fn nothing_more_is_computed_for_a_caller_that_went_away() {
    let mut table = Table::default();
    let answer = table.ask(&[16; 10]);
    assert_eq!(table.sent().len(), 2);

    drop(answer);
    table.embedded(0, Ok(vectors(0, 1)));

    assert_eq!(table.sent(), []);
    assert!(table.embeds.is_empty());
}

#[test]
fn after_a_death_inputs_are_computed_one_by_one_and_the_one_that_kills_again_fails_its_request_alone() {
    let mut table = Table::default();
    let mut answer = table.ask_of(1, 0, &[8, 8]);
    let mut bystander = table.ask_of(2, 10, &[2]);
    assert_eq!(table.sent(), [(0, vec![8, 8], false), (1, vec![2], false)]);
    table.embeds.on_begun(&[CallId(0)]);

    table.on_death("first");
    assert_eq!(table.sent(), [(2, vec![8], true)]);
    table.embeds.on_begun(&[CallId(2)]);
    assert_eq!(table.sent(), []);
    table.embedded(2, Ok(vectors(0, 1)));
    assert_eq!(table.sent(), [(3, vec![8], true)]);
    table.embeds.on_begun(&[CallId(3)]);
    table.on_death("second");

    assert_eq!(answer.try_recv().unwrap(), Err(SubmitError::Quarantined.into()));
    assert_eq!(table.sent(), [(4, vec![2], false)], "who was only waiting is not to blame");
    table.embedded(4, Ok(vectors(0, 1)));
    assert_eq!(bystander.try_recv().unwrap(), Ok(vectors(0, 1)));
    assert!(table.embeds.is_empty());
}

#[test]
fn keys_take_turns_and_so_do_the_requests_of_a_key() {
    let mut table = Table::default();
    let _first: Vec<_> = (0..40).map(|_| table.ask_of(1, 0, &[16; 4])).collect();
    assert_eq!(table.sent().len(), MAX_SENT);
    let _second = table.ask_of(2, 50, &[16, 16, 15]);

    let mut lengths = Vec::new();
    for call in 0..4 {
        table.embedded(call, Ok(vectors(0, 1)));
        lengths.extend(table.sent().into_iter().map(|(call, ..)| table.embeds.sent[&call].request));
    }

    assert_eq!(lengths, [40, 24, 40, 25], "request 40 is the other key's, and two batches of it are sent ahead");
}

#[test]
fn a_key_has_a_bound_on_its_requests_and_another_one_is_taken_in() {
    let mut table = Table::default();
    let mut answers: Vec<_> = (0..=MAX_KEY_REQUESTS).map(|_| table.ask_of(1, 0, &[1])).collect();
    let mut other = table.ask_of(2, 0, &[1]);

    assert_eq!(answers.pop().unwrap().try_recv().unwrap(), Err(too_much().into()));
    assert!(answers.last_mut().unwrap().try_recv().is_err() && other.try_recv().is_err());
}

#[test]
fn an_input_stays_a_suspect_until_it_has_a_vector() {
    for (result, is_suspected) in [(Ok(vectors(0, 1)), false), (Ok(vectors(0, 2)), true), (Err(EmbedError::NotFinite), true)] {
        let mut table = Table::default();
        let _answer = table.ask(&[1]);
        table.sent();
        table.on_death("first");
        assert_eq!(table.sent(), [(1, vec![1], true)]);

        table.embedded(1, result);

        let content = table.fingerprints.of_input(&[Token(0)]);
        assert_eq!(table.quarantine.is_suspected(content, Instant::now()), is_suspected);
    }
}

#[test]
fn a_batch_ends_before_a_suspect_which_is_computed_alone() {
    let mut table = Table::default();
    let lost = table.ask_of(1, 11, &[1]);
    table.sent();
    table.on_death("first");
    drop(lost);
    let _answer = table.ask_of(1, 10, &[2, 1, 3]);

    assert_eq!(table.sent(), [(1, vec![2], false)]);
    assert_eq!(table.sent(), [(2, vec![1], true)]);
    table.embedded(1, Ok(vectors(0, 1)));
    assert_eq!(table.sent(), []);
    table.embedded(2, Ok(vectors(1, 1)));

    assert_eq!(table.sent(), [(3, vec![3], false)]);
}

#[test]
fn an_error_or_a_wrong_count_ends_the_request() {
    let mut table = Table::default();
    let (mut failed, mut mixed_up) = (table.ask(&[16, 16]), table.ask(&[1]));
    table.sent();

    table.embedded(2, Err(EmbedError::NotFinite));
    table.embedded(0, Ok(vectors(0, 1)));
    table.embedded(1, Ok(vectors(0, 2)));

    assert_eq!(failed.try_recv().unwrap(), Err(EmbedError::NotFinite.into()));
    assert!(mixed_up.try_recv().unwrap().is_err());
    assert_eq!(table.sent(), []);
}
