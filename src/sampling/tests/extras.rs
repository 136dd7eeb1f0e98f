//! llama.cpp's own parameters, each by example.

use super::*;
use crate::protocol::Dry;
use crate::sampling::Pieces;
use std::sync::Arc;

fn logits(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln()).collect()
}

fn kept(params: SamplingParams, logits: &[f32]) -> Vec<u32> {
    ids(&candidates(params, logits))
}

#[test]
fn top_n_sigma_keeps_those_within_that_many_standard_deviations_of_the_best() {
    // The mean is 2, the standard deviation 2.
    let logits = [5.0, 3.0, 3.0, 1.0, 1.0, -1.0];
    let kept = |top_n_sigma, temperature| kept(SamplingParams { top_n_sigma, temperature, ..params() }, &logits);

    assert_eq!(kept(0.9, 1.0), [0]);
    assert_eq!(kept(1.1, 1.0), [0, 1, 2]);
    assert_eq!(kept(1.1, 0.3), [0, 1, 2], "whatever the temperature");
    assert_eq!(kept(2.1, 1.0), [0, 1, 2, 3, 4]);
    assert_eq!(kept(0.0, 1.0), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn top_n_sigma_does_not_count_what_is_no_candidate() {
    let params = SamplingParams { top_n_sigma: 1.1, ..params() };
    let logits = [5.0, 3.0, f32::NEG_INFINITY, 3.0, f32::NAN, 1.0, 1.0, -1.0];

    assert_eq!(kept(params.clone(), &logits), [0, 1, 3]);
    assert_eq!(kept(params.clone(), &[2.0; 5]), [0, 1, 2, 3, 4]);
    assert_eq!(kept(params, &[f32::NAN, 2.0]), [1]);
}

#[test]
fn top_p_is_taken_of_what_top_n_sigma_left() {
    // The best token has 0.73 of the mass of the two best, and 0.35 of the mass of all.
    let logits = [1.0, 0.0, -0.2, -0.2, -0.2, -0.2, -0.2, -6.0];
    let with = |top_n_sigma| kept(SamplingParams { top_n_sigma, top_p: 0.7, ..params() }, &logits);

    assert_eq!(with(0.55), [0]);
    assert_eq!(with(0.0), [0, 1, 2, 3, 4]);
}

#[test]
fn typical_p_keeps_those_whose_surprise_is_nearest_to_the_expected_one() {
    // The entropy is 1.22 nats; the surprises are 0.69, 1.61, 1.90, 1.90.
    let logits = logits(&[0.5, 0.2, 0.15, 0.15]);
    let kept = |typical_p| kept(SamplingParams { typical_p, ..params() }, &logits);

    assert_eq!(kept(0.1), [1], "not the likeliest");
    assert_eq!(kept(0.3), [0, 1]);
    assert_eq!(kept(0.72), [0, 1, 2]);
    assert_eq!(kept(0.99), [0, 1, 2, 3]);
    assert_eq!(kept(1.0), [0, 1, 2, 3]);
}

#[test]
fn min_p_is_relative_to_the_best_that_typical_p_left() {
    let logits = logits(&[0.5, 0.2, 0.15, 0.15]);

    assert_eq!(kept(SamplingParams { typical_p: 0.1, min_p: 0.9, ..params() }, &logits), [1]);
}

#[test]
fn xtc_excludes_all_but_the_least_probable_of_the_probable() {
    let logits = logits(&[0.1, 0.4, 0.3, 0.15, 0.05]);
    let kept = |xtc_threshold| kept(SamplingParams { xtc_probability: 1.0, xtc_threshold, ..params() }, &logits);

    assert_eq!(kept(0.35), [0, 1, 2, 3, 4], "one alone stays");
    assert_eq!(kept(0.2), [0, 2, 3, 4]);
    assert_eq!(kept(0.12), [0, 3, 4]);
    assert_eq!(kept(0.0), [4]);
    assert_eq!(kept(0.51), [0, 1, 2, 3, 4]);
}

#[test]
fn xtc_acts_as_often_as_its_probability_says_and_draws_are_independent_of_it() {
    let logits = logits(&[0.5, 0.3, 0.2]);
    let params = SamplingParams { xtc_probability: 0.4, xtc_threshold: 0.25, ..params() };
    let mut sampler = sampler(params);
    let mut scratch = Scratch::default();
    let mut counts = [0.0_f64; 3];

    for _ in 0..20_000 {
        counts[sampler.sample(&logits, None, &mut scratch).unwrap().token.0 as usize] += 1.0;
    }

    // Without the best token the shares are 0.6 and 0.4.
    let expected = [0.6 * 0.5, 0.6 * 0.3 + 0.4 * 0.6, 0.6 * 0.2 + 0.4 * 0.4].map(|p| p * 20_000.0);
    let chi_square: f64 = counts.iter().zip(expected).map(|(count, mean)| (count - mean).powi(2) / mean).sum();
    assert!(chi_square < 14.0, "{chi_square} with 2 degrees of freedom, {counts:?}");
}

#[test]
fn a_dynamic_temperature_is_high_where_the_model_is_uncertain() {
    let params = |exponent| SamplingParams { dynatemp_range: 0.5, dynatemp_exponent: exponent, ..params() };
    let ratio = |params, logits: &[f32]| {
        let kept = candidates(params, logits);
        kept[0].probability / kept[1].probability
    };
    // Shares of 0.9 and 0.1: the entropy is 0.325 nats, 0.469 of ln 2, so the temperature is 0.5 + 0.469. Nearly equal
    // shares: nearly 1.5.
    let certain = logits(&[0.9, 0.1]);

    assert!((ratio(params(1.0), &certain) - 9.0_f64.powf(1.0 / 0.969)).abs() < 1e-2);
    assert!((ratio(params(2.0), &certain) - 9.0_f64.powf(1.0 / 0.72)).abs() < 1e-2);
    assert!((ratio(params(1.0), &[0.15, 0.0]) - (0.15_f64 / 1.5).exp()).abs() < 1e-3);
    assert_eq!(kept(params(1.0), &[f32::NAN, 7.0]), [1]);
}

#[test]
fn a_dynamic_temperature_may_go_down_to_zero() {
    let params = SamplingParams { temperature: 0.1, dynatemp_range: 1.0, seed: 3, ..params() };

    assert_eq!(draw(params, &[0.0, 900.0, 0.0]), Ok(1));
}

#[test]
fn a_window_limits_what_the_penalties_see_to_the_last_tokens_of_prompt_and_output() {
    let seen = |last, prompt: &[u32], generated: &[u32]| {
        let params = SamplingParams { repetition_penalty: 2.0, frequency_penalty: 1.0, repeat_last_n: last, ..params() };
        let tokens = |ids: &[u32]| ids.iter().map(|&id| Token(id)).collect::<Vec<_>>();
        let mut sampler = Sampler::new(params, &tokens(prompt), &tokens(generated));
        let kept = sampler.candidates(&[-1.0; 4], &mut Scratch::default()).unwrap();
        // Distance from the token that has no penalty, nats: 1 for having occurred, 1 for each time it was generated.
        [0, 1, 2].map(|id| (kept[3].probability / kept[id].probability).ln().round())
    };

    assert_eq!(seen(None, &[0, 1], &[2, 2]), [1.0, 1.0, 3.0]);
    assert_eq!(seen(Some(4), &[0, 1], &[2, 2]), [1.0, 1.0, 3.0]);
    assert_eq!(seen(Some(3), &[0, 1], &[2, 2]), [0.0, 1.0, 3.0]);
    assert_eq!(seen(Some(1), &[0, 1], &[2, 2]), [0.0, 0.0, 2.0]);
    assert_eq!(seen(Some(0), &[0, 1], &[2, 2]), [0.0, 0.0, 0.0]);
    assert_eq!(seen(Some(3), &[0, 0, 1], &[]), [1.0, 1.0, 0.0]);
}

#[test]
fn dry_acts_on_greedy_draws_and_leaves_the_bias_the_last_word() {
    let dry = Dry { multiplier: 1.0, base: 1.75, allowed_length: 2, penalty_last_n: None, sequence_breakers: Vec::new() };
    let params = SamplingParams { temperature: 0.0, dry: Some(dry), ..params() };
    let next = |params: SamplingParams, tokens: &[u32]| {
        let prompt: Vec<Token> = tokens.iter().map(|&id| Token(id)).collect();
        Sampler::new(params, &prompt, &[]).sample(&[0.0, 0.0, 0.0, 0.5], None, &mut Scratch::default()).unwrap().token.0
    };

    assert_eq!(next(params.clone(), &[1, 2, 3, 0, 1, 2]), 0, "3 would go on with 1, 2");
    assert_eq!(next(params.clone(), &[1, 2, 0, 0, 1, 2]), 3);
    let biased = SamplingParams { logit_bias: vec![(Token(3), 1.0)], ..params };
    assert_eq!(next(biased, &[1, 2, 3, 0, 1, 2]), 3);
}

/// A vocabulary in which each token is one letter, except the last, which is a line break.
struct Alphabet;

impl Pieces for Alphabet {
    fn piece(&self, token: Token) -> &[u8] {
        b"abcdefghijklmnopqrstuvwxyz\n".get(token.0 as usize).map_or(b"", std::slice::from_ref)
    }
}

#[test]
fn with_every_parameter_on_a_resumed_sequence_goes_on_as_the_uninterrupted_one() {
    let params = SamplingParams {
        temperature: 1.2,
        dynatemp_range: 0.4,
        dynatemp_exponent: 1.5,
        top_n_sigma: 3.0,
        top_k: 20,
        typical_p: 0.95,
        top_p: 0.98,
        min_p: 0.01,
        xtc_probability: 0.5,
        xtc_threshold: 0.08,
        presence_penalty: 0.3,
        frequency_penalty: 0.2,
        repetition_penalty: 1.1,
        repeat_last_n: Some(7),
        dry: Some(Dry {
            multiplier: 0.6,
            base: 1.5,
            allowed_length: 1,
            penalty_last_n: Some(30),
            sequence_breakers: vec!["\n".to_owned()],
        }),
        logit_bias: vec![(Token(4), 0.5)],
        seed: 99,
        repeatable: true,
    };
    let prompt = [Token(3), Token(5), Token(26), Token(3), Token(5)];
    // The logits differ at each position, as a model's do.
    let logits = |position: u32| (0..27_u32).map(|id| ((id * 7 + position * 3) % 13) as f32 / 3.0).collect::<Vec<f32>>();
    let mut scratch = Scratch::new(Arc::new(Alphabet));
    let mut whole = Sampler::new(params.clone(), &prompt, &[]);
    let uninterrupted: Vec<Token> = (0..60).map(|at| whole.sample(&logits(at), None, &mut scratch).unwrap().token).collect();

    for crash in [0, 1, 7, 8, 30, 59] {
        let mut resumed = Sampler::new(params.clone(), &prompt, &uninterrupted[..crash]);
        let at = |at: usize| logits(u32::try_from(at).unwrap());
        let rest: Vec<Token> = (crash..60).map(|position| resumed.sample(&at(position), None, &mut scratch).unwrap().token).collect();

        assert_eq!(rest, uninterrupted[crash..], "resumed after {crash}");
    }
}
