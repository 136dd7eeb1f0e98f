//! Models whose layers attend to a sliding window: what is copied and parked of them.

use crate::support::gguf;
use llamero::{
    engine::runner::{KvOp, ModelRunner, Parked, Row, Slot, Step, StepError},
    llama::{LlamaRunner, load},
    protocol::{SequenceId, Token},
};

const WINDOW: u32 = 16;

fn with_runner(test: impl Fn(&mut LlamaRunner<'_>)) {
    let path = gguf::llama3_like().sliding(WINDOW).write();
    let loaded = load(&gguf::engine_options(&path), |_| {}).unwrap_or_else(|error| panic!("{error}"));
    test(&mut loaded.runner().unwrap());
}

/// Computes tokens behind what a slot holds, and gives the logits behind the last.
fn compute(runner: &mut LlamaRunner<'_>, slot: u32, from: u32, tokens: &[Token]) -> Vec<f32> {
    let mut last = 0;
    for (chunk, from) in tokens.chunks(60).zip((from..).step_by(60)) {
        let row = |(pos, token): (u32, &Token)| Row { seq: SequenceId(1), slot: Slot(slot), pos, token: *token, sample: true };
        let rows: Vec<Row> = (from..).zip(chunk).map(row).collect();
        last = rows.len() - 1;
        runner.execute(&Step { kv: Vec::new(), rows }).unwrap();
    }
    runner.logits(last).unwrap().to_vec()
}

fn change(runner: &mut LlamaRunner<'_>, kv: &[KvOp]) -> Result<(), StepError> {
    runner.execute(&Step { kv: kv.to_vec(), rows: Vec::new() })
}

fn text(from: u32, len: u32) -> Vec<Token> {
    (from..from + len).map(|id| Token(id % 200)).collect()
}

/// llama.cpp saves of a slot what its last position attends to, and a shorter prefix would lack what it attends to.
#[test]
fn a_copied_prefix_of_a_windowed_model_continues_like_the_original() {
    with_runner(|runner| {
        let (prompt, tail) = (text(0, 100), text(50, 10));
        compute(runner, 0, 0, &prompt);
        change(runner, &[KvOp::Copy { from: Slot(0), to: Slot(1), len: 40 }]).unwrap();
        let copied = compute(runner, 1, 40, &tail);

        change(runner, &[KvOp::Truncate { slot: Slot(0), keep: 40 }]).unwrap();
        let original = compute(runner, 0, 40, &tail);

        assert_eq!(copied, original);
    });
}

#[test]
fn content_longer_than_the_window_is_not_parked_and_shorter_content_is() {
    with_runner(|runner| {
        let (short, tail) = (text(0, WINDOW), text(50, 10));
        compute(runner, 0, 0, &short);
        change(runner, &[KvOp::Save { slot: Slot(0), to: Parked(0) }]).unwrap();
        let original = compute(runner, 0, WINDOW, &tail);
        change(runner, &[KvOp::Save { slot: Slot(0), to: Parked(1) }]).unwrap();

        assert_eq!(change(runner, &[KvOp::Load { from: Parked(0), slot: Slot(1), len: WINDOW }]), Ok(()));
        assert_eq!(compute(runner, 1, WINDOW, &tail), original);
        let lost = change(runner, &[KvOp::Load { from: Parked(1), slot: Slot(1), len: WINDOW + 10 }]);
        assert_eq!(lost, Err(StepError::NotLoaded(vec![Slot(1)])));
        assert_eq!(compute(runner, 1, 0, &short).len(), original.len(), "the slot is empty and usable");
    });
}
