//! Vocabularies of the two kinds that nearly all models have, made from a list of words: SentencePiece and byte-pair
//! encoding.
//!
//! They are realistic in kind, not in size: a word of the list is one token, and all other text becomes letters or
//! bytes.

use super::Value;
use std::collections::HashMap;

/// Words that are one token each, with a space in front and without (the last few only with).
const WORDS: &str = "Hello world the quick brown fox jumps over a lazy dog user assistant system tool name arguments get_weather \
    city Paris Berlin def return import self for in if else print is of and to I you What weather temperature true false null \
    function type object string number one two three four five six seven eight nine ten";

/// SentencePiece's spelling of a space.
pub(crate) const SPACE: &str = "\u{2581}";

/// `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Byte = 6,
}

/// The tokens of a model by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vocabulary {
    texts: Vec<String>,
    kinds: Vec<Kind>,
    scores: Vec<f32>,
    ids: HashMap<String, u32>,
    /// For byte-pair encoding only: pairs in order of rank.
    merges: Vec<String>,
    /// True for SentencePiece, whose tokens have scores.
    sentencepiece: bool,
}

impl Vocabulary {
    /// Creates a SentencePiece vocabulary: `first` with the ids 0…, byte tokens, printable ASCII, words, then `last`.
    ///
    /// With `reachable`, every beginning and every end of each control token is a piece too, so that SentencePiece's
    /// merges lead to it, as they do for `</s>` in a vocabulary that has `</s` or `s>`. Without it, vocabularies look
    /// like trained ones.
    pub(crate) fn sentencepiece(first: &[(&str, Kind)], last: &[(&str, Kind)], reachable: bool) -> Self {
        let mut vocabulary = Self { sentencepiece: true, ..Self::default() };
        vocabulary.add_all(first);
        (0..=u8::MAX).for_each(|byte| vocabulary.add(&format!("<0x{byte:02X}>"), Kind::Byte));
        vocabulary.add(SPACE, Kind::Normal);
        for word in WORDS.split_whitespace() {
            let spaced = format!("{SPACE}{word}");
            beginnings(&spaced).chain(beginnings(word)).for_each(|piece| vocabulary.add(piece, Kind::Normal));
        }
        if reachable {
            for (text, _) in first.iter().chain(last).filter(|(_, kind)| *kind == Kind::Control) {
                beginnings(text).filter(|piece| piece != text).for_each(|piece| vocabulary.add(piece, Kind::Normal));
                // `<PRE>` of `▁<PRE>` is left out: llama.cpp would take it for the token of another family.
                let from = if text.starts_with(SPACE) { 2 } else { 1 };
                text.char_indices().skip(from).for_each(|(at, _)| vocabulary.add(&text[at..], Kind::Normal));
            }
        }
        (' '..='~').skip(1).for_each(|letter| vocabulary.add(&letter.to_string(), Kind::Normal));
        vocabulary.add("é", Kind::Normal);
        vocabulary.add_all(last);
        vocabulary
    }

    /// Creates a byte-pair vocabulary: `first` with the ids 0…, the 256 bytes and words, then `last`.
    pub(crate) fn byte_pairs(first: &[(&str, Kind)], last: &[(&str, Kind)]) -> Self {
        let mut vocabulary = Self::default();
        vocabulary.add_all(first);
        (0..=u8::MAX).for_each(|byte| vocabulary.add(&byte_letter(byte).to_string(), Kind::Normal));
        let words: Vec<String> = WORDS.split_whitespace().flat_map(|word| [format!("\u{120}{word}"), word.to_owned()]).collect();
        for word in words {
            vocabulary.merge_up_to(&word);
        }
        vocabulary.add_all(last);
        vocabulary
    }

    /// Adds a word of a byte-pair vocabulary and the merges that lead to it, letter by letter.
    fn merge_up_to(&mut self, word: &str) {
        for (at, letter) in word.char_indices().skip(1) {
            let merged = &word[..at + letter.len_utf8()];
            if !self.ids.contains_key(merged) {
                self.add(merged, Kind::Normal);
                self.merges.push(format!("{} {letter}", &word[..at]));
            }
        }
    }

    fn add_all(&mut self, tokens: &[(&str, Kind)]) {
        tokens.iter().for_each(|(text, kind)| self.add(text, *kind));
    }

    /// Adds a token unless there is one with this text: llama.cpp ends the process on duplicates. Earlier pieces merge
    /// first.
    pub(crate) fn add(&mut self, text: &str, kind: Kind) {
        if self.ids.contains_key(text) {
            return;
        }
        let id = u32::try_from(self.texts.len()).unwrap();
        self.ids.insert(text.to_owned(), id);
        self.texts.push(text.to_owned());
        self.kinds.push(kind);
        self.scores.push(if kind == Kind::Normal { -f32::from(u16::try_from(id).unwrap()) } else { 0.0 });
    }

    /// The id of the token that is stored as `text`.
    ///
    /// # Panics
    /// There is no such token.
    pub(crate) fn id(&self, text: &str) -> u32 {
        *self.ids.get(text).unwrap_or_else(|| panic!("no token {text:?}"))
    }

    /// Texts of the tokens of a kind.
    pub(crate) fn of_kind(&self, wanted: Kind) -> Vec<&str> {
        self.texts.iter().zip(&self.kinds).filter(|(_, kind)| **kind == wanted).map(|(text, _)| text.as_str()).collect()
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The entries of a file's metadata that contain these tokens.
    pub(super) fn metadata(&self) -> Vec<(String, Value)> {
        let mut entries = vec![
            ("tokenizer.ggml.tokens".to_owned(), Value::Strings(self.texts.clone())),
            ("tokenizer.ggml.token_type".to_owned(), Value::I32s(self.kinds.iter().map(|kind| *kind as i32).collect())),
        ];
        entries.push(if self.sentencepiece {
            ("tokenizer.ggml.scores".to_owned(), Value::F32s(self.scores.clone()))
        } else {
            ("tokenizer.ggml.merges".to_owned(), Value::Strings(self.merges.clone()))
        });
        entries
    }
}

/// Beginnings of at least two characters, the whole text included, shortest first.
fn beginnings(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().skip(1).map(|(at, letter)| &text[..at + letter.len_utf8()])
}

/// The letter for a byte in GPT-2's byte-pair vocabularies: the byte itself if it is printable, else a letter from
/// U+0100 on.
pub(crate) fn byte_letter(byte: u8) -> char {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !printable(byte)).count();
    char::from_u32(0x100 + u32::try_from(before).unwrap()).unwrap()
}
