//! Compares llamero's sampling with llama.cpp's own samplers on the same logits: OpenAI's and vLLM's parameters.
//!
//! llama.cpp's chain gets llamero's order: penalties, bias, temperature, `top_k`, `top_p`, `min_p`. It adds up in
//! single precision, so if `top_p` is within its rounding of a boundary, the two may differ by the tokens at that
//! boundary.

use super::{loaded, prefill};
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::{LlamaToken, data::LlamaTokenData, data_array::LlamaTokenDataArray, logit_bias::LlamaLogitBias};
use llamero::engine::runner::Tokenizer;
use llamero::protocol::{KvLayout, SamplingParams, SpecialText, Token};
use llamero::sampling::{Candidate, Sampler, Scratch};
use std::collections::BTreeMap;

/// Error of a sum of probabilities over a vocabulary in single precision.
pub(super) const ROUNDING: f64 = 1e-4;

pub(super) fn id(token: u32) -> LlamaToken {
    LlamaToken(i32::try_from(token).expect("a small vocabulary"))
}

/// Random logits shaped like those of a language model: a normal bulk and a few prominent tokens. No two are equal.
pub(super) fn logits(vocabulary: u32, spread: f64, outstanding: u32, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut logits: Vec<f32> = (0..vocabulary)
        .map(|token| {
            // The sum of four uniform numbers is normal enough.
            let bulk = (uniform() + uniform() + uniform() + uniform() - 2.0) * spread;
            let peak = if token % (vocabulary / outstanding) == 3 { 6.0 + 6.0 * uniform() } else { 0.0 };
            (bulk + peak) as f32
        })
        .collect();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    for pair in order.windows(2) {
        if logits[pair[1]] <= logits[pair[0]] {
            logits[pair[1]] = logits[pair[0]].next_up();
        }
    }
    logits
}

fn array(logits: &[f32]) -> LlamaTokenDataArray {
    LlamaTokenDataArray::from_iter((0..).zip(logits).map(|(token, &logit)| LlamaTokenData::new(id(token), logit, 0.0)), false)
}

/// The truncating part of llama.cpp's chain, in llamero's order.
fn chain(params: &SamplingParams) -> Vec<LlamaSampler> {
    vec![
        LlamaSampler::temp(params.temperature),
        LlamaSampler::top_k(i32::try_from(params.top_k).expect("a small k")),
        LlamaSampler::top_p(params.top_p, 1),
        LlamaSampler::min_p(params.min_p, 1),
    ]
}

/// Tokens, by id, and probabilities that these samplers leave.
pub(super) fn left_by(samplers: Vec<LlamaSampler>, logits: &[f32]) -> BTreeMap<u32, f64> {
    left_by_chain(&mut LlamaSampler::chain_simple(samplers), logits)
}

/// The same, for a chain that is used again.
pub(super) fn left_by_chain(chain: &mut LlamaSampler, logits: &[f32]) -> BTreeMap<u32, f64> {
    let mut array = array(logits);
    array.apply_sampler(chain);
    let best = array.data.iter().map(LlamaTokenData::logit).fold(f32::NEG_INFINITY, f32::max);
    let weight = |data: &LlamaTokenData| (f64::from(data.logit()) - f64::from(best)).exp();
    let total: f64 = array.data.iter().map(weight).sum();
    array.data.iter().map(|data| (u32::try_from(data.id().0).expect("an id of ours"), weight(data) / total)).collect()
}

fn ours(params: &SamplingParams, prompt: &[Token], generated: &[Token], logits: &[f32]) -> BTreeMap<u32, f64> {
    let candidates = Sampler::new(params.clone(), prompt, generated).candidates(logits, &mut Scratch::default()).expect("finite logits");
    candidates.into_iter().map(|Candidate { token, probability }| (token.0, probability)).collect()
}

pub(super) fn assert_same_probabilities(ours: &BTreeMap<u32, f64>, theirs: &BTreeMap<u32, f64>, case: &str) {
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{case}");
    for ((token, ours), theirs) in ours.iter().zip(theirs.values()) {
        assert!((ours - theirs).abs() <= 1e-5 * theirs + 1e-9, "{case}: token {token} has {ours}, llama.cpp says {theirs}");
    }
}

#[test]
fn truncated_sets_and_probabilities_are_those_of_llama_cpp() {
    let mut exact = 0;
    let mut cases = 0;
    for (vocabulary, spread, outstanding) in [(60, 2.0, 3), (5_000, 0.5, 7), (5_000, 4.0, 40), (49_152, 3.0, 25), (49_152, 0.3, 2)] {
        let logits = logits(vocabulary, spread, outstanding, u64::from(vocabulary));
        for (top_k, top_p, min_p) in [
            (0, 1.0, 0.0),
            (40, 1.0, 0.0),
            (1, 0.5, 0.5),
            (0, 0.9, 0.0),
            (0, 0.99, 0.0),
            (0, 0.3, 0.0),
            (0, 1.0, 0.05),
            (40, 0.95, 0.05),
            (2_000, 0.8, 0.0),
        ] {
            for temperature in [0.3, 0.7, 1.0, 1.7] {
                let params = SamplingParams { temperature, top_k, top_p, min_p, ..SamplingParams::default() };
                let case = format!("{params:?} over {vocabulary} tokens of spread {spread}");

                let ours = ours(&params, &[], &[], &logits);
                let theirs = left_by(chain(&params), &logits);

                cases += 1;
                if ours.keys().eq(theirs.keys()) {
                    exact += 1;
                    assert_same_probabilities(&ours, &theirs, &case);
                } else {
                    // Both keep the best token; tokens that only one keeps must be within rounding of the boundary.
                    assert!(top_p < 1.0, "{case}: {} and {} tokens", ours.len(), theirs.len());
                    let (more, fewer) = if ours.len() > theirs.len() { (&ours, &theirs) } else { (&theirs, &ours) };
                    let extra: f64 = more.iter().filter(|(token, _)| !fewer.contains_key(token)).map(|(_, probability)| probability).sum();
                    assert!(fewer.keys().all(|token| more.contains_key(token)), "{case}: different tokens");
                    assert!(extra < ROUNDING, "{case}: {} and {} tokens, {extra} apart", ours.len(), theirs.len());
                }
            }
        }
    }
    assert!(exact * 10 >= cases * 9, "only {exact} of {cases} cases were equal to the last token");
}

#[test]
fn truncated_sets_on_a_real_models_logits_are_those_of_llama_cpp() {
    let Some(loaded) = loaded(KvLayout::Split) else { return };
    let mut runner = loaded.runner().unwrap();
    for (slot, text) in (0..).zip(["The capital of France is", "Once upon a time there was a", "fn main() {\n    let"]) {
        let tokens = loaded.tokenizer().encode(text, true, &SpecialText::Recognised).unwrap();
        let logits = prefill(&mut runner, slot, 0, &tokens, 128);
        for (top_k, top_p, min_p) in [(40, 1.0, 0.0), (0, 0.9, 0.0), (0, 0.5, 0.0), (0, 1.0, 0.05), (40, 0.95, 0.05)] {
            let params = SamplingParams { temperature: 0.7, top_k, top_p, min_p, ..SamplingParams::default() };

            let ours = ours(&params, &[], &[], &logits);

            assert_same_probabilities(&ours, &left_by(chain(&params), &logits), &format!("{params:?} after {text:?}"));
        }
    }
}

#[test]
fn greedy_is_llama_cpps_greedy() {
    for seed in 0..50 {
        let logits = logits(1_000, 2.0, 5, seed);
        let params = SamplingParams { temperature: 0.0, ..SamplingParams::default() };

        let choice = Sampler::new(params, &[], &[]).sample(&logits, None, &mut Scratch::default()).unwrap();

        assert_eq!(id(choice.token.0), array(&logits).sample_token_greedy(), "seed {seed}");
    }
}

#[test]
fn penalties_are_llama_cpps_when_it_is_shown_the_tokens_that_ours_count() {
    let logits = logits(300, 3.0, 10, 1);
    let prompt: Vec<Token> = [5, 6, 7, 7, 200].map(Token).to_vec();
    let generated: Vec<Token> = [3, 9, 9, 9, 7, 33, 3].map(Token).to_vec();
    let shown = |tokens: &[&[Token]]| tokens.concat().into_iter().map(|token| id(token.0)).collect::<Vec<_>>();

    // llamero counts generated tokens for presence and frequency (OpenAI), and also the prompt for repetition (HF).
    for (repetition, frequency, presence, seen) in [
        (1.0, 0.7, 0.0, shown(&[&generated])),
        (1.0, -0.4, 1.2, shown(&[&generated])),
        (1.3, 0.0, 0.0, shown(&[&prompt, &generated])),
        (0.8, 0.0, 0.0, shown(&[&prompt, &generated])),
    ] {
        let params = SamplingParams {
            repetition_penalty: repetition,
            frequency_penalty: frequency,
            presence_penalty: presence,
            ..SamplingParams::default()
        };
        let penalties = LlamaSampler::penalties(300, 64, repetition, frequency, presence).with_tokens(seen);

        let theirs = left_by(vec![penalties], &logits);

        assert_same_probabilities(&ours(&params, &prompt, &generated, &logits), &theirs, &format!("{params:?}"));
    }
}

#[test]
fn a_logit_bias_is_llama_cpps() {
    let logits = logits(300, 3.0, 10, 2);
    let params = SamplingParams { logit_bias: vec![(Token(4), 3.5), (Token(250), -99.0)], temperature: 0.6, ..SamplingParams::default() };
    let biases = [LlamaLogitBias::new(id(4), 3.5), LlamaLogitBias::new(id(250), -99.0)];

    let theirs = left_by(vec![LlamaSampler::logit_bias(300, &biases), LlamaSampler::temp(0.6)], &logits);

    assert_same_probabilities(&ours(&params, &[], &[], &logits), &theirs, "bias");
}

#[test]
fn draws_are_distributed_as_llama_cpps() {
    const DRAWS: u32 = 20_000;
    let logits = logits(60, 2.0, 6, 3);
    for (top_k, top_p, min_p) in [(0, 1.0, 0.0), (12, 1.0, 0.0), (0, 0.9, 0.0), (30, 0.95, 0.02)] {
        let params = SamplingParams { temperature: 1.5, top_k, top_p, min_p, ..SamplingParams::default() };
        let expected = left_by(chain(&params), &logits);
        let mut scratch = Scratch::default();
        let mut counts: BTreeMap<u32, [f64; 2]> = BTreeMap::new();

        for seed in 0..DRAWS {
            let params = SamplingParams { seed: u64::from(seed), ..params.clone() };
            let ours = Sampler::new(params.clone(), &[], &[]).sample(&logits, None, &mut scratch).unwrap().token.0;
            let mut samplers = chain(&params);
            samplers.push(LlamaSampler::dist(seed));
            let mut array = array(&logits);
            array.apply_sampler(&mut LlamaSampler::chain_simple(samplers));
            let theirs = u32::try_from(array.selected_token().unwrap().0).unwrap();
            counts.entry(ours).or_default()[0] += 1.0;
            counts.entry(theirs).or_default()[1] += 1.0;
        }

        assert!(counts.keys().all(|token| expected.contains_key(token)), "{params:?}: drawn outside of llama.cpp's set");
        let freedom = (expected.len() - 1) as f64;
        // The limit is five standard deviations above the mean of the statistic. The seeds are fixed, so the result
        // never varies.
        let limit = freedom + 5.0 * (2.0 * freedom).sqrt();
        let against_theirs: f64 = counts.values().map(|[ours, theirs]| (ours - theirs).powi(2) / (ours + theirs)).sum();
        let against_exact: f64 = expected
            .iter()
            .map(|(token, probability)| {
                let mean = probability * f64::from(DRAWS);
                (counts.get(token).map_or(0.0, |[ours, _]| *ours) - mean).powi(2) / mean
            })
            .sum();
        assert!(against_theirs < limit, "{params:?}: {against_theirs} against llama.cpp's draws, at most {limit}");
        assert!(against_exact < limit, "{params:?}: {against_exact} against llama.cpp's probabilities, at most {limit}");
    }
}
