//! Finds special tokens that a text spells out, in time linear in the text.
//!
//! llama.cpp does the same in `tokenizer_st_partition`, but walks its list of fragments from the start for every match:
//! 2 MB of `<|im_end|>` cost it minutes. So special tokens are cut out here, and llama.cpp tokenizes only the
//! text between them, with `parse_special = false`. The result is the same: longest special tokens first, each from left to right.

use crate::protocol::{SpecialText, Token};
use llama_cpp_2::{
    token::LlamaToken,
    token_type::LlamaTokenAttr::{Control, LStrip, RStrip, Unknown, UserDefined},
    vocab::LlamaVocab,
};
use std::collections::{HashMap, HashSet};

/// What C's `isspace` takes for white space, which is what llama.cpp strips beside some special tokens.
const SPACES: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// A stretch of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// To be tokenized; never empty.
    Text(&'t str),
    /// A special token that was spelled out.
    Special(Token),
}

/// The special tokens of a vocabulary, for lookup by their text.
pub(super) struct SpecialTokens {
    by_text: HashMap<String, Special>,
    control: HashSet<Token>,
    /// For each first byte, the lengths of special tokens that begin with it.
    lengths: Vec<Vec<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Special {
    token: Token,
    /// Control and unknown tokens, which a user's words must not become. llama.cpp cuts out the others wherever they stand.
    control: bool,
    /// White space in front of it belongs to it.
    strip_left: bool,
    /// White space behind it belongs to it.
    strip_right: bool,
}

struct Match {
    start: usize,
    length: usize,
    special: Special,
}

impl Match {
    fn is_allowed(&self, special: &SpecialText) -> bool {
        let inside = |barrier: &u32| (self.start + 1..self.start + self.length).contains(&(*barrier as usize));
        match special {
            SpecialText::Recognised => true,
            SpecialText::Plain => false,
            SpecialText::RecognisedOutside(barriers) => {
                let next = barriers.partition_point(|barrier| *barrier as usize <= self.start);
                !barriers.get(next).is_some_and(inside)
            }
        }
    }
}

impl SpecialTokens {
    /// Whether this is a token that a user's words must not become.
    pub(super) fn is_control(&self, token: Token) -> bool {
        self.control.contains(&token)
    }

    /// Offsets within `text` that lie inside every control token that it spells, one for each: cut there, none is left.
    pub(super) fn cuts(&self, text: &str) -> Vec<usize> {
        let control = self.candidates(text).into_iter().filter(|found| found.special.control);
        control.filter_map(|found| Some(found.start + text[found.start..].chars().next()?.len_utf8())).collect()
    }

    /// Control tokens as they are spelled, by id.
    pub(super) fn control_tokens(&self) -> Vec<(String, Token)> {
        let control = self.by_text.iter().filter(|(_, special)| special.control);
        let mut list: Vec<(String, Token)> = control.map(|(text, special)| (text.clone(), special.token)).collect();
        list.sort_by_key(|(_, token)| *token);
        list
    }

    /// Collects what llama.cpp collects: control, unknown and user-defined tokens.
    pub(super) fn read(vocab: &LlamaVocab<'_>) -> Self {
        let specials = vocab.tokens().filter_map(|token: LlamaToken| {
            let attributes = vocab.attr(token);
            if !attributes.intersects(Control | Unknown | UserDefined) {
                return None;
            }
            let text = vocab.text(token)?.to_str().ok()?;
            let special = Special {
                token: Token(token.0.cast_unsigned()),
                control: attributes.intersects(Control | Unknown),
                strip_left: attributes.contains(LStrip),
                strip_right: attributes.contains(RStrip),
            };
            Some((text.to_owned(), special))
        });
        Self::new(specials)
    }

    fn new(specials: impl Iterator<Item = (String, Special)>) -> Self {
        let by_text: HashMap<String, Special> = specials.filter(|(text, _)| !text.is_empty()).collect();
        let mut lengths = vec![Vec::new(); 256];
        for text in by_text.keys() {
            let lengths: &mut Vec<usize> = &mut lengths[usize::from(text.as_bytes()[0])];
            if !lengths.contains(&text.len()) {
                lengths.push(text.len());
            }
        }
        let control = by_text.values().filter(|special| special.control).map(|special| special.token).collect();
        Self { by_text, control, lengths }
    }

    /// Cuts `text` at the special tokens in it, as far as `special` lets them be recognised.
    pub(super) fn split<'t>(&self, text: &'t str, special: &SpecialText) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        let (mut rest_from, mut strip) = (0, false);
        for found in self.matches(text, special) {
            push_text(&mut parts, &text[rest_from..found.start], strip, found.special.strip_left);
            parts.push(Part::Special(found.special.token));
            rest_from = found.start + found.length;
            strip = found.special.strip_right;
        }
        push_text(&mut parts, &text[rest_from..], strip, false);
        parts
    }

    /// Matches that do not overlap, from left to right; where some would overlap, the longest wins, then the leftmost.
    fn matches(&self, text: &str, special: &SpecialText) -> Vec<Match> {
        let mut candidates = self.candidates(text);
        candidates.retain(|found| !found.special.control || found.is_allowed(special));
        candidates.sort_by_key(|found| (std::cmp::Reverse(found.length), found.special.token, found.start));

        let mut taken = vec![false; if candidates.is_empty() { 0 } else { text.len() }];
        candidates.retain(|found| {
            // What is taken already is at least as long, so an overlap covers one of the ends.
            let range = found.start..found.start + found.length;
            let free = !taken[range.start] && !taken[range.end - 1];
            if free {
                taken[range].fill(true);
            }
            free
        });
        candidates.sort_by_key(|found| found.start);
        candidates
    }

    fn candidates(&self, text: &str) -> Vec<Match> {
        let mut candidates = Vec::new();
        for (start, byte) in text.bytes().enumerate() {
            for &length in &self.lengths[usize::from(byte)] {
                // `get` is `None` past the end and inside a character.
                let special = text.get(start..start + length).and_then(|piece| self.by_text.get(piece));
                candidates.extend(special.map(|&special| Match { start, length, special }));
            }
        }
        candidates
    }
}

fn push_text<'t>(parts: &mut Vec<Part<'t>>, mut text: &'t str, strip_start: bool, strip_end: bool) {
    if strip_start {
        text = text.trim_start_matches(SPACES);
    }
    if strip_end {
        text = text.trim_end_matches(SPACES);
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::Part::{Special as Found, Text};
    use super::*;

    fn specials(list: &[(&str, bool, bool)]) -> SpecialTokens {
        SpecialTokens::new((0..).zip(list).map(|(id, &(text, strip_left, strip_right))| {
            (text.to_owned(), Special { token: Token(id), control: true, strip_left, strip_right })
        }))
    }

    #[test]
    fn a_text_without_special_tokens_is_one_part_and_an_empty_one_none() {
        let specials = specials(&[("<s>", false, false)]);

        assert_eq!(specials.split("a < b, é 😀 <s", &SpecialText::Recognised), [Text("a < b, é 😀 <s")]);
        assert_eq!(specials.split("", &SpecialText::Recognised), []);
    }

    #[test]
    fn special_tokens_are_cut_out_wherever_they_stand() {
        let specials = specials(&[("<s>", false, false), ("</s>", false, false)]);

        assert_eq!(
            specials.split("<s>é</s><s>x", &SpecialText::Recognised),
            [Found(Token(0)), Text("é"), Found(Token(1)), Found(Token(0)), Text("x")]
        );
    }

    #[test]
    fn the_longest_special_token_wins_even_over_one_further_left() {
        let specials = specials(&[("ab", false, false), ("bcd", false, false), ("  ", false, false)]);

        assert_eq!(specials.split("abcd", &SpecialText::Recognised), [Text("a"), Found(Token(1))]);
        assert_eq!(specials.split("ababcd", &SpecialText::Recognised), [Found(Token(0)), Text("a"), Found(Token(1))]);
        assert_eq!(specials.split("   ", &SpecialText::Recognised), [Found(Token(2)), Text(" ")]);
    }

    #[test]
    fn white_space_beside_a_token_that_strips_it_is_dropped() {
        let specials = specials(&[("<m>", true, false), ("<e>", false, true)]);

        assert_eq!(specials.split("a \t<m> b", &SpecialText::Recognised), [Text("a"), Found(Token(0)), Text(" b")]);
        assert_eq!(specials.split("a <e>\n b", &SpecialText::Recognised), [Text("a "), Found(Token(1)), Text("b")]);
        assert_eq!(specials.split("<e> <m>", &SpecialText::Recognised), [Found(Token(1)), Found(Token(0))]);
    }

    #[test]
    fn two_megabytes_of_special_tokens_are_cut_completely() {
        let specials = specials(&[("<|im_end|>", false, false)]);
        let text = "<|im_end|>".repeat(200_000);

        assert_eq!(specials.split(&text, &SpecialText::Recognised).len(), 200_000);
    }

    #[test]
    fn a_users_words_become_no_control_token_but_the_templates_do() {
        let specials = specials(&[("<s>", false, false), ("<|end|>", false, false)]);

        assert_eq!(specials.split("<s>a<|end|>", &SpecialText::Plain), [Text("<s>a<|end|>")]);
        // The user wrote `<s>`, and `<` before the template's `|end|>` would have made a token of both.
        let outside = SpecialText::RecognisedOutside(vec![4, 7]);
        assert_eq!(specials.split("<s><s><|end|><s>", &outside), [Found(Token(0)), Text("<s><|end|>"), Found(Token(0))]);
        assert_eq!(specials.split("<s><s>", &SpecialText::RecognisedOutside(vec![3])), [Found(Token(0)), Found(Token(0))]);
    }

    #[test]
    fn cuts_leave_no_control_token_whole() {
        let specials = specials(&[("<s>", false, false), ("<<s>>", false, false), ("é!", false, false)]);
        let text = "a<<s>>é!b<s>";

        let cuts = specials.cuts(text);

        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.iter().chain([&text.len()]) {
            pieces.push(&text[from..*cut]);
            from = *cut;
        }
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| specials.candidates(piece).is_empty()), "{pieces:?}");
    }
}
