//! Measures by quantization how much other sequences, the cache and a replay change seeded texts: on a small model with
//! random weights, which llama.cpp itself quantizes here. Needs no model file.
//!
//! llama.cpp chooses kernels by the number of rows: for several rows it multiplies some types, and computes attention,
//! in blocks, which add up in another order than for one row. The processor decides which types these are, so the
//! bounds are those of the worst type.

#![expect(unsafe_code, reason = "llama-cpp-2 has no safe function that quantizes a file")]

use super::{prefill, rows};
use crate::support::gguf;
use llamero::{
    engine::runner::{KvOp, ModelRunner, Slot, Step},
    llama::{LlamaRunner, load_generating},
    protocol::{EngineOptions, SamplingParams, Token},
    sampling::{Sampler, Scratch},
};
use std::{ffi::CString, path::Path};
use tempfile::TempPath;

const PROMPTS: usize = 40;
const TOKENS: usize = 16;
/// Minimum number of equal texts. On AMD Zen 3 it was 36 of 40 in the worst case; other processors have other kernels.
const EQUAL_AT_LEAST: usize = 32;
/// Maximum difference of logits, which are about −10 to 10.
const EPSILON: f32 = 0.5;

/// Name and number of a quantization (`llama_ftype`, `llama.h`).
const QUANTIZATIONS: [(&str, llama_cpp_sys_2::llama_ftype); 7] = [
    ("F16", llama_cpp_sys_2::LLAMA_FTYPE_MOSTLY_F16),
    ("Q4_0", llama_cpp_sys_2::LLAMA_FTYPE_MOSTLY_Q4_0),
    ("Q4_1", llama_cpp_sys_2::LLAMA_FTYPE_MOSTLY_Q4_1),
    ("Q8_0", llama_cpp_sys_2::LLAMA_FTYPE_MOSTLY_Q8_0),
    ("Q4_K_M", llama_cpp_sys_2::LLAMA_FTYPE_MOSTLY_Q4_K_M),
    ("Q5_K_M", llama_cpp_sys_2::LLAMA_FTYPE_MOSTLY_Q5_K_M),
    ("Q6_K", llama_cpp_sys_2::LLAMA_FTYPE_MOSTLY_Q6_K),
];

fn quantized(source: &Path, file_type: llama_cpp_sys_2::llama_ftype) -> TempPath {
    let target = tempfile::Builder::new().prefix("toy-").suffix(".gguf").tempfile().unwrap().into_temp_path();
    let [from, to] = [source, &target].map(|path| CString::new(path.to_str().unwrap()).unwrap());
    // SAFETY: a plain struct by value; both paths are NUL-terminated and live until the call returns.
    let failed = unsafe {
        let mut params = llama_cpp_sys_2::llama_model_quantize_default_params();
        params.ftype = file_type;
        params.nthread = 1;
        llama_cpp_sys_2::llama_model_quantize(from.as_ptr(), to.as_ptr(), &raw const params)
    };
    assert_eq!(failed, 0, "llama.cpp could not quantize a toy");
    target
}

/// A text, with the logits from which each of its tokens was drawn.
struct Text {
    tokens: Vec<Token>,
    logits: Vec<Vec<f32>>,
}

fn prompt(number: usize) -> Vec<Token> {
    (0..3 + number % 9).map(|at| Token(u32::try_from((number * 31 + at * 17) % 250).unwrap())).collect()
}

/// The way in which texts are computed.
#[derive(Clone, Copy)]
struct Manner {
    /// Number of sequences at a time.
    together: usize,
    /// True if the last token of a prompt has a step of its own, as after a prompt that was cached.
    cached: bool,
    /// Number of tokens after which the whole is computed from the start, as after the death of an engine.
    replayed_after: usize,
}

const ALONE: Manner = Manner { together: 1, cached: false, replayed_after: usize::MAX };

fn texts(runner: &mut LlamaRunner<'_>, manner: Manner) -> Vec<Text> {
    let numbers: Vec<usize> = (0..PROMPTS).collect();
    numbers.chunks(manner.together).flat_map(|numbers| side_by_side(runner, numbers, manner)).collect()
}

fn side_by_side(runner: &mut LlamaRunner<'_>, numbers: &[usize], manner: Manner) -> Vec<Text> {
    let slots = 0..u32::try_from(numbers.len()).unwrap();
    let mut scratch = Scratch::default();
    let seeded = |number: usize| SamplingParams { temperature: 0.8, seed: number as u64, ..SamplingParams::default() };
    let mut samplers: Vec<Sampler> = numbers.iter().map(|&number| Sampler::new(seeded(number), &[], &[])).collect();
    let mut held: Vec<Vec<Token>> = numbers.iter().map(|&number| prompt(number)).collect();
    let mut texts: Vec<Text> = numbers.iter().map(|_| Text { tokens: Vec::new(), logits: Vec::new() }).collect();
    let begin = |runner: &mut LlamaRunner<'_>, slot: u32, tokens: &[Token]| {
        let whole = tokens.len() - usize::from(manner.cached);
        let first = prefill(runner, slot, 0, &tokens[..whole], 64);
        if manner.cached { prefill(runner, slot, u32::try_from(whole).unwrap(), &tokens[whole..], 1) } else { first }
    };
    let mut next: Vec<Vec<f32>> = slots.clone().map(|slot| begin(runner, slot, &held[slot as usize])).collect();
    for count in 1..=TOKENS {
        for (index, logits) in next.iter().enumerate() {
            let token = samplers[index].sample(logits, None, &mut scratch).unwrap().token;
            held[index].push(token);
            texts[index].tokens.push(token);
            texts[index].logits.push(logits.clone());
        }
        if count == manner.replayed_after {
            clear(runner, slots.clone());
            next = slots.clone().map(|slot| prefill(runner, slot, 0, &held[slot as usize], 64)).collect();
        } else {
            let last = |slot: u32| (slot, held[slot as usize].split_last().unwrap());
            let step =
                slots.clone().map(last).flat_map(|(slot, (token, before))| rows(slot, u32::try_from(before.len()).unwrap(), &[*token]));
            runner.execute(&Step { kv: Vec::new(), rows: step.collect() }).unwrap();
            next = (0..numbers.len()).map(|row| runner.logits(row).unwrap().to_vec()).collect();
        }
    }
    clear(runner, slots);
    texts
}

fn clear(runner: &mut LlamaRunner<'_>, slots: std::ops::Range<u32>) {
    let kv = slots.map(|slot| KvOp::Truncate { slot: Slot(slot), keep: 0 }).collect();
    runner.execute(&Step { kv, rows: Vec::new() }).unwrap();
}

/// The number of equal texts, and the largest difference of logits while the texts are equal.
fn compare(expected: &[Text], found: &[Text]) -> (usize, f32) {
    let mut worst = 0.0_f32;
    for (a, b) in expected.iter().zip(found) {
        let common = a.tokens.iter().zip(&b.tokens).take_while(|(a, b)| a == b).count();
        for (a, b) in a.logits.iter().zip(&b.logits).take(common + 1) {
            worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
        }
    }
    (expected.iter().zip(found).filter(|(a, b)| a.tokens == b.tokens).count(), worst)
}

#[test]
fn seeded_texts_of_every_quantization_hardly_depend_on_company_the_cache_and_a_replay() {
    let source = gguf::llama3_like().wide().write();
    // This load initialises llama.cpp before it is asked to quantize.
    drop(load_generating(&gguf::engine_options(&source), |_| {}).unwrap_or_else(|error| panic!("{error}")));
    for (name, file_type) in QUANTIZATIONS {
        let file = quantized(&source, file_type);
        let options = EngineOptions { max_num_seqs: Some(20), ..gguf::engine_options(&file) };
        let loaded = load_generating(&options, |_| {}).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut runner = loaded.runner().unwrap();
        let expected = texts(&mut runner, ALONE);
        for (case, manner) in [
            ("again", ALONE),
            ("beside 3", Manner { together: 4, ..ALONE }),
            ("beside 19", Manner { together: 20, ..ALONE }),
            ("cached", Manner { cached: true, ..ALONE }),
            ("replayed", Manner { replayed_after: TOKENS / 2, ..ALONE }),
        ] {
            let (equal, worst) = compare(&expected, &texts(&mut runner, manner));

            println!("{name:<8} {case:<10} {equal} of {PROMPTS} equal, logits at most {worst:.4} apart");
            assert!(equal >= EQUAL_AT_LEAST, "{name}, {case}: only {equal} of {PROMPTS} texts are equal");
            assert!(worst < EPSILON, "{name}, {case}: logits are {worst} apart");
            assert!(case != "again" || (equal == PROMPTS && worst == 0.0), "{name}: the same steps give other logits");
        }
    }
}
