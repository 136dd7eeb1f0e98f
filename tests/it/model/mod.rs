//! Tests of `llama/` on a real model: properties that only llama.cpp itself can prove.
//!
//! The model is the file in `LLAMERO_TEST_MODEL`, or `models/smollm2-135m-instruct.gguf` in this repository. Without
//! either, these tests print that and pass. It is loaded once for the whole binary; every test opens a small context of
//! its own.

#![cfg(test)]

mod constraint;
mod embedding;
mod explain;
mod kv_types;
mod loading;
mod quantizations;
mod sampling;
mod sampling_extras;
mod steps;
mod swap;
mod text;

use llamero::{
    engine::runner::{KvOp, ModelRunner, Row, Slot, Step, Tokenizer},
    llama::{GeneratingModel, LlamaRunner, load_generating},
    protocol::{EngineOptions, FlashAttention, KvLayout, KvType, SequenceId, SpecialText, Token},
};
use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Two logits closer than this may swap when the shape of a batch changes the order of float sums.
pub(crate) const MARGIN: f32 = 0.5;

/// Logits of the same token at the same place differ by less than this between steps of different shape or other cells
/// of a unified cache (values are about −10–20). Sums in another order round activations to other 8-bit values; 0.9 was
/// observed.
const EPSILON: f32 = 1.0;

/// The same between steps of the same shape in which a sequence's cells begin at the same place; 0 was observed.
const SAME_SHAPE_EPSILON: f32 = 0.01;

pub(crate) fn model_path() -> Option<PathBuf> {
    let path = std::env::var_os("LLAMERO_TEST_MODEL")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/smollm2-135m-instruct.gguf"), PathBuf::from);
    let found = path.is_file();
    if !found {
        eprintln!("SKIPPED: no model at {}; set LLAMERO_TEST_MODEL", path.display());
    }
    found.then_some(path)
}

/// Options with four slots of 512 positions, 128 rows per step, on one CPU thread: tests run side by side, and with
/// more threads they would slow each other down.
pub(crate) fn small_options(model_path: PathBuf) -> EngineOptions {
    EngineOptions {
        max_model_len: Some(512),
        max_num_seqs: Some(4),
        max_num_batched_tokens: 128,
        n_gpu_layers: Some(0),
        threads: Some(1),
        ..EngineOptions::new(model_path)
    }
}

/// The same options for the test model, with `layout`.
fn options(layout: KvLayout) -> EngineOptions {
    EngineOptions { kv_layout: layout, ..small_options(model_path().unwrap_or_default()) }
}

/// The model for contexts with `layout`; `None`, with a message, if there is no file.
fn loaded(layout: KvLayout) -> Option<&'static GeneratingModel> {
    static SPLIT: OnceLock<Option<GeneratingModel>> = OnceLock::new();
    static UNIFIED: OnceLock<Option<GeneratingModel>> = OnceLock::new();
    let cell = match layout {
        KvLayout::Split => &SPLIT,
        KvLayout::Unified => &UNIFIED,
    };
    let load = || model_path().map(|_| load_generating(&options(layout), |_| {}).expect("the test model loads"));
    cell.get_or_init(load).as_ref()
}

/// Runs `test` with a fresh runner of each layout.
fn with_each_layout(test: impl Fn(&dyn Tokenizer, &mut LlamaRunner<'_>)) {
    for_each_layout(|_, tokenizer, runner| test(tokenizer, runner));
}

/// The same, for a test whose expectations depend on the layout.
fn for_each_layout(test: impl Fn(KvLayout, &dyn Tokenizer, &mut LlamaRunner<'_>)) {
    for layout in [KvLayout::Split, KvLayout::Unified] {
        if let Some(loaded) = loaded(layout) {
            eprintln!("{layout:?}:");
            test(layout, &*loaded.tokenizer(), &mut loaded.runner().unwrap());
        }
    }
}

fn rows(slot: u32, from: u32, tokens: &[Token]) -> Vec<Row> {
    let last = tokens.len() - 1;
    let row = |(index, &token): (usize, &Token)| Row {
        seq: SequenceId(u64::from(slot)),
        slot: Slot(slot),
        pos: from + u32::try_from(index).unwrap(),
        token,
        sample: index == last,
    };
    tokens.iter().enumerate().map(row).collect()
}

/// Computes `tokens` after the first `from` positions of `slot`, with `chunk` rows per step; returns the logits of the
/// last token.
fn prefill(runner: &mut LlamaRunner<'_>, slot: u32, from: u32, tokens: &[Token], chunk: usize) -> Vec<f32> {
    let mut pos = from;
    for tokens in tokens.chunks(chunk) {
        runner.execute(&Step { kv: Vec::new(), rows: rows(slot, pos, tokens) }).unwrap();
        pos += u32::try_from(tokens.len()).unwrap();
    }
    runner.logits((tokens.len() - 1) % chunk).unwrap().to_vec()
}

fn change(runner: &mut LlamaRunner<'_>, op: KvOp) {
    runner.execute(&Step { kv: vec![op], rows: Vec::new() }).unwrap();
}

/// The two most likely tokens, best first, with their logits.
fn best_two(logits: &[f32]) -> [(Token, f32); 2] {
    let mut best = [(Token(0), f32::NEG_INFINITY); 2];
    for (id, &logit) in (0..).zip(logits) {
        if logit > best[0].1 {
            best = [(Token(id), logit), best[0]];
        } else if logit > best[1].1 {
            best[1] = (Token(id), logit);
        }
    }
    best
}

fn assert_same(left: &[f32], right: &[f32], what: &str) {
    assert_within(SAME_SHAPE_EPSILON, left, right, what);
}

/// Asserts that a copy is close to its original. In a split cache both begin their streams; in a unified one the cells
/// differ.
fn assert_copied(layout: KvLayout, left: &[f32], right: &[f32], what: &str) {
    let epsilon = if layout == KvLayout::Split { SAME_SHAPE_EPSILON } else { EPSILON };
    assert_within(epsilon, left, right, what);
}

fn assert_close(left: &[f32], right: &[f32], what: &str) {
    assert_within(EPSILON, left, right, what);
}

fn assert_within(epsilon: f32, left: &[f32], right: &[f32], what: &str) {
    let worst = left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
    assert_eq!(left.len(), right.len(), "{what}");
    eprintln!("{what}: logits differ by at most {worst}");
    assert!(worst < epsilon, "{what}: logits differ by {worst}");
}
