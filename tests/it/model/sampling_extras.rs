//! Compares llamero's sampling with llama.cpp's own samplers on the same logits: the parameters that are llama.cpp's
//! own.
//!
//! llama.cpp's chain gets llamero's order, with temperature first.

use super::sampling::{ROUNDING, assert_same_probabilities, id, left_by, left_by_chain, logits};
use super::{loaded, model_path};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::{LlamaModel, params::LlamaModelParams};
use llama_cpp_2::sampling::LlamaSampler;
use llamero::engine::runner::Tokenizer;
use llamero::llama::LlamaTokenizer;
use llamero::protocol::{Dry, KvLayout, SamplingParams, SpecialText, Token};
use llamero::sampling::{Candidate, Pieces, Sampler, Scratch};
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// llama.cpp's chain in llamero's order.
fn chain(params: &SamplingParams) -> Vec<LlamaSampler> {
    vec![
        LlamaSampler::temp_ext(params.temperature, params.dynatemp_range, params.dynatemp_exponent),
        LlamaSampler::top_n_sigma(params.top_n_sigma),
        LlamaSampler::top_k(i32::try_from(params.top_k).expect("a small k")),
        LlamaSampler::typical(params.typical_p, 1),
        LlamaSampler::top_p(params.top_p, 1),
        LlamaSampler::min_p(params.min_p, 1),
        LlamaSampler::xtc(params.xtc_probability, params.xtc_threshold, 1, 0),
    ]
}

fn ours(params: &SamplingParams, prompt: &[Token], logits: &[f32], scratch: &mut Scratch) -> BTreeMap<u32, f64> {
    let candidates = Sampler::new(params.clone(), prompt, &[]).candidates(logits, scratch).expect("finite logits");
    candidates.into_iter().map(|Candidate { token, probability }| (token.0, probability)).collect()
}

/// The tokens that llama.cpp leaves; tokens that top_n_sigma cut remain there without probability and are dropped.
fn theirs(params: &SamplingParams, logits: &[f32]) -> BTreeMap<u32, f64> {
    left_by(chain(params), logits).into_iter().filter(|(_, probability)| *probability > 0.0).collect()
}

/// Asserts that both sets are the same or differ by the rounding of single precision at the boundary; true if they are
/// the same.
fn assert_same_set(params: &SamplingParams, logits: &[f32]) -> bool {
    let (ours, theirs) = (ours(params, &[], logits, &mut Scratch::default()), theirs(params, logits));
    if ours.keys().eq(theirs.keys()) {
        assert_same_probabilities(&ours, &theirs, &format!("{params:?}"));
        return true;
    }
    let only = |left: &BTreeMap<u32, f64>, right: &BTreeMap<u32, f64>| -> f64 {
        left.iter().filter(|(token, _)| !right.contains_key(token)).map(|(_, probability)| probability).sum()
    };
    let apart = only(&ours, &theirs) + only(&theirs, &ours);
    assert!(apart < 10.0 * ROUNDING, "{params:?}: {} and {} tokens, {apart} apart", ours.len(), theirs.len());
    false
}

#[test]
fn llama_cpps_own_truncations_leave_what_llama_cpp_leaves() {
    let off = SamplingParams::default();
    let (mut exact, mut cases) = (0, 0);
    for (vocabulary, spread, outstanding) in [(60, 2.0, 3), (5_000, 0.5, 7), (5_000, 4.0, 40), (49_152, 3.0, 25)] {
        let logits = logits(vocabulary, spread, outstanding, u64::from(vocabulary));
        for temperature in [0.7, 1.0, 1.7] {
            for params in [
                SamplingParams { top_n_sigma: 1.0, ..off.clone() },
                SamplingParams { top_n_sigma: 2.5, top_p: 0.9, ..off.clone() },
                SamplingParams { top_n_sigma: 1.5, top_k: 20, min_p: 0.1, ..off.clone() },
                SamplingParams { typical_p: 0.9, ..off.clone() },
                SamplingParams { typical_p: 0.2, ..off.clone() },
                SamplingParams { typical_p: 0.6, top_k: 40, top_p: 0.8, min_p: 0.05, ..off.clone() },
                SamplingParams { xtc_probability: 1.0, xtc_threshold: 0.02, ..off.clone() },
                SamplingParams { xtc_probability: 1.0, xtc_threshold: 0.1, top_k: 40, top_p: 0.95, ..off.clone() },
                SamplingParams { typical_p: 0.7, xtc_probability: 1.0, xtc_threshold: 0.005, ..off.clone() },
            ] {
                cases += 1;
                exact += usize::from(assert_same_set(&SamplingParams { temperature, ..params }, &logits));
            }
        }
    }
    assert!(exact * 10 >= cases * 9, "only {exact} of {cases} cases were equal to the last token");
}

#[test]
fn a_dynamic_temperature_is_llama_cpps() {
    for (vocabulary, spread, outstanding) in [(60, 2.0, 3), (5_000, 0.5, 7), (5_000, 4.0, 40)] {
        let logits = logits(vocabulary, spread, outstanding, 5);
        for (dynatemp_range, dynatemp_exponent) in [(0.5, 1.0), (0.3, 2.0), (1.5, 0.5), (1.0, 0.0)] {
            let params = SamplingParams { temperature: 0.9, dynatemp_range, dynatemp_exponent, ..SamplingParams::default() };
            let (ours, theirs) = (ours(&params, &[], &logits, &mut Scratch::default()), theirs(&params, &logits));

            for (token, theirs) in &theirs {
                // llama.cpp adds up an entropy in single precision.
                assert!((ours[token] - theirs).abs() <= 1e-3 * theirs + 1e-9, "{params:?}: {} and {theirs}", ours[token]);
            }
        }
    }
}

#[test]
fn penalties_in_a_window_are_llama_cpps() {
    let logits = logits(300, 3.0, 10, 1);
    let tokens: Vec<Token> = [5, 6, 7, 7, 200, 3, 9, 9, 9, 7, 33, 3].map(Token).to_vec();
    for last_n in [0, 1, 4, 7, 12, 64] {
        // All tokens count as generated: llama.cpp has no prompt here.
        let params = SamplingParams {
            repetition_penalty: 1.3,
            frequency_penalty: 0.4,
            presence_penalty: 0.6,
            repeat_last_n: Some(last_n),
            ..SamplingParams::default()
        };
        let shown = tokens.iter().map(|token| id(token.0));
        let penalties = LlamaSampler::penalties(300, i32::try_from(last_n).unwrap(), 1.3, 0.4, 0.6).with_tokens(shown);
        // Once one token after the other, and once all at once.
        let mut grown = Sampler::new(params.clone(), &[], &[]);
        for token in &tokens {
            let mut only = vec![f32::NEG_INFINITY; 300];
            only[token.0 as usize] = 0.0;
            assert_eq!(grown.sample(&only, None, &mut Scratch::default()).map(|choice| choice.token), Ok(*token));
        }

        let theirs = left_by(vec![penalties], &logits);

        for mut sampler in [grown, Sampler::new(params.clone(), &[], &tokens)] {
            let ours = sampler.candidates(&logits, &mut Scratch::default()).unwrap();
            let ours = ours.into_iter().map(|Candidate { token, probability }| (token.0, probability)).collect();
            assert_same_probabilities(&ours, &theirs, &format!("the last {last_n}"));
        }
    }
}

struct WrittenOut(Arc<LlamaTokenizer>);

impl Pieces for WrittenOut {
    fn piece(&self, token: Token) -> &[u8] {
        self.0.piece(token, true)
    }
}

#[test]
fn dry_is_llama_cpps_on_a_real_vocabulary() {
    const TEXT: &str = "The quick brown fox said: \"Once upon a time, a lazy dog.\"\n\nOnce upon a time there was a fox. \
        User: the quick brown fox jumps over the lazy dog and the quick brown fox jumps over the lazy dog and\nthe quick brown fox \
        jumps over a **lazy dog** and over the lazy dog and the quick brown";
    let (Some(loaded), Some(path)) = (loaded(KvLayout::Split), model_path()) else { return };
    // Loading has initialised the backend, and dropping this must not undo that for the other tests.
    let backend = ManuallyDrop::new(LlamaBackend {});
    let model = LlamaModel::load_from_file(&backend, path, &LlamaModelParams::default().with_vocab_only(true)).unwrap();
    let tokenizer = loaded.tokenizer();
    let tokens = tokenizer.encode(TEXT, false, &SpecialText::Plain).unwrap();
    let mut scratch = Scratch::new(Arc::new(WrittenOut(Arc::clone(&tokenizer))));
    let logits = logits(tokenizer.vocabulary_size(), 1.0, 20, 8);

    let unpenalized = left_by(vec![], &logits);
    let mut penalized = 0;
    for breakers in [&[][..], &["\n", ":", "\"", "*"], &["lazy dog", "\n\n"], &["said: \"Once", "x"]] {
        for (allowed_length, last_n) in [(2, 1000), (1, 1000), (2, 20), (4, 37), (2, 1)] {
            let dry = Dry {
                multiplier: 0.8,
                base: 1.75,
                allowed_length,
                penalty_last_n: Some(last_n),
                sequence_breakers: breakers.iter().map(|&breaker| breaker.to_owned()).collect(),
            };
            let (allowed_length, last_n) = (i32::try_from(allowed_length).unwrap(), i32::try_from(last_n).unwrap());
            let mut chain = LlamaSampler::chain_simple([LlamaSampler::dry(&model, 0.8, 1.75, allowed_length, last_n, breakers)]);
            let params = SamplingParams { dry: Some(dry), ..SamplingParams::default() };
            for (at, token) in tokens.iter().enumerate() {
                chain.accept(id(token.0));
                if at % 4 > 0 {
                    continue;
                }
                let (ours, theirs) = (ours(&params, &tokens[..=at], &logits, &mut scratch), left_by_chain(&mut chain, &logits));

                assert_same_probabilities(&ours, &theirs, &format!("{params:?} after {at} tokens and another"));
                penalized += usize::from(theirs != unpenalized);
            }
        }
    }
    assert!(penalized > 50, "only {penalized} cases had something to penalize");
}
