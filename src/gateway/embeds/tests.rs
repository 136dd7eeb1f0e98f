//! The table alone: what is sent when, and who is answered with what.

use super::*;
use crate::gateway::testing::embedding_info;
use std::sync::Arc;
use tokio::sync::Semaphore;

type Answer = oneshot::Receiver<Result<Vec<Vec<f32>>, EmbeddingError>>;

/// Asks for vectors of inputs of these lengths, whose tokens are their indices.
fn ask(embeds: &mut Embeds, lengths: &[usize]) -> Answer {
    let (reply, answer) = oneshot::channel();
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let inputs = (0..).zip(lengths).map(|(index, &length)| vec![Token(index); length]).collect();
    // Batches of at most 16 tokens and 4 inputs.
    let info = EmbeddingInfo { batch_tokens: 16, batch_inputs: 4, max_input_tokens: 32, ..embedding_info() };
    embeds.insert(EmbedRequest::new(inputs, &info, reply, permit));
    answer
}

/// Calls that are sent next, with the lengths of their inputs, and whether they are to be computed alone.
fn sent(embeds: &mut Embeds) -> Vec<(u64, Vec<usize>, bool)> {
    let lengths = |message| match message {
        ToEngine::Embed { call, inputs, alone } => (call.0, inputs.iter().map(Vec::len).collect(), alone),
        other => panic!("{other:?}"),
    };
    embeds.unsent().into_iter().map(lengths).collect()
}

/// A vector for each of the inputs from `first` on.
fn vectors(first: u16, count: u16) -> Vec<Vec<f32>> {
    (first..first + count).map(|index| vec![f32::from(index)]).collect()
}

#[test]
fn a_large_request_is_cut_into_batches_of_which_two_are_sent_ahead() {
    let mut embeds = Embeds::default();
    let mut answer = ask(&mut embeds, &[10, 6, 1, 1, 1, 1, 1, 32, 4]);

    assert_eq!(sent(&mut embeds), [(0, vec![10, 6], false), (1, vec![1, 1, 1, 1], false)]);
    assert_eq!(sent(&mut embeds), []);
    embeds.on_embedded(CallId(1), Ok(vectors(2, 4)));
    assert_eq!(sent(&mut embeds), [(2, vec![1], false)]);
    embeds.on_embedded(CallId(0), Ok(vectors(0, 2)));
    assert_eq!(sent(&mut embeds), [(3, vec![32], false)]);
    embeds.on_embedded(CallId(2), Ok(vectors(6, 1)));
    embeds.on_embedded(CallId(3), Ok(vectors(7, 1)));
    assert_eq!(sent(&mut embeds), [(4, vec![4], false)]);
    assert!(answer.try_recv().is_err());
    embeds.on_embedded(CallId(4), Ok(vectors(8, 1)));

    assert_eq!(answer.try_recv().unwrap(), Ok(vectors(0, 9)), "in the order of the request");
    assert!(embeds.is_empty());
}

#[test]
fn a_small_request_does_not_wait_for_a_large_one() {
    let mut embeds = Embeds::default();
    let _large = ask(&mut embeds, &[16; 10]);
    let _small = ask(&mut embeds, &[1]);

    let calls: Vec<Vec<usize>> = sent(&mut embeds).into_iter().map(|(_, lengths, _)| lengths).collect();

    assert_eq!(calls, [vec![16], vec![16], vec![1]]);
}

#[test]
fn nothing_more_is_computed_for_a_caller_that_went_away() {
    let mut embeds = Embeds::default();
    let answer = ask(&mut embeds, &[16; 10]);
    assert_eq!(sent(&mut embeds).len(), 2);

    drop(answer);
    embeds.on_embedded(CallId(0), Ok(vectors(0, 1)));

    assert_eq!(sent(&mut embeds), []);
    assert!(embeds.is_empty());
}

#[test]
fn a_batch_is_repeated_alone_and_fails_when_a_second_engine_dies_of_it() {
    let mut embeds = Embeds::default();
    let mut answer = ask(&mut embeds, &[16, 16]);
    let mut bystander = ask(&mut embeds, &[2]);
    sent(&mut embeds);
    embeds.on_begun(&[CallId(0)]);

    embeds.on_death("first");
    assert_eq!(sent(&mut embeds), [(3, vec![16], true), (4, vec![16], false), (5, vec![2], false)], "in order, the suspect alone");
    embeds.on_begun(&[CallId(3)]);
    embeds.on_death("second");

    assert_eq!(answer.try_recv().unwrap(), Err(EmbedError::EngineDied("second".into()).into()));
    assert_eq!(sent(&mut embeds), [(6, vec![2], false)], "who was only waiting is not to blame");
    embeds.on_embedded(CallId(6), Ok(vectors(0, 1)));
    assert_eq!(bystander.try_recv().unwrap(), Ok(vectors(0, 1)));
    assert!(embeds.is_empty());
}

#[test]
fn an_error_or_a_wrong_count_ends_the_request() {
    let mut embeds = Embeds::default();
    let (mut failed, mut mixed_up) = (ask(&mut embeds, &[16, 16]), ask(&mut embeds, &[1]));
    sent(&mut embeds);

    embeds.on_embedded(CallId(1), Err(EmbedError::NotFinite));
    embeds.on_embedded(CallId(0), Ok(vectors(0, 1)));
    embeds.on_embedded(CallId(2), Ok(vectors(0, 2)));

    assert_eq!(failed.try_recv().unwrap(), Err(EmbedError::NotFinite.into()));
    assert!(mixed_up.try_recv().unwrap().is_err());
    assert_eq!(sent(&mut embeds), []);
}
