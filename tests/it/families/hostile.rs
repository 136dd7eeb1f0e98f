//! Large texts of control tokens and their pieces take about linear time, also on the stack that the engine gives
//! tokenizers.

use super::*;
use crate::support::assert_linear;

/// The order of the largest text that a request may have by default, bytes.
const LARGE: usize = 2_000_000;

/// Encodes `unit` repeated to `bytes`, or gets it refused, in linear time.
fn encode(family: &Family, unit: &str, bytes: usize, special: impl Fn(&str) -> SpecialText) {
    let kind = name(&special(unit));
    let what = format!("{}: bytes of {unit:?}, {kind}", family.info.name);
    let tokens = assert_linear(&what, bytes, |bytes| {
        let text = unit.repeat(bytes / unit.len());
        family.tokenizer.encode(&text, true, &special(&text))
    });
    if let Ok(tokens) = tokens
        && special(unit) == SpecialText::Plain
    {
        let bos = usize::from(family.info.adds_bos);
        let first = &tokens[bos..tokens.len().min(10_000)];
        assert_eq!(family.controls(first), Vec::<String>::new(), "{what}");
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
fn two_megabytes_of_control_tokens_in_a_users_words_take_linear_time() {
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
            encode(family(name), unit, LARGE, |_| SpecialText::Plain);
        }
    });
}

#[test]
fn a_megabyte_of_one_control_token_takes_linear_time_however_it_is_read() {
    on_a_tokenizers_stack(|| {
        for (name, unit) in [("llama2-reachable", "<s>"), ("llama3-like", "<|eot_id|>"), ("gpt-oss-like", "<|start|>")] {
            megabyte(family(name), unit);
        }
        // With another pre-tokenizer, which has no limit on runs: llama.cpp would walk its list of fragments for each
        // token.
        megabyte(&Family::of(gguf::gpt_oss_like().with("tokenizer.ggml.pre", "llama-bpe")), "<|start|>");
    });
}

fn megabyte(family: &Family, unit: &str) {
    let every = |text: &str| SpecialText::RecognisedOutside((0..=u32::try_from(text.len()).unwrap()).collect());
    encode(family, unit, LARGE / 2, |_| SpecialText::Recognised);
    encode(family, unit, LARGE / 2, |_| SpecialText::Plain);
    encode(family, unit, LARGE / 2, every);
}
