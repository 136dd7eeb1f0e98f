//! One toy of each model family: its control tokens in the order of their real ids, and its metadata as llama.cpp's
//! converter writes it.
//!
//! Between the control tokens are a few words of our own, so ids are smaller than the real ones.

use super::{
    Toy,
    templates::{CHATML, GEMMA, LLAMA_2, LLAMA_3, MISTRAL_TEKKEN, MISTRAL_V3},
    vocabulary::{
        Kind::{Control, Unknown, UserDefined},
        SPACE, Vocabulary,
    },
};

/// `<unk> <s> </s>`, the beginning of every SentencePiece vocabulary of the Llama line.
const SENTENCEPIECE_FIRST: [(&str, super::Kind); 3] = [("<unk>", Unknown), ("<s>", Control), ("</s>", Control)];

/// Llama 2: SentencePiece with byte tokens, BOS and a space in front, `</s>` at the end. Its `[INST]` is text, not a
/// token.
pub(crate) fn llama2_like() -> Toy {
    sentencepiece("llama2-like", &SENTENCEPIECE_FIRST, &[], false).with("tokenizer.chat_template", LLAMA_2)
}

/// Llama 2's, but with merges that lead to control tokens: `<s>` and the others would become tokens if written in a
/// prompt.
pub(crate) fn llama2_reachable() -> Toy {
    sentencepiece("llama2-reachable", &SENTENCEPIECE_FIRST, &[], true).with("tokenizer.chat_template", LLAMA_2)
}

/// CodeLlama: Llama 2's vocabulary and the four tokens for filling in the middle, 32007 to 32010 in the real model.
pub(crate) fn codellama_like() -> Toy {
    codellama("codellama-like", Control, false).with_ids(&[("prefix", PRE), ("suffix", SUF), ("middle", MID), ("eot", EOT)])
}

/// CodeLlama whose file names none of the four by id, and with merges that lead to them: `▁` + `<PRE>` is ` <PRE>` in
/// any text.
pub(crate) fn codellama_reachable() -> Toy {
    codellama("codellama-reachable", Control, true)
}

/// CodeLlama whose four tokens are marked as words that a user may write, as by a converter that reads SentencePiece's
/// own kinds.
pub(crate) fn codellama_user_defined() -> Toy {
    codellama("codellama-user-defined", UserDefined, false).with_ids(&[("prefix", PRE), ("suffix", SUF), ("middle", MID), ("eot", EOT)])
}

const PRE: &str = "\u{2581}<PRE>";
const SUF: &str = "\u{2581}<SUF>";
const MID: &str = "\u{2581}<MID>";
const EOT: &str = "\u{2581}<EOT>";

fn codellama(name: &str, kind: super::Kind, reachable: bool) -> Toy {
    let last = [PRE, SUF, MID, EOT].map(|text| (text, kind));
    sentencepiece(name, &SENTENCEPIECE_FIRST, &last, reachable).with("tokenizer.chat_template", LLAMA_2)
}

/// Mistral 7B v0.3: SentencePiece with control tokens for instructions and tools before the bytes.
pub(crate) fn mistral_v3_like() -> Toy {
    mistral_v3("mistral-v3-like", false)
}

/// Mistral's, but with merges that lead to control tokens.
pub(crate) fn mistral_v3_reachable() -> Toy {
    mistral_v3("mistral-v3-reachable", true)
}

const MISTRAL_TOOLS: [&str; 7] =
    ["[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"];

fn mistral_v3(name: &str, reachable: bool) -> Toy {
    let first = [SENTENCEPIECE_FIRST.as_slice(), &MISTRAL_TOOLS.map(|text| (text, Control))].concat();
    sentencepiece(name, &first, &[], reachable).with("tokenizer.chat_template", MISTRAL_V3)
}

fn sentencepiece(name: &str, first: &[(&str, super::Kind)], last: &[(&str, super::Kind)], reachable: bool) -> Toy {
    debug_assert!(last.iter().all(|(text, _)| text.starts_with(SPACE)));
    Toy::new(name, "llama", Vocabulary::sentencepiece(first, last, reachable))
        .with_ids(&[("bos", "<s>"), ("eos", "</s>"), ("unknown", "<unk>")])
        .with("tokenizer.ggml.add_bos_token", true)
        .with("tokenizer.ggml.add_eos_token", false)
}

/// Gemma 2: SentencePiece without a space in front, with its first tokens in another order, and runs of newlines and of
/// spaces as words.
pub(crate) fn gemma_like() -> Toy {
    let runs: Vec<String> = ["\n", " "].iter().flat_map(|unit| (1..32).map(|count| unit.repeat(count))).filter(|run| run != " ").collect();
    let controls = ["<pad>", "<eos>", "<bos>"].map(|text| (text, Control));
    let turns = ["<start_of_turn>", "<end_of_turn>"].map(|text| (text, Control));
    let first = [controls.as_slice(), &[("<unk>", Unknown), ("<mask>", Control)], &turns].concat();
    let runs: Vec<_> = runs.iter().map(|run| (run.as_str(), UserDefined)).collect();
    Toy::new("gemma-like", "llama", Vocabulary::sentencepiece(&[first, runs].concat(), &[], false))
        .with_ids(&[("bos", "<bos>"), ("eos", "<eos>"), ("unknown", "<unk>"), ("padding", "<pad>")])
        .with("tokenizer.ggml.add_bos_token", true)
        .with("tokenizer.ggml.add_space_prefix", false)
        .with("tokenizer.chat_template", GEMMA)
}

/// Mistral Nemo: byte pairs with the pre-tokenizer Tekken, control tokens first.
pub(crate) fn tekken_like() -> Toy {
    let tools = ["[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]"];
    let rest = ["<pad>", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "<SPECIAL_14>", "<SPECIAL_15>"];
    let controls: Vec<_> = tools.iter().chain(&rest).map(|text| (*text, Control)).collect();
    let first = [SENTENCEPIECE_FIRST.as_slice(), &controls].concat();
    Toy::new("tekken-like", "gpt2", Vocabulary::byte_pairs(&first, &[]))
        .with("tokenizer.ggml.pre", "tekken")
        .with_ids(&[("bos", "<s>"), ("eos", "</s>"), ("unknown", "<unk>")])
        .with("tokenizer.ggml.add_bos_token", true)
        .with("tokenizer.chat_template", MISTRAL_TEKKEN)
}

/// Llama 3.1: byte pairs, whole words before merges, control tokens last. The file does not tell that BOS goes in
/// front; llama.cpp knows it.
pub(crate) fn llama3_like() -> Toy {
    let last = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|reserved_special_token_0|>",
        "<|reserved_special_token_1|>",
        "<|finetune_right_pad_id|>",
        "<|reserved_special_token_2|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
        "<|reserved_special_token_3|>",
    ];
    Toy::new("llama3-like", "gpt2", Vocabulary::byte_pairs(&[], &last.map(|text| (text, Control))))
        .with("tokenizer.ggml.pre", "llama-bpe")
        .with_ids(&[("bos", "<|begin_of_text|>"), ("eos", "<|eot_id|>")])
        .with("tokenizer.chat_template", LLAMA_3)
}

/// Qwen 2.5 Coder and Qwen 3: byte pairs without BOS. ChatML's tokens are control tokens; those of tools, thoughts and
/// filling in the middle are marked as words.
pub(crate) fn qwen_like() -> Toy {
    let last = [
        ("<|endoftext|>", Control),
        ("<|im_start|>", Control),
        ("<|im_end|>", Control),
        ("<tool_call>", UserDefined),
        ("</tool_call>", UserDefined),
        ("<|fim_prefix|>", UserDefined),
        ("<|fim_middle|>", UserDefined),
        ("<|fim_suffix|>", UserDefined),
        ("<|fim_pad|>", UserDefined),
        ("<|repo_name|>", UserDefined),
        ("<|file_sep|>", UserDefined),
        ("<tool_response>", UserDefined),
        ("</tool_response>", UserDefined),
        ("<think>", UserDefined),
        ("</think>", UserDefined),
    ];
    Toy::new("qwen-like", "gpt2", Vocabulary::byte_pairs(&[], &last))
        .with("tokenizer.ggml.pre", "qwen2")
        .with_ids(&[("bos", "<|endoftext|>"), ("eos", "<|im_end|>"), ("padding", "<|endoftext|>")])
        .with("tokenizer.ggml.add_bos_token", false)
        .with("tokenizer.chat_template", CHATML)
}

/// gpt-oss: with the channel tokens, which llama.cpp turns from control tokens into user-defined ones.
pub(crate) fn gpt_oss_like() -> Toy {
    let last = [
        "<|startoftext|>",
        "<|endoftext|>",
        "<|return|>",
        "<|constrain|>",
        "<|channel|>",
        "<|start|>",
        "<|end|>",
        "<|message|>",
        "<|call|>",
    ];
    Toy::new("gpt-oss-like", "gpt2", Vocabulary::byte_pairs(&[], &last.map(|text| (text, Control))))
        .with("tokenizer.ggml.pre", "gpt-4o")
        .with_ids(&[("bos", "<|startoftext|>"), ("eos", "<|return|>"), ("padding", "<|endoftext|>")])
        .with("tokenizer.ggml.add_bos_token", false)
}
