//! Tests of the split of rows into evaluations, of comparable steps, of the number of threads, and of return codes.

use super::*;
use crate::{
    llama::{load::load_generating, testing::model_path},
    protocol::{EngineOptions, SequenceId, Token},
};

/// Rows of each slot, given as (slot, first position, number of rows).
fn rows(slots: &[(u32, u32, u32)]) -> Vec<Row> {
    let row = |slot: u32, pos| Row { seq: SequenceId(slot.into()), slot: Slot(slot), pos, token: Token(0), sample: false };
    slots.iter().flat_map(|&(slot, from, count)| (from..from + count).map(move |pos| row(slot, pos))).collect()
}

#[test]
fn chunks_are_evaluated_before_decode_rows_and_the_last_row_of_one_fills_a_gap_between_these() {
    assert_eq!(parts(&rows(&[(0, 300, 1), (1, 0, 3), (2, 40, 1)]), 2), [vec![1, 2], vec![0, 3, 4]]);
    assert_eq!(parts(&rows(&[(0, 300, 1), (1, 0, 3)]), 2), [vec![1, 2, 3], vec![0]], "no gap");
    assert_eq!(parts(&rows(&[(1, 0, 3), (2, 300, 1)]), 2), [vec![0, 1, 2], vec![3]], "no gap");
    assert_eq!(parts(&rows(&[(0, 20, 1), (1, 21, 3), (2, 8, 1)]), 2), [vec![1, 2, 3], vec![0, 4]], "not of one that begins later");
}

#[test]
fn steps_of_one_kind_are_one_evaluation() {
    assert_eq!(parts(&rows(&[(0, 20, 1), (1, 30, 1)]), 2), [vec![0, 1]]);
    assert_eq!(parts(&rows(&[(0, 20, 2), (1, 30, 2)]), 2), [vec![0, 1, 2, 3]]);
}

#[test]
fn chunks_are_evaluated_apart_unless_they_have_equally_many_rows_or_fewer_than_a_tile() {
    let chunks = rows(&[(0, 0, 3), (1, 10, 2), (2, 5, 3)]);
    assert_eq!(parts(&chunks, 2), [vec![3, 4], vec![0, 1, 2, 5, 6, 7]]);
    assert_eq!(parts(&chunks, 3), parts(&chunks, 2), "one is less than a tile, and has no company");
    assert_eq!(parts(&chunks, 4), [(0..8).collect::<Vec<usize>>()]);
    let between = rows(&[(0, 90, 1), (1, 0, 3), (2, 5, 2), (3, 90, 1)]);
    assert_eq!(parts(&between, 1), [vec![4], vec![1, 2], vec![0, 3, 5, 6]], "their last rows fill the gap");
}

#[test]
fn only_steps_of_a_row_for_each_sequence_are_compared() {
    assert!(are_comparable(&rows(&[(0, 20, 1), (1, 300, 1)])));
    assert!(!are_comparable(&rows(&[(0, 20, 1), (1, 30, 2)])), "a chunk or a draft");
}

#[test]
fn return_codes_keep_their_meaning() {
    assert_eq!(step_error(&DecodeError::NoKvCacheSlot), StepError::NoKvSpace);
    assert_eq!(step_error(&DecodeError::NTokensZero), StepError::Decode { code: -1 });
    assert_eq!(step_error(&DecodeError::Unknown(-3)), StepError::Decode { code: -3 });
    assert_eq!(step_error(&DecodeError::Unknown(2)), StepError::Decode { code: 2 });
}

/// `threads/tests.rs` tests when another number of threads is tried, with times as arguments. This test shows that
/// llama.cpp computes on that number.
#[test]
fn a_step_runs_on_as_many_threads_as_were_chosen() {
    let Some(path) = model_path() else { return };
    let small = EngineOptions {
        max_model_len: Some(256),
        max_num_seqs: Some(2),
        n_gpu_layers: Some(0),
        threads: Some(2),
        ..EngineOptions::new(path)
    };
    let loaded = load_generating(&small, |_| {}).unwrap();
    let mut runner = loaded.runner().unwrap();
    let mut choice = Threads::new(2, 2);
    while choice.now() == 2 {
        choice.observe(1, Duration::from_millis(10));
    }
    runner.threads.choice = Some(choice);
    assert_eq!(runner.threads(), 2);

    runner.execute(&Step { kv: Vec::new(), rows: rows(&[(0, 0, 1)]) }).unwrap();
    assert_eq!(runner.threads(), 1, "one row for each sequence: a probe of one thread less");

    runner.execute(&Step { kv: Vec::new(), rows: rows(&[(0, 1, 2)]) }).unwrap();
    assert_eq!(runner.threads(), 2, "a chunk is not compared, so that it runs on all threads");
}
