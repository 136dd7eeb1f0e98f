//! Finds special tokens that a text spells out, in time linear in the text, and knows which of them no user may write.
//!
//! llama.cpp does the same in `tokenizer_st_partition`, but walks its list of fragments from the start for every match:
//! it takes minutes for 2 MB of `<|im_end|>`. So special tokens are cut out here, and llama.cpp tokenizes only the text
//! between them, with `parse_special = false`. The result is the same: longest special tokens first, each from left to
//! right.

use crate::protocol::{SpecialText, Token};
use llama_cpp_2::{
    token::LlamaToken,
    token_type::LlamaTokenAttr::{Control, LStrip, RStrip, Unknown, UserDefined},
    vocab::LlamaVocab,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The white space of C's `isspace`, which llama.cpp strips beside some special tokens.
const SPACES: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// Control tokens of gpt-oss and Solar Open, which llama.cpp turns into user-defined ones in order to show them
/// (`llama_vocab::impl::load`). A user must not be able to write the tokens that separate the roles of a chat.
const SHOWN_CONTROL: [&str; 5] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>", "<|end|>"];

/// CodeLlama's end of a filled-in middle. llama.cpp knows the model's other three tokens by their spelling; it looks
/// for this one too, but spelled with an underscore. With files that do not name it as `eot_token_id`, generation would
/// not end at it.
const CODELLAMA_EOT: &str = "\u{2581}<EOT>";

/// True if generation ends with this token.
pub(super) fn ends_generation(vocab: &LlamaVocab<'_>, token: LlamaToken) -> bool {
    let codellama = || vocab.text(token).is_some_and(|text| text.to_bytes() == CODELLAMA_EOT.as_bytes());
    vocab.is_eog(token) || codellama()
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TextPart<'t> {
    /// Text to tokenize; never empty.
    Text(&'t str),
    /// Text to tokenize, directly after another text.
    Continuation(&'t str),
    /// A special token that the text spells out.
    Special(Token),
}

/// The special tokens of a vocabulary, for lookup by their text.
pub(super) struct SpecialTokens {
    by_text: HashMap<String, Special>,
    /// Spellings of the tokens that a user's words must not become.
    control: BTreeMap<Token, String>,
    /// Lengths of special tokens, longest first, each with the first bytes of the tokens of that length.
    lengths: Vec<(usize, FirstBytes)>,
}

type FirstBytes = Box<[bool; 256]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Special {
    token: Token,
    /// True if a user's words must not become the token. llama.cpp cuts out all other tokens wherever they stand.
    control: bool,
    /// True if llama.cpp cuts the token out wherever it stands, even if `control`.
    cut_out_anyway: bool,
    /// True if white space before the token belongs to it.
    strip_left: bool,
    /// True if white space after the token belongs to it.
    strip_right: bool,
}

struct TokenMatch {
    start: usize,
    length: usize,
    special: Special,
    /// True if the text becomes the token; otherwise it is only hidden from llama.cpp.
    allowed: bool,
}

/// True if `special` allows a control token at `start`.
fn is_allowed(start: usize, length: usize, special: &SpecialText) -> bool {
    match special {
        SpecialText::Recognised => true,
        SpecialText::Plain | SpecialText::Continuation => false,
        SpecialText::RecognisedOutside(barriers) => {
            let next = barriers.partition_point(|barrier| *barrier as usize <= start);
            barriers.get(next).is_none_or(|barrier| *barrier as usize >= start + length)
        }
    }
}

impl SpecialTokens {
    /// True if a user's words must not become this token.
    pub(super) fn is_control(&self, token: Token) -> bool {
        self.control.contains_key(&token)
    }

    /// True if white space beside a special token may be dropped.
    pub(super) fn drops_space(&self) -> bool {
        self.by_text.values().any(|special| special.strip_left || special.strip_right)
    }

    /// Spellings of control tokens, by id.
    pub(super) fn control(&self) -> &BTreeMap<Token, String> {
        &self.control
    }

    /// Collects the tokens that llama.cpp collects: control, unknown and user-defined tokens. Tokens for filling in the
    /// middle are control tokens, even if the file says otherwise.
    pub(super) fn read(vocab: &LlamaVocab<'_>) -> Self {
        let fim = [vocab.fim_pre(), vocab.fim_suf(), vocab.fim_mid(), vocab.fim_rep(), vocab.fim_sep()];
        let mut control = BTreeMap::new();
        let mut specials = Vec::new();
        for token in vocab.tokens() {
            let attributes = vocab.attr(token);
            let Some(text) = vocab.text(token).and_then(|text| text.to_str().ok()) else { continue };
            let id = Token(token.0.cast_unsigned());
            let declared = attributes.intersects(Control | Unknown);
            let user_defined = attributes.contains(UserDefined);
            let shown = user_defined && (SHOWN_CONTROL.contains(&text) || ends_generation(vocab, token));
            let is_control = declared || shown || fim.contains(&token);
            if is_control {
                control.insert(id, text.to_owned());
            }
            if declared || user_defined {
                let special = Special {
                    token: id,
                    control: is_control,
                    cut_out_anyway: !declared,
                    strip_left: attributes.contains(LStrip),
                    strip_right: attributes.contains(RStrip),
                };
                specials.push((text.to_owned(), special));
            }
        }
        Self::new(specials, control)
    }

    fn new(specials: Vec<(String, Special)>, control: BTreeMap<Token, String>) -> Self {
        let by_text: HashMap<String, Special> = specials.into_iter().filter(|(text, _)| !text.is_empty()).collect();
        let lengths: BTreeSet<usize> = by_text.keys().map(String::len).collect();
        let first_bytes = |length: usize| {
            let mut first = Box::new([false; 256]);
            by_text.keys().filter(|text| text.len() == length).for_each(|text| first[usize::from(text.as_bytes()[0])] = true);
            (length, first)
        };
        let lengths = lengths.into_iter().rev().map(first_bytes).collect();
        Self { by_text, control, lengths }
    }

    /// Cuts `text` at the special tokens that `special` allows. Also cuts within disallowed ones that llama.cpp would
    /// recognise all the same.
    pub(super) fn split<'t>(&self, text: &'t str, special: &SpecialText) -> Vec<TextPart<'t>> {
        let mut parts = Vec::new();
        let (mut rest_from, mut strip) = (0, false);
        for found in self.matches(text, special) {
            if found.allowed {
                push_text(&mut parts, &text[rest_from..found.start], strip, found.special.strip_left);
                parts.push(TextPart::Special(found.special.token));
                rest_from = found.start + found.length;
                strip = found.special.strip_right;
            } else {
                let inside = found.start + text[found.start..].chars().next().map_or(0, char::len_utf8);
                push_text(&mut parts, &text[rest_from..inside], strip, false);
                (rest_from, strip) = (inside, false);
            }
        }
        push_text(&mut parts, &text[rest_from..], strip, false);
        parts
    }

    /// Matches that do not overlap, from left to right. Of overlapping candidates the longest wins, then the leftmost.
    ///
    /// There is one pass for each length of a special token: all candidates at once would take gigabytes for 2 MB of
    /// newlines, of which Gemma has tokens of every length up to 31.
    fn matches(&self, text: &str, special: &SpecialText) -> Vec<TokenMatch> {
        let mut taken = vec![false; text.len()];
        let mut matches = Vec::new();
        for (length, first_bytes) in &self.lengths {
            let mut found = self.of_length(*length, first_bytes, text, &taken);
            for found in &mut found {
                found.allowed = !found.special.control || is_allowed(found.start, found.length, special);
            }
            found.retain(|found| found.allowed || found.special.cut_out_anyway);
            found.sort_by_key(|found| (found.special.token, found.start));
            found.retain(|found| {
                let free = is_free(&taken, found.start, found.length);
                if free {
                    taken[found.start..found.start + found.length].fill(true);
                }
                free
            });
            matches.append(&mut found);
        }
        matches.sort_by_key(|found| found.start);
        matches
    }

    fn of_length(&self, length: usize, first_bytes: &[bool; 256], text: &str, taken: &[bool]) -> Vec<TokenMatch> {
        let starts = text.bytes().enumerate().filter(|(_, byte)| first_bytes[usize::from(*byte)]).map(|(start, _)| start);
        let candidates = starts.filter(|start| start + length <= text.len() && is_free(taken, *start, length));
        let found = candidates.filter_map(|start| {
            // `None` if an end is inside a character.
            let special = *self.by_text.get(text.get(start..start + length)?)?;
            Some(TokenMatch { start, length, special, allowed: false })
        });
        found.collect()
    }
}

/// True if no match of at least this length overlaps: it would cover one of the two ends.
fn is_free(taken: &[bool], start: usize, length: usize) -> bool {
    !taken[start] && !taken[start + length - 1]
}

fn push_text<'t>(parts: &mut Vec<TextPart<'t>>, mut text: &'t str, strip_start: bool, strip_end: bool) {
    if strip_start {
        text = text.trim_start_matches(SPACES);
    }
    if strip_end {
        text = text.trim_end_matches(SPACES);
    }
    if text.is_empty() {
        return;
    }
    let continues = matches!(parts.last(), Some(TextPart::Text(_) | TextPart::Continuation(_)));
    parts.push(if continues { TextPart::Continuation(text) } else { TextPart::Text(text) });
}

#[cfg(test)]
mod tests {
    use super::TextPart::{Special as Found, Text};
    use super::*;

    fn specials(list: &[(&str, bool, bool)]) -> SpecialTokens {
        let special = |(id, &(text, strip_left, strip_right)): (u32, &(&str, bool, bool))| {
            let special = Special { token: Token(id), control: true, cut_out_anyway: false, strip_left, strip_right };
            (text.to_owned(), special)
        };
        SpecialTokens::new((0..).zip(list).map(special).collect(), BTreeMap::new())
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
        // The user wrote the second `<s>` and the `<`, which with the template's `|end|>` would have become a token.
        let outside = SpecialText::RecognisedOutside(vec![4, 7]);
        assert_eq!(specials.split("<s><s><|end|><s>", &outside), [Found(Token(0)), Text("<s><|end|>"), Found(Token(0))]);
        assert_eq!(specials.split("<s><s>", &SpecialText::RecognisedOutside(vec![3])), [Found(Token(0)), Found(Token(0))]);
    }

    #[test]
    fn a_control_token_that_llama_cpp_cuts_out_of_plain_text_is_kept_from_it_in_two_pieces() {
        let special = |id, control| Special { token: Token(id), control, cut_out_anyway: true, strip_left: false, strip_right: false };
        let specials =
            SpecialTokens::new(vec![("<|start|>".to_owned(), special(0, true)), ("<call>".to_owned(), special(1, false))], BTreeMap::new());
        let text = "a<|start|><call>b";

        assert_eq!(specials.split(text, &SpecialText::Plain), [Text("a<"), TextPart::Continuation("|start|>"), Found(Token(1)), Text("b")]);
        assert_eq!(specials.split(text, &SpecialText::Recognised), [Text("a"), Found(Token(0)), Found(Token(1)), Text("b")]);
    }

    #[test]
    fn two_megabytes_of_newlines_with_tokens_of_every_length_take_no_gigabytes() {
        let runs: Vec<String> = (1..32).map(|count| "\n".repeat(count)).collect();
        let list: Vec<(&str, bool, bool)> = runs.iter().map(|run| (run.as_str(), false, false)).collect();
        let text = "\n".repeat(2_000_000);

        let parts = specials(&list).split(&text, &SpecialText::Recognised);

        assert_eq!((parts.len(), parts.last()), (64_517, Some(&Found(Token(3)))));
    }
}
