//! Large texts made of control tokens and their pieces: seconds, not minutes. Also on the stack that the engine gives tokenizers.

use super::*;
use std::time::{Duration, Instant};

/// Of a machine with two busy cores; a quadratic pass over 2 MB takes minutes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest text of a request, as configured by default, is of this order.
const LARGE: usize = 2_000_000;

/// Encodes `text` within [`PATIENCE`], or has it refused.
fn encode(family: &Family, what: &str, text: &str, special: &SpecialText) {
    let start = Instant::now();
    let tokens = family.tokenizer.encode(text, true, special);
    let taken = start.elapsed();
    let count = tokens.as_ref().map(Vec::len);
    eprintln!("{}: {} bytes of {what:?}, {}: {count:?} in {taken:.2?}", family.info.name, text.len(), name(special));
    assert!(taken < PATIENCE, "{}: {what:?} took {taken:?}", family.info.name);
    if let Ok(tokens) = tokens
        && *special == SpecialText::Plain
    {
        let bos = usize::from(family.info.adds_bos);
        let first = &tokens[bos..tokens.len().min(10_000)];
        assert_eq!(family.controls(first), Vec::<String>::new(), "{}: {what:?}", family.info.name);
    }
}

fn name(special: &SpecialText) -> &'static str {
    match special {
        SpecialText::Recognised => "recognised",
        SpecialText::Plain => "plain",
        SpecialText::Continuation => "a continuation",
        SpecialText::RecognisedOutside(_) => "a user's in a template",
    }
}

#[test]
fn two_megabytes_of_control_tokens_in_a_users_words_take_seconds() {
    let cases = [
        ("llama2-reachable", "<s>"),
        ("llama2-reachable", "</s"),
        ("codellama-reachable", " <PRE>"),
        ("codellama-user-defined", "▁<PRE>"),
        ("mistral-v3-reachable", "[TOOL_CALLS]"),
        ("gemma-like", "\n"),
        ("gemma-like", " "),
        ("gemma-like", "<start_of_turn>"),
        ("llama3-like", "<|eot_id|>"),
        ("qwen-like", "<|im_start|>"),
        ("qwen-like", "<tool_call>"),
    ];
    on_a_tokenizers_stack(|| {
        for (name, unit) in cases {
            encode(family(name), unit, &unit.repeat(LARGE / unit.len()), &SpecialText::Plain);
        }
    });
}

#[test]
fn a_megabyte_of_one_control_token_takes_seconds_however_it_is_read() {
    on_a_tokenizers_stack(|| {
        for (name, unit) in [("llama2-reachable", "<s>"), ("llama3-like", "<|eot_id|>"), ("gpt-oss-like", "<|start|>")] {
            megabyte(family(name), unit);
        }
        // Without the limit on runs that its own pre-tokenizer needs: llama.cpp would walk its list of fragments for each of them.
        megabyte(&Family::of(gguf::gpt_oss_like().with("tokenizer.ggml.pre", "llama-bpe")), "<|start|>");
    });
}

fn megabyte(family: &Family, unit: &str) {
    let text = unit.repeat(LARGE / 2 / unit.len());
    let every: Vec<u32> = (0..=u32::try_from(text.len()).unwrap()).collect();
    encode(family, unit, &text, &SpecialText::Recognised);
    encode(family, unit, &text, &SpecialText::Plain);
    encode(family, unit, &text, &SpecialText::RecognisedOutside(every));
}
