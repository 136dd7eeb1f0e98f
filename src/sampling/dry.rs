//! DRY, "don't repeat yourself": penalties for tokens that would continue a repetition. See
//! [`protocol::Dry`](crate::protocol::Dry).
//!
//! Owns the tokens of a sequence, and the number of them after the last sequence breaker. Each draw compares the end of
//! the sequence with every earlier place, in time linear in the tokens looked at (Z-algorithm; Gusfield 1997). Breakers
//! are found in the bytes of the text, so it does not matter how a tokenizer cuts them.

use super::Pieces;
use crate::protocol::{Dry, Token};
use std::{fmt, sync::Arc};

/// The largest penalty: a token with it is not drawn while another is left, and logits stay finite.
const LARGEST: f64 = 1e30;

/// DRY for one sequence.
#[derive(Debug)]
pub(super) struct DrySampler {
    params: Dry,
    /// The tokens of prompt and output.
    history: Vec<Token>,
    breaks: Breaks,
}

/// The breakers found in a history.
#[derive(Debug, Default)]
struct Breaks {
    /// For each token that was looked at, in order: true if it contains a whole breaker.
    contained: Vec<bool>,
    /// Number of tokens after the one in which the last breaker ended.
    since: usize,
    /// The last bytes of the tokens' text, in which a breaker may have begun.
    tail: Vec<u8>,
}

/// Buffers shared by the sequences of a thread, and the texts of tokens.
#[derive(Default)]
pub(super) struct DryBuffers {
    /// The texts of tokens. With `None` no token has a text, and nothing breaks a sequence.
    pub(super) pieces: Option<Arc<dyn Pieces>>,
    /// Number of tokens that repeat, by the distance back to their earlier occurrence.
    lengths: Vec<usize>,
    /// Tokens that would continue a repetition, each with the length of that repetition.
    extending: Vec<(Token, usize)>,
    penalties: Vec<(Token, f32)>,
}

impl fmt::Debug for DryBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DryBuffers").finish_non_exhaustive()
    }
}

impl DrySampler {
    /// DRY for a sequence with this prompt that has already generated `generated`.
    pub(super) fn new(params: &Dry, prompt: &[Token], generated: &[Token]) -> Self {
        Self { params: params.clone(), history: [prompt, generated].concat(), breaks: Breaks::default() }
    }

    /// Adds a generated token.
    pub(super) fn count(&mut self, token: Token) {
        self.history.push(token);
    }

    /// The penalties to subtract from the logits of these tokens; each token occurs once.
    pub(super) fn penalties<'a>(&mut self, buffers: &'a mut DryBuffers) -> &'a [(Token, f32)] {
        let piece = |token| buffers.pieces.as_ref().map_or(&[][..], |pieces| pieces.piece(token));
        self.breaks.catch_up(&self.history, &self.params.sequence_breakers, piece);
        buffers.penalties.clear();

        let last_n = self.params.penalty_last_n.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let oldest = self.history.len().saturating_sub(last_n);
        let (window, contained) = (&self.history[oldest..], &self.breaks.contained[oldest..]);
        let allowed = usize::try_from(self.params.allowed_length).unwrap_or(usize::MAX);
        let longest = self.breaks.since.min(window.len());
        if longest < allowed || window.len() <= allowed {
            return &buffers.penalties;
        }
        repeated(window, &mut buffers.lengths);
        buffers.extending.clear();
        // The token that followed the earlier place would make the repetition longer.
        let followed = window.iter().zip(contained).rev();
        let extending = followed.zip(buffers.lengths.iter().skip(1)).filter(|((_, contained), length)| !**contained && **length >= allowed);
        buffers.extending.extend(extending.map(|((&token, _), &length)| (token, length.min(longest))));
        // Keeps the longest repetition of each token.
        buffers.extending.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        buffers.extending.dedup_by_key(|(token, _)| *token);

        let (multiplier, base) = (f64::from(self.params.multiplier), f64::from(self.params.base));
        let penalty = |length: usize| (multiplier * base.powf((length - allowed) as f64)).min(LARGEST) as f32;
        buffers.penalties.extend(buffers.extending.iter().map(|&(token, length)| (token, penalty(length))));
        &buffers.penalties
    }
}

impl Breaks {
    /// Looks at the tokens that were added since the last time.
    fn catch_up<'p>(&mut self, history: &[Token], breakers: &[String], piece: impl Fn(Token) -> &'p [u8]) {
        let longest = breakers.iter().map(String::len).max().unwrap_or(0);
        for &token in &history[self.contained.len()..] {
            let begin = self.tail.len();
            self.tail.extend_from_slice(piece(token));
            let (mut ended, mut contained) = (false, false);
            for end in begin..self.tail.len() {
                let text = &self.tail[..=end];
                // The last byte is compared first: it nearly always rules a breaker out.
                let ending =
                    breakers.iter().filter(|breaker| breaker.as_bytes().last() == text.last() && text.ends_with(breaker.as_bytes()));
                for breaker in ending {
                    ended = true;
                    contained |= text.len() - begin >= breaker.len();
                }
            }
            self.contained.push(contained);
            self.since = if ended { 0 } else { self.since + 1 };
            let old = self.tail.len().saturating_sub(longest.saturating_sub(1));
            self.tail.drain(..old);
        }
    }
}

/// For each `back` ≥ 1: the number of last tokens that equal the tokens which end `back` tokens earlier.
fn repeated(tokens: &[Token], lengths: &mut Vec<usize>) {
    let from_end = |at: usize| tokens[tokens.len() - 1 - at];
    lengths.clear();
    lengths.resize(tokens.len(), 0);
    // Counted from the end, `begin..end` is known to equal `0..end - begin`; of all such stretches it reaches furthest.
    let (mut begin, mut end) = (0, 0);
    for back in 1..tokens.len() {
        let mut length = if back < end { lengths[back - begin].min(end - back) } else { 0 };
        while back + length < tokens.len() && from_end(length) == from_end(back + length) {
            length += 1;
        }
        lengths[back] = length;
        if back + length > end {
            (begin, end) = (back, back + length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Token `n` is the letter with code `n`.
    struct Letters;

    impl Pieces for Letters {
        fn piece(&self, token: Token) -> &[u8] {
            const BYTES: [u8; 256] = {
                let mut bytes = [0; 256];
                let mut at = 0_u8;
                while at < 255 {
                    bytes[at as usize] = at;
                    at += 1;
                }
                bytes
            };
            let at = usize::try_from(token.0).unwrap();
            BYTES.get(at..=at).unwrap_or(b"a word: ")
        }
    }

    fn letters(text: &str) -> Vec<Token> {
        text.bytes().map(|byte| Token(u32::from(byte))).collect()
    }

    fn params(breakers: &[&str]) -> Dry {
        Dry {
            multiplier: 0.5,
            base: 2.0,
            allowed_length: 2,
            penalty_last_n: None,
            sequence_breakers: breakers.iter().map(|&breaker| breaker.to_owned()).collect(),
        }
    }

    fn penalties(params: &Dry, tokens: &[Token]) -> Vec<(Token, f32)> {
        let mut buffers = DryBuffers { pieces: Some(Arc::new(Letters)), ..DryBuffers::default() };
        DrySampler::new(params, tokens, &[]).penalties(&mut buffers).to_vec()
    }

    fn of(params: &Dry, text: &str) -> Vec<(char, f32)> {
        penalties(params, &letters(text)).iter().map(|&(token, penalty)| (char::from_u32(token.0).unwrap(), penalty)).collect()
    }

    #[test]
    fn going_on_with_a_repetition_costs_more_the_longer_it_is() {
        assert_eq!(of(&params(&[]), "abcx.bc"), [('x', 0.5)]);
        assert_eq!(of(&params(&[]), "abcx.abc"), [('x', 1.0)]);
        assert_eq!(of(&params(&[]), "abcdx.abcd"), [('x', 2.0)]);
        assert_eq!(of(&params(&[]), "cx.c"), [], "shorter than allowed");
        assert_eq!(of(&params(&[]), "abcx.bcy.abc"), [('x', 1.0), ('y', 0.5)]);
        assert_eq!(of(&params(&[]), "abcx.bcx.abc"), [('x', 1.0)], "the longest of several counts");
        assert_eq!(of(&params(&[]), "aaaaa"), [('a', 2.0)], "a repetition may overlap itself");
    }

    #[test]
    fn a_breaker_ends_the_repetition_wherever_it_stands() {
        assert_eq!(of(&params(&["\n"]), "abcx.a\nbc"), [('x', 0.5)]);
        assert_eq!(of(&params(&["\n"]), "ab\ncdx.ab\ncd"), [('x', 0.5)], "only what stands behind it counts");
        assert_eq!(of(&params(&["\n"]), "abc\nx.abc\n"), []);
        assert_eq!(of(&params(&["bc"]), "abcdex.abcde"), [('x', 0.5)], "across two tokens");
        assert_eq!(of(&params(&["bc"]), "abdcex.abdce"), [('x', 4.0)], "not in pieces");
        let word = Token(1000);
        assert_eq!(penalties(&params(&[": "]), &[letters("abx.a"), vec![word], letters("ab")].concat()), [(Token(120), 0.5)]);
        assert_eq!(penalties(&params(&[": "]), &[letters("abx.ab"), vec![word]].concat()), []);
    }

    #[test]
    fn a_token_that_contains_a_breaker_is_never_penalized() {
        assert_eq!(of(&params(&["x"]), "abcx.abc"), []);
        let word = Token(1000);
        let tokens = [letters("abc"), vec![word], letters(".abc")].concat();
        assert_eq!(penalties(&params(&[]), &tokens), [(word, 1.0)]);
        assert_eq!(penalties(&params(&["word"]), &tokens), []);
    }

    #[test]
    fn only_the_last_tokens_are_looked_at() {
        let last = |n| Dry { penalty_last_n: Some(n), ..params(&[]) };
        assert_eq!(of(&last(8), "abcx.abc"), [('x', 1.0)]);
        assert_eq!(of(&last(7), "abcx.abc"), [('x', 0.5)]);
        assert_eq!(of(&last(6), "abcx.abc"), []);
        assert_eq!(of(&last(0), "abcx.abc"), []);
    }

    #[test]
    fn extreme_parameters_give_finite_penalties() {
        let huge = Dry { multiplier: f32::MAX, base: 100.0, allowed_length: 0, ..params(&[]) };
        let tokens = vec![Token(7); 3000];

        assert_eq!(penalties(&huge, &tokens), [(Token(7), 1e30)]);
        assert_eq!(penalties(&Dry { allowed_length: u32::MAX, ..huge.clone() }, &tokens), []);
        assert_eq!(penalties(&huge, &[]), []);
        assert_eq!(penalties(&huge, &[Token(7)]), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn repetitions_are_those_that_a_search_of_each_place_finds(tokens in prop::collection::vec((0..3_u32).prop_map(Token), 1..60)) {
            let mut lengths = Vec::new();

            repeated(&tokens, &mut lengths);

            for (back, &length) in lengths.iter().enumerate().skip(1) {
                let earlier = &tokens[..tokens.len() - back];
                let same = tokens.iter().rev().zip(earlier.iter().rev()).take_while(|(a, b)| a == b).count();
                prop_assert_eq!(length, same, "{} back", back);
            }
        }

        #[test]
        fn a_rebuilt_sampler_gives_the_same_penalties(text in "[abc:\n]{0,60}", last_n in 0..70_u32, cut in 0..60_usize) {
            let params = Dry { penalty_last_n: Some(last_n), ..params(&[":\n", "b"]) };
            let tokens = letters(&text);
            let mut buffers = DryBuffers { pieces: Some(Arc::new(Letters)), ..DryBuffers::default() };
            let mut followed = DrySampler::new(&params, &tokens[..cut.min(tokens.len())], &[]);
            for &token in &tokens[cut.min(tokens.len())..] {
                followed.penalties(&mut buffers);
                followed.count(token);
            }

            prop_assert_eq!(followed.penalties(&mut buffers).to_vec(), penalties(&params, &tokens));
        }
    }
}
