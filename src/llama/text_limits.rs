//! Limits for texts that llama.cpp's pre-tokenizer survives, and in seconds: limits on runs without a break and on
//! parts.
//!
//! BPE vocabularies cut a text into words by regular expressions. llama.cpp has hand-written splitters for some of them
//! and runs the others through `std::regex`, which recurses once per character that a loop matches: a word of
//! sufficient length overflows the stack, and nothing can catch that. So every text is checked before.
//!
//! Measured on x86-64 Linux with llama.cpp's `unicode_regex_split` (of llama-cpp-sys-2 0.1.161, GCC, -O2), on twelve of
//! its regular expressions and fifteen kinds of text (letters, digits, spaces, newlines, punctuation, emoji, CJK,
//! accents, mixtures): **323 bytes of stack per character** at worst, the same for all expressions that recurse, so
//! 831,000 characters on a stack of 256 MiB. Time is linear (200,000 characters: 0.03–0.4 s) except for two
//! expressions, see below.
//!
//! The default model (SmolLM2, a hand-written splitter, no recursion) takes for 2 MB of one thing through `encode`:
//! digits 0.4 s, words 0.4 s, `A` 1.5 s, spaces 2.3 s, newlines 1.4 s, `!` 1.3 s, emoji 0.4 s, CJK 0.8 s, `<` 1.2 s,
//! special tokens 0.03 s, `a<|im_end|>` 4.3 s. All these are linear except the sorting of merges within a word.

use crate::protocol::TextError;
use std::collections::HashSet;

/// Stack of a thread that calls `encode` of a [`super::LlamaTokenizer`], bytes. Unused pages of it cost nothing.
pub const TOKENIZER_STACK_BYTES: usize = 256 << 20;

/// Worst case that was measured, see the module's header.
const STACK_BYTES_PER_CHARACTER: usize = 323;

/// Longest run for vocabularies whose expressions recurse, characters. Two neighbouring runs may be matched in one go
/// (punctuation and then newlines), so this is half of the stack's capacity, less a quarter for other compilers.
const MAX_RUN: u64 = 300_000;

/// Longest run for `\s+$`, which takes quadratic time: 200,000 spaces take minutes, 2 MB in runs of 4,000 take 1.3 s.
const MAX_QUADRATIC_RUN: u64 = 4_000;

/// Longest run of characters that a SentencePiece vocabulary can only spell as bytes (newlines, nearly all emoji).
/// llama.cpp reserves exactly enough room for each (`llm_tokenizer_spm_session::resegment`), which copies all tokens so
/// far each time: 2 MB of newlines take many minutes. Any token in between doubles the room and ends that; so only long
/// runs matter.
const MAX_UNKNOWN_RUN: u64 = 1_000;

/// Texts of at most this size take a second even if they consist of unknown characters only.
const SHORT_TEXT_BYTES: u64 = 64 << 10;

/// Maximum number of parts between special tokens, for vocabularies whose expressions go through `std::regex`.
/// llama.cpp compiles the expressions anew for each part (0.2 ms for DeepSeek's, 0.7 ms for GPT-4o's), so 2 MB of
/// `a<|im_end|>` would take two minutes. The limit is twice the parts of a chat of 2,048 messages. With hand-written
/// splitters that text takes 4 s and needs no limit.
const MAX_PARTS: u64 = 8_192;

/// More text than any request may hold (frames are limited to 16 MiB); llama.cpp counts bytes in an `int32_t`.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// `tokenizer.ggml.model` of vocabularies that use no regular expressions, besides SentencePiece's.
const WITHOUT_REGEX: [&str; 4] = ["t5", "rwkv", "plamo2", "bert"];

/// `tokenizer.ggml.pre` of BPE vocabularies for which llama.cpp has hand-written splitters
/// (`unicode_regex_split_custom`), beside which they use only single-character expressions. One row each for GPT-2's
/// expression, the same after single digits, Llama 3's, Qwen 2's and 3.5's, Kimi's. A kind that is not listed counts as
/// recursive.
const HAND_WRITTEN: &str = "
    gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en jina-v2-code
        roberta-bpe exaone4 mpt olmo jais trillion granite-docling
    starcoder refact command-r smollm codeshell exaone minerva-7b mellum2
    llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 dbrx smaug-bpe chatglm-bpe glm4 glm5
    qwen2 deepseek-r1-qwen kormo megrez stablelm2 hunyuan solar-open grok-2 qwen35
    kimi-k2";

/// True for vocabularies that no limit on runs makes safe: `(?=(\d{3})+(?!\d))` took more than 20 s for 2 MB even in
/// runs of 500 digits.
pub(super) fn is_hopeless(pre: &str) -> bool {
    pre == "superbpe"
}

/// The limits of a vocabulary's tokenizer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TextLimit {
    /// Any text is allowed.
    None,
    /// Maximum length, characters, of runs without white space and of runs of white space.
    Runs(u64),
    /// Maximum length, characters, of lines: the expression matches across spaces.
    Lines(u64),
    /// Characters that are tokens by themselves. Long texts must have no long runs of other characters.
    Known(HashSet<char>),
}

impl TextLimit {
    /// The limit for `tokenizer.ggml.model` and `tokenizer.ggml.pre` of the file. `texts` are those of the tokens.
    pub(super) fn of_model<'a>(kind: &str, pre: &str, texts: impl Iterator<Item = &'a str>) -> Self {
        match (kind, pre) {
            ("llama", _) => Self::Known(texts.filter_map(single_character).collect()),
            _ if WITHOUT_REGEX.contains(&kind) => Self::None,
            _ if HAND_WRITTEN.split_ascii_whitespace().any(|name| name == pre) => Self::None,
            (_, "exaone-moe") => Self::Lines(MAX_RUN),
            (_, "deepseek-llm") => Self::Runs(MAX_QUADRATIC_RUN),
            _ => Self::Runs(MAX_RUN),
        }
    }

    /// Checks a text in one pass.
    ///
    /// # Errors
    /// `RunTooLong`.
    pub(super) fn check(&self, text: &str) -> Result<(), TextError> {
        let bytes = text.len() as u64;
        let (len, max) = match self {
            _ if bytes > MAX_TEXT_BYTES => (bytes, MAX_TEXT_BYTES),
            Self::None => return Ok(()),
            Self::Known(_) if bytes <= SHORT_TEXT_BYTES => return Ok(()),
            Self::Known(known) => (longest(text.split(|character| known.contains(&character))), MAX_UNKNOWN_RUN),
            Self::Runs(max) => (longest_run(text), *max),
            Self::Lines(max) => (longest(text.lines()), *max),
        };
        if len > max { Err(TextError::RunTooLong { len, max }) } else { Ok(()) }
    }

    /// Checks the number of texts between special tokens.
    ///
    /// # Errors
    /// `TooManyParts`.
    pub(super) fn check_parts(&self, parts: usize) -> Result<(), TextError> {
        let expensive = matches!(self, Self::Runs(_) | Self::Lines(_));
        let parts = parts as u64;
        if expensive && parts > MAX_PARTS { Err(TextError::TooManyParts { parts, max: MAX_PARTS }) } else { Ok(()) }
    }
}

/// The character that a token consists of, if it is a single one; SentencePiece writes a space as U+2581.
fn single_character(text: &str) -> Option<char> {
    let mut characters = text.chars();
    let first = characters.next()?;
    characters.next().is_none().then_some(if first == '\u{2581}' { ' ' } else { first })
}

/// Number of characters of the longest piece.
fn longest<'t>(pieces: impl Iterator<Item = &'t str>) -> u64 {
    pieces.map(|piece| piece.chars().count() as u64).max().unwrap_or(0)
}

/// Number of characters of the longest run that is all white space or has none.
fn longest_run(text: &str) -> u64 {
    let (mut longest, mut run, mut in_space) = (0, 0, false);
    for character in text.chars() {
        let is_space = character.is_whitespace();
        run = if is_space == in_space { run + 1 } else { 1 };
        in_space = is_space;
        longest = longest.max(run);
    }
    longest
}

/// Two neighbouring runs fit on the stack, with a quarter to spare.
const _: () = assert!(2 * MAX_RUN as usize * STACK_BYTES_PER_CHARACTER <= TOKENIZER_STACK_BYTES / 4 * 3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_run_is_counted_in_characters_of_either_kind() {
        assert_eq!(longest_run(""), 0);
        assert_eq!(longest_run("ab cde f"), 3);
        assert_eq!(longest_run("a    b"), 4);
        assert_eq!(longest_run("éé😀中 x\n\t"), 4);
        assert_eq!(longest_run("\n\n\nab"), 3);
    }

    #[test]
    fn a_run_at_the_limit_passes_and_one_character_more_does_not() {
        let limit = TextLimit::Runs(5);

        assert_eq!(limit.check("12345 67890"), Ok(()));
        assert_eq!(limit.check("12345 678901"), Err(TextError::RunTooLong { len: 6, max: 5 }));
        assert_eq!(limit.check("1      2"), Err(TextError::RunTooLong { len: 6, max: 5 }));
    }

    #[test]
    fn a_line_limit_counts_across_spaces() {
        assert_eq!(TextLimit::Lines(5).check("a b c\nd e f"), Ok(()));
        assert_eq!(TextLimit::Lines(5).check("a b c d"), Err(TextError::RunTooLong { len: 7, max: 5 }));
    }

    #[test]
    fn parts_are_limited_only_where_each_is_expensive() {
        let (most, more) = (usize::try_from(MAX_PARTS).unwrap(), usize::try_from(MAX_PARTS + 1).unwrap());

        assert_eq!(TextLimit::Runs(5).check_parts(most), Ok(()));
        assert_eq!(TextLimit::Runs(5).check_parts(more), Err(TextError::TooManyParts { parts: MAX_PARTS + 1, max: MAX_PARTS }));
        assert_eq!(TextLimit::None.check_parts(more), Ok(()));
    }

    #[test]
    fn only_known_vocabularies_are_free_of_a_limit() {
        let of_model = |kind, pre| TextLimit::of_model(kind, pre, std::iter::empty());
        assert_eq!(of_model("t5", ""), TextLimit::None);
        assert_eq!(of_model("gpt2", "smollm"), TextLimit::None);
        assert_eq!(of_model("gpt2", "llama-bpe"), TextLimit::None);
        assert_eq!(of_model("gpt2", "gpt-4o"), TextLimit::Runs(MAX_RUN));
        assert_eq!(of_model("gpt2", "something-new"), TextLimit::Runs(MAX_RUN));
        assert_eq!(of_model("gpt2", "deepseek-llm"), TextLimit::Runs(MAX_QUADRATIC_RUN));
        assert_eq!(of_model("gpt2", "exaone-moe"), TextLimit::Lines(MAX_RUN));
    }

    #[test]
    fn long_runs_of_unknown_characters_are_refused_in_long_texts_only() {
        let limit = TextLimit::of_model("llama", "", ["a", "\u{2581}", "ab", "<0x0A>"].into_iter());
        let unknown = |count: u64| "\n".repeat(usize::try_from(count).unwrap());
        let padding = "a ".repeat(40_000);

        assert_eq!(limit.check(&unknown(SHORT_TEXT_BYTES)), Ok(()));
        assert_eq!(limit.check(&format!("{padding}{}{padding}", unknown(MAX_UNKNOWN_RUN))), Ok(()));
        let refused = Err(TextError::RunTooLong { len: MAX_UNKNOWN_RUN + 1, max: MAX_UNKNOWN_RUN });
        assert_eq!(limit.check(&format!("{padding}{}", unknown(MAX_UNKNOWN_RUN + 1))), refused);
    }

    #[test]
    fn even_a_vocabulary_without_a_limit_refuses_what_no_request_can_hold() {
        let text = "a ".repeat(33 << 20);

        assert!(matches!(TextLimit::None.check(&text), Err(TextError::RunTooLong { .. })));
    }
}
