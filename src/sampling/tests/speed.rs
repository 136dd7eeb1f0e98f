//! The time of a draw. Prints figures and asserts nothing: run by hand before and after a change.
//! `cargo test --release --lib sampling::tests::speed -- --ignored --nocapture`

use super::*;
use crate::protocol::Dry;
use std::hint::black_box;
use std::time::Instant;

/// Logits of the same shape as a language model's: a normal bulk and a few outstanding tokens.
pub(super) fn typical_logits(vocabulary: u32) -> Vec<f32> {
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..vocabulary)
        .map(|token| {
            let bulk = (uniform() + uniform() + uniform() + uniform() - 2.0) * 4.0;
            bulk + if token % 2_000 == 3 { 6.0 + 6.0 * uniform() } else { 0.0 }
        })
        .collect()
}

/// The fastest of many rounds, nanoseconds per draw: the one that no other process disturbed.
fn nanoseconds(params: SamplingParams, logits: &[f32]) -> u128 {
    const ROUNDS: usize = 200;
    const DRAWS: u32 = 10;
    let prompt: Vec<Token> = (0..1000).map(|n| Token(n * 7 % 40_000)).collect();
    let mut sampler = Sampler::new(params, &prompt, &[]);
    let mut scratch = Scratch::default();
    let round = |_| {
        let begun = Instant::now();
        for _ in 0..DRAWS {
            black_box(sampler.sample(black_box(logits), None, &mut scratch).unwrap());
        }
        begun.elapsed().as_nanos() / u128::from(DRAWS)
    };
    (0..ROUNDS).map(round).min().unwrap()
}

#[test]
#[ignore = "prints figures; nothing to assert"]
fn nanoseconds_per_draw() {
    let dry = Dry { multiplier: 0.8, base: 1.75, allowed_length: 2, penalty_last_n: None, sequence_breakers: Vec::new() };
    let rows = [
        ("greedy", SamplingParams { temperature: 0.0, ..params() }),
        ("temperature 0.7", SamplingParams { temperature: 0.7, ..params() }),
        ("top_p 0.9", SamplingParams { temperature: 0.7, top_p: 0.9, ..params() }),
        ("top_k 40", SamplingParams { temperature: 0.7, top_k: 40, ..params() }),
        ("min_p 0.05", SamplingParams { temperature: 0.7, min_p: 0.05, ..params() }),
        ("top_k 40, top_p 0.95, min_p 0.05", SamplingParams { top_k: 40, top_p: 0.95, min_p: 0.05, ..params() }),
        ("repetition 1.1", SamplingParams { repetition_penalty: 1.1, ..params() }),
        ("repetition 1.1 in the last 64", SamplingParams { repetition_penalty: 1.1, repeat_last_n: Some(64), ..params() }),
        ("top_n_sigma 1", SamplingParams { top_n_sigma: 1.0, ..params() }),
        ("typical_p 0.9", SamplingParams { typical_p: 0.9, ..params() }),
        ("typical_p 0.9, top_k 40", SamplingParams { typical_p: 0.9, top_k: 40, ..params() }),
        ("XTC at every token", SamplingParams { xtc_probability: 1.0, ..params() }),
        ("XTC at every token, min_p 0.02", SamplingParams { xtc_probability: 1.0, min_p: 0.02, ..params() }),
        ("dynatemp 0.5 around 1", SamplingParams { dynatemp_range: 0.5, ..params() }),
        ("DRY, greedy", SamplingParams { temperature: 0.0, dry: Some(dry), ..params() }),
    ];
    for vocabulary in [49_152, 128_256] {
        let logits = typical_logits(vocabulary);
        for (name, params) in &rows {
            println!("{vocabulary:>7} {name:<34} {:>8} ns", nanoseconds(params.clone(), &logits));
        }
    }
}
