//! Behaviour of the sampler: each of OpenAI's and vLLM's parameters by example. llama.cpp's are in `extras.rs`, and
//! `properties.rs` compares all of them with a plain reference that sorts.

use super::{Candidate, Logprobs, NoCandidate, Sampler, Scratch};
use crate::protocol::{SamplingParams, Token};
use properties::reference;

mod extras;
mod properties;
mod speed;

fn params() -> SamplingParams {
    SamplingParams::default()
}

fn sampler(params: SamplingParams) -> Sampler {
    Sampler::new(params, &[], &[])
}

fn draw(params: SamplingParams, logits: &[f32]) -> Result<u32, NoCandidate> {
    sampler(params).sample(logits, None, &mut Scratch::default()).map(|choice| choice.token.0)
}

fn candidates(params: SamplingParams, logits: &[f32]) -> Vec<Candidate> {
    sampler(params).candidates(logits, &mut Scratch::default()).unwrap()
}

fn ids(candidates: &[Candidate]) -> Vec<u32> {
    candidates.iter().map(|candidate| candidate.token.0).collect()
}

// === Greedy ===

#[test]
fn greedy_takes_the_highest_logit_and_the_lowest_id_of_equals() {
    let greedy = SamplingParams { temperature: 0.0, ..params() };

    assert_eq!(draw(greedy.clone(), &[1.0, 3.0, 3.0, 2.0]), Ok(1));
    assert_eq!(draw(greedy.clone(), &[f32::NAN, f32::NEG_INFINITY, -1e30]), Ok(2));
    assert_eq!(draw(greedy, &[1.0, f32::INFINITY, f32::INFINITY]), Ok(1));
}

#[test]
fn no_finite_candidate_is_an_error_and_counts_nothing() {
    for temperature in [0.0, 1.0] {
        for top_k in [0, 2] {
            let params = SamplingParams { temperature, top_k, presence_penalty: 2.0, ..params() };
            let mut sampler = sampler(params);
            let mut scratch = Scratch::default();
            let before = format!("{sampler:?}");

            let failed = sampler.sample(&[f32::NAN, f32::NEG_INFINITY, f32::NAN], Some(1), &mut scratch);

            assert_eq!(failed, Err(NoCandidate));
            assert_eq!(format!("{sampler:?}"), before);
        }
    }
    assert_eq!(draw(params(), &[]), Err(NoCandidate));
}

// === Penalties and bias ===

#[test]
fn presence_and_frequency_penalties_look_at_generated_tokens_only() {
    let params = SamplingParams { temperature: 0.0, presence_penalty: 0.5, frequency_penalty: 0.25, ..params() };
    // Token 0 is in the prompt only; 1 was generated twice: 0.5 + 2 · 0.25 = 1.0 less.
    let mut sampler = Sampler::new(params, &[Token(0), Token(0)], &[Token(1), Token(1)]);

    let mut next = |logits: &[f32]| sampler.candidates(logits, &mut Scratch::default()).map(|candidates| candidates[0].token.0);
    assert_eq!(next(&[2.0, 3.01]), Ok(1));
    assert_eq!(next(&[2.0, 2.99]), Ok(0));
}

#[test]
fn the_repetition_penalty_divides_positive_and_multiplies_negative_logits_of_prompt_and_output() {
    let params = SamplingParams { repetition_penalty: 2.0, ..params() };
    let mut sampler = Sampler::new(params, &[Token(0), Token(9)], &[Token(1)]);

    let candidates = sampler.candidates(&[4.0, -1.0, 0.0], &mut Scratch::default()).unwrap();

    let weights = [2.0_f64.exp(), (-2.0_f64).exp(), 1.0];
    let total: f64 = weights.iter().sum();
    for (candidate, weight) in candidates.iter().zip(weights) {
        assert!((candidate.probability - weight / total).abs() < 1e-6, "{candidates:?}");
    }
}

#[test]
fn a_bias_moves_a_logit_and_minus_hundred_takes_the_token_out() {
    let greedy = |logit_bias| SamplingParams { temperature: 0.0, logit_bias, ..params() };

    assert_eq!(draw(greedy(vec![(Token(0), 1.5)]), &[0.0, 1.0]), Ok(0));
    assert_eq!(draw(greedy(vec![(Token(0), -100.0)]), &[1e6, 1.0]), Ok(1));
    assert_eq!(draw(greedy(vec![(Token(0), -100.0), (Token(1), -100.0)]), &[1e6, 1.0]), Err(NoCandidate));
    assert_eq!(draw(greedy(vec![(Token(77), 100.0)]), &[0.0, 1.0]), Ok(1), "an id outside the vocabulary changes nothing");
}

#[test]
fn a_bias_acts_before_temperature() {
    let params = SamplingParams { temperature: 2.0, logit_bias: vec![(Token(1), 2.0)], ..params() };

    let candidates = candidates(params, &[0.0, 0.0]);

    assert!((candidates[1].probability / candidates[0].probability - 1.0_f64.exp()).abs() < 1e-5, "{candidates:?}");
}

#[test]
fn the_logits_of_the_caller_stay_as_they_are_for_the_next_sequence() {
    let biased = SamplingParams { logit_bias: vec![(Token(0), -100.0)], ..params() };
    let mut scratch = Scratch::default();

    assert_eq!(ids(&sampler(biased).candidates(&[1.0, 2.0], &mut scratch).unwrap()), [1]);
    assert_eq!(ids(&sampler(params()).candidates(&[1.0, 2.0], &mut scratch).unwrap()), [0, 1]);
}

// === Truncation ===

#[test]
fn top_k_keeps_the_best_and_the_lowest_ids_of_equals() {
    let logits = [1.0, 5.0, 1.0, 4.0, 1.0];

    assert_eq!(ids(&candidates(SamplingParams { top_k: 3, ..params() }, &logits)), [0, 1, 3]);
    assert_eq!(ids(&candidates(SamplingParams { top_k: 9, ..params() }, &logits)), [0, 1, 2, 3, 4]);
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_it() {
    let logits: Vec<f32> = [0.5_f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
    let kept = |top_p| ids(&candidates(SamplingParams { top_p, ..params() }, &logits));

    assert_eq!(kept(0.01), [0]);
    assert_eq!(kept(0.49), [0]);
    assert_eq!(kept(0.51), [0, 1]);
    assert_eq!(kept(0.79), [0, 1]);
    assert_eq!(kept(0.81), [0, 1, 2]);
    assert_eq!(kept(0.96), [0, 1, 2, 3]);
}

#[test]
fn top_p_of_equal_candidates_keeps_as_many_as_it_says() {
    for tenths in 1..=9_u8 {
        let kept = candidates(SamplingParams { top_p: f32::from(tenths) / 10.0, ..params() }, &[0.0; 10]);

        assert_eq!(kept.len(), usize::from(tenths));
    }
}

#[test]
fn top_p_is_taken_of_what_top_k_left() {
    // The shares of all four tokens are 0.4, 0.3, 0.2, 0.1; those of the best two are 0.57 and 0.43.
    let logits: Vec<f32> = [0.4_f32, 0.3, 0.2, 0.1].iter().map(|p| p.ln()).collect();

    assert_eq!(ids(&candidates(SamplingParams { top_p: 0.5, ..params() }, &logits)), [0, 1]);
    assert_eq!(ids(&candidates(SamplingParams { top_p: 0.5, top_k: 2, ..params() }, &logits)), [0]);
}

#[test]
fn min_p_keeps_those_at_least_that_share_as_likely_as_the_best() {
    let logits: Vec<f32> = [0.6_f32, 0.25, 0.1, 0.05].iter().map(|p| p.ln()).collect();
    let kept = |min_p| ids(&candidates(SamplingParams { min_p, ..params() }, &logits));

    assert_eq!(kept(0.0), [0, 1, 2, 3]);
    assert_eq!(kept(0.1), [0, 1, 2]);
    assert_eq!(kept(0.4), [0, 1]);
    assert_eq!(kept(1.0), [0]);
}

#[test]
fn truncation_comes_after_temperature() {
    let logits = [0.0, -1.0, -2.0];

    assert_eq!(ids(&candidates(SamplingParams { min_p: 0.3, temperature: 1.0, ..params() }, &logits)), [0, 1]);
    assert_eq!(ids(&candidates(SamplingParams { min_p: 0.3, temperature: 2.0, ..params() }, &logits)), [0, 1, 2]);
}

// === Randomness ===

#[test]
fn a_resumed_sequence_goes_on_as_the_uninterrupted_one() {
    let params = SamplingParams {
        temperature: 1.3,
        top_p: 0.95,
        presence_penalty: 0.7,
        frequency_penalty: 0.3,
        repetition_penalty: 1.2,
        seed: 42,
        ..params()
    };
    let prompt = [Token(3), Token(5)];
    let logits: Vec<f32> = (0..500_u16).map(|id| f32::from(id % 17) / 4.0).collect();
    let mut scratch = Scratch::default();
    let mut whole = Sampler::new(params.clone(), &prompt, &[]);
    let uninterrupted: Vec<Token> = (0..40).map(|_| whole.sample(&logits, None, &mut scratch).unwrap().token).collect();

    for crash in [0, 1, 17, 39] {
        let mut resumed = Sampler::new(params.clone(), &prompt, &uninterrupted[..crash]);
        let rest: Vec<Token> = (crash..40).map(|_| resumed.sample(&logits, None, &mut scratch).unwrap().token).collect();

        assert_eq!(rest, uninterrupted[crash..], "resumed after {crash}");
    }
}

#[test]
fn seeds_give_different_sequences() {
    let logits = [0.0; 1000];
    let tokens = |seed| {
        let mut sampler = sampler(SamplingParams { seed, ..params() });
        (0..8).map(|_| sampler.sample(&logits, None, &mut Scratch::default()).unwrap().token.0).collect::<Vec<_>>()
    };

    assert_ne!(tokens(1), tokens(2));
    assert_ne!(tokens(1)[0], tokens(1)[1]);
    assert_eq!(tokens(1), tokens(1));
}

/// A top_k is left out where many nearly equal tokens contest its last places: rounding decides which of them are
/// candidates.
#[test]
fn logits_that_move_by_rounding_change_few_draws() {
    const DRAWS: u32 = 2000;
    const TEMPERATURE: f32 = 0.8;
    let logits = speed::typical_logits(8_000);
    let mut scratch = Scratch::default();
    for (case, params) in
        [("all", params()), ("top_p", SamplingParams { top_p: 0.95, ..params() }), ("min_p", SamplingParams { min_p: 0.05, ..params() })]
    {
        let params = SamplingParams { temperature: TEMPERATURE, ..params };
        for moved_by in [0.01_f32, 0.03, 0.06] {
            // Each logit moves by −√1.5, 0 or +√1.5 times `moved_by`, which is then the standard deviation of the
            // moves.
            let moved: Vec<f32> = (0_u32..)
                .zip(&logits)
                .map(|(id, logit)| logit + ((id.wrapping_mul(2_654_435_761) >> 16) % 3) as f32 * 1.2247 * moved_by - 1.2247 * moved_by)
                .collect();
            let mut drawn = |seed: u32, logits: &[f32]| {
                let mut sampler = sampler(SamplingParams { seed: u64::from(seed), ..params.clone() });
                sampler.sample(logits, None, &mut scratch).unwrap().token
            };

            let flips = (0..DRAWS).filter(|&seed| drawn(seed, &logits) != drawn(seed, &moved)).count();

            // The lead of the first sum over the second has a density of at most 1 per nat at zero, and two tokens move
            // against each other by √2 · √(2/π) standard deviations on average. An inverted cumulative sum flips 8 % at
            // 0.01.
            let expected = f64::from(DRAWS) * f64::from(moved_by / TEMPERATURE) * 1.128;
            println!("{case}, logits moved by {moved_by}: {flips} of {DRAWS} draws differ, at most {expected:.0} on average");
            assert!((flips as f64) < expected + 3.0 * expected.sqrt(), "{case}, {moved_by}: {flips} flips, {expected} expected at most");
        }
    }
}

/// Draws with `draws` seeds, and at as many positions of one seed, and compares the counts with the exact
/// probabilities.
fn assert_drawn_as_likely_as(params: &SamplingParams, logits: &[f32], draws: u32) {
    let mut scratch = Scratch::default();
    let by_seed = (0..draws).map(|seed| {
        let mut sampler = sampler(SamplingParams { seed: u64::from(seed), ..params.clone() });
        sampler.sample(logits, None, &mut scratch).unwrap().token
    });
    assert_likely(params, logits, &by_seed.collect::<Vec<_>>());
    let mut one = sampler(SamplingParams { seed: 77, ..params.clone() });
    let by_position = (0..draws).map(|_| one.sample(logits, None, &mut scratch).unwrap().token);
    assert_likely(params, logits, &by_position.collect::<Vec<_>>());
}

/// Compares the counts of drawn tokens with the exact probabilities.
fn assert_likely(params: &SamplingParams, logits: &[f32], drawn: &[Token]) {
    let expected = reference(params, logits);
    let mut counts = vec![0.0_f64; logits.len()];
    drawn.iter().for_each(|token| counts[token.0 as usize] += 1.0);

    let mut chi_square = 0.0;
    for (id, &count) in counts.iter().enumerate() {
        let probability = expected.iter().find(|kept| kept.token.0 as usize == id).map_or(0.0, |kept| kept.probability);
        let mean = probability * drawn.len() as f64;
        assert!(mean > 0.0 || count == 0.0, "{id} was drawn but is no candidate");
        chi_square += if mean > 0.0 { (count - mean).powi(2) / mean } else { 0.0 };
    }
    let freedom = (expected.len() - 1) as f64;
    // Five standard deviations of the statistic above its mean; the seeds are fixed, so this cannot flicker.
    assert!(chi_square < freedom + 5.0 * (2.0 * freedom).sqrt(), "{chi_square} with {freedom} degrees of freedom, {params:?}");
}

#[test]
fn draws_follow_the_exact_probabilities() {
    let logits: Vec<f32> = (0..3000_u16).map(|id| if id % 150 == 7 { f32::from(id % 11) / 5.0 } else { -60.0 }).collect();
    let from_all = SamplingParams { temperature: 0.8, ..params() };

    assert_drawn_as_likely_as(&SamplingParams { top_p: 0.7, ..from_all.clone() }, &logits, 20_000);
    assert_drawn_as_likely_as(&SamplingParams { top_k: 5, ..from_all.clone() }, &logits, 20_000);
    assert_drawn_as_likely_as(&SamplingParams { min_p: 0.2, ..from_all.clone() }, &logits, 20_000);
    assert_drawn_as_likely_as(&SamplingParams { typical_p: 0.6, ..from_all.clone() }, &logits, 20_000);
    assert_drawn_as_likely_as(&SamplingParams { top_n_sigma: 0.5, ..from_all.clone() }, &logits, 20_000);
    assert_drawn_as_likely_as(&SamplingParams { xtc_probability: 1.0, xtc_threshold: 0.1, ..from_all.clone() }, &logits, 20_000);
    // Without truncation the other 2980 are candidates too; less likely than 1e-23 all together, they do not count.
    let visible: Vec<f32> = logits.iter().map(|&logit| if logit < -50.0 { f32::NEG_INFINITY } else { logit }).collect();
    assert_drawn_as_likely_as(&from_all, &visible, 20_000);
}

#[test]
fn draws_follow_the_exact_probabilities_where_candidates_share_a_block_and_where_they_fill_several() {
    let params = SamplingParams { temperature: 1.3, ..params() };
    for length in [2_u16, 5, 64, 65, 200] {
        let logits: Vec<f32> = (0..length).map(|id| f32::from(id * 7 % 13) / 6.0).collect();

        assert_drawn_as_likely_as(&params, &logits, 40_000);
    }
}

#[test]
fn draws_under_a_mask_follow_the_probabilities_of_what_it_leaves() {
    let logits: Vec<f32> = (0..200_u16).map(|id| f32::from(id * 7 % 13) / 6.0).collect();
    let mask: Vec<u32> = (0..7_u32).map(|word| 0x8421_0421_u32.rotate_left(word)).collect();
    let is_allowed = |id: usize| mask[id / 32] >> (id % 32) & 1 == 1;
    let left: Vec<f32> = logits.iter().enumerate().map(|(id, &logit)| if is_allowed(id) { logit } else { f32::NEG_INFINITY }).collect();
    for params in [params(), SamplingParams { top_p: 0.8, ..params() }] {
        let mut sampler = sampler(SamplingParams { seed: 5, ..params.clone() });
        let mut scratch = Scratch::default();

        let drawn: Vec<Token> =
            (0..40_000).map(|_| sampler.sample_among(Some(&mask), &logits, None, &mut scratch).unwrap().token).collect();

        assert_likely(&params, &left, &drawn);
    }
}

// === Log-probabilities ===

#[test]
fn logprobs_are_those_of_the_raw_softmax_whatever_the_parameters() {
    let logits: Vec<f32> = [0.5_f32, 0.3, 0.2].iter().map(|p| p.ln()).collect();
    let params = SamplingParams { temperature: 0.1, top_k: 1, logit_bias: vec![(Token(2), 50.0)], ..params() };

    let choice = sampler(params).sample(&logits, Some(2), &mut Scratch::default()).unwrap();

    assert_eq!(choice.token, Token(2));
    let Logprobs { chosen, top } = choice.logprobs.unwrap();
    assert!((chosen - 0.2_f32.ln()).abs() < 1e-6, "{chosen}");
    assert_eq!(top.iter().map(|(token, _)| token.0).collect::<Vec<_>>(), [0, 1]);
    assert!((top[0].1 - 0.5_f32.ln()).abs() < 1e-6 && (top[1].1 - 0.3_f32.ln()).abs() < 1e-6, "{top:?}");
}

#[test]
fn logprobs_are_finite_and_leave_out_what_is_no_candidate() {
    let logits = [f32::NAN, 1e6, f32::NEG_INFINITY, -1e6];

    let choice = sampler(params()).sample(&logits, Some(4), &mut Scratch::default()).unwrap();

    let logprobs = choice.logprobs.unwrap();
    assert_eq!(logprobs, Logprobs { chosen: 0.0, top: vec![(Token(1), 0.0), (Token(3), -9999.0)] });
}

#[test]
fn logprobs_are_made_only_when_asked_for_and_zero_alternatives_are_still_an_answer() {
    let mut sampler = sampler(params());
    let mut scratch = Scratch::default();

    assert_eq!(sampler.sample(&[0.0], None, &mut scratch).unwrap().logprobs, None);
    assert_eq!(sampler.sample(&[0.0], Some(0), &mut scratch).unwrap().logprobs, Some(Logprobs { chosen: 0.0, top: vec![] }));
}

#[test]
fn infinite_logits_share_all_the_probability() {
    let logits = [0.0, f32::INFINITY, 5.0, f32::INFINITY];

    let kept = candidates(params(), &logits);
    let choice = sampler(params()).sample(&logits, Some(1), &mut Scratch::default()).unwrap();

    assert_eq!(kept.iter().map(|kept| kept.probability).collect::<Vec<_>>(), [0.0, 0.5, 0.0, 0.5]);
    assert!((choice.logprobs.unwrap().chosen - 0.5_f32.ln()).abs() < 1e-6);
}
