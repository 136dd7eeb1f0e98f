//! Guesses the next tokens of a text: from the caller's prediction, and from the text's own earlier tokens, since texts
//! often repeat their prompt and themselves (code, quotes, JSON).
//!
//! The second way is "prompt lookup decoding" (A. Saxena 2023; vLLM's `ngram` speculation): the last tokens are looked
//! for in all tokens so far, and the tokens that followed them there are the guess. Owns the index of one sequence. The
//! scheduler decides whether guesses are worth their time.

use crate::protocol::Token;
use std::collections::HashMap;

/// Number of tokens that must repeat before anything is guessed.
const MATCHED: usize = 3;

/// See the module. Holds at most one entry for each token of the sequence.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    /// The end of the latest occurrence of each run of [`MATCHED`] tokens: the index of the token after it.
    behind: HashMap<[Token; MATCHED], usize>,
    /// Occurrences that begin before this index are in `behind`.
    indexed: usize,
    prediction: PredictedText,
}

/// The caller's prediction of the text, and the place that the text has reached in it.
#[derive(Debug, Default)]
struct PredictedText {
    tokens: Vec<Token>,
    /// Number of tokens of the sequence that were compared with the prediction; it starts with those of the prompt.
    compared: usize,
    /// The index of the next predicted token, while the text follows the prediction.
    next: usize,
    /// True if the text does not follow the prediction at present.
    is_lost: bool,
}

impl PredictedText {
    /// The tokens that are predicted next; empty while the text does not follow the prediction.
    fn follow(&mut self, tokens: &[Token]) -> &[Token] {
        for token in tokens.get(self.compared..).unwrap_or_default() {
            self.is_lost |= self.tokens.get(self.next) != Some(token);
            self.next += usize::from(!self.is_lost);
        }
        self.compared = tokens.len();
        if let (true, Some(last)) = (self.is_lost, tokens.last_chunk::<MATCHED>()) {
            // Looks after the place where the text left the prediction, or else anywhere.
            let from = self.next.min(self.tokens.len());
            let find = |tokens: &[Token]| tokens.windows(MATCHED).position(|window| window == last);
            if let Some(place) = find(&self.tokens[from..]).map(|place| from + place).or_else(|| find(&self.tokens)) {
                (self.next, self.is_lost) = (place + MATCHED, false);
            }
        }
        if self.is_lost { &[] } else { &self.tokens[self.next.min(self.tokens.len())..] }
    }
}

impl Lookup {
    /// The guesses for a sequence with a prompt of `prompt_len` tokens; `prediction` is the text that may follow it.
    pub(super) fn new(prompt_len: usize, prediction: Vec<Token>) -> Self {
        Self { prediction: PredictedText { tokens: prediction, compared: prompt_len, ..PredictedText::default() }, ..Self::default() }
    }

    /// Up to `max_tokens` tokens that are predicted to follow `tokens`, which must begin with the tokens of the last
    /// call.
    pub(super) fn predicted(&mut self, tokens: &[Token], max_tokens: u32) -> Vec<Token> {
        let max_tokens = usize::try_from(max_tokens).unwrap_or(usize::MAX);
        self.prediction.follow(tokens).iter().take(max_tokens).copied().collect()
    }

    /// Up to `max_tokens` tokens that followed an earlier occurrence of the last ones of `tokens`, which must begin
    /// with the tokens of the last call.
    pub(super) fn draft(&mut self, tokens: &[Token], max_tokens: u32) -> Vec<Token> {
        let max_tokens = usize::try_from(max_tokens).unwrap_or(usize::MAX);
        // No token follows the last tokens of the text yet.
        for (place, matched) in tokens.windows(MATCHED + 1).enumerate().skip(self.indexed) {
            if let Some(first) = matched.first_chunk() {
                self.behind.insert(*first, place + MATCHED);
            }
        }
        self.indexed = tokens.len().saturating_sub(MATCHED);
        let Some(place) = tokens.last_chunk::<MATCHED>().and_then(|last| self.behind.get(last)) else { return Vec::new() };
        // A repetition that reaches the end is assumed to continue with itself.
        tokens[*place..].iter().copied().cycle().take(max_tokens).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(text: &str) -> Vec<Token> {
        text.bytes().map(|byte| Token(byte.into())).collect()
    }

    fn guess(text: &str, most: u32) -> String {
        Lookup::default().draft(&tokens(text), most).into_iter().map(|token| char::from(token.0 as u8)).collect()
    }

    #[test]
    fn what_followed_the_last_tokens_before_is_the_guess() {
        assert_eq!(guess("the quick fox. the qu", 4), "ick ");
        assert_eq!(guess("abc1 abc2 abc", 2), "2 ", "the latest occurrence");
        assert_eq!(guess("nothing", 4), "");
        assert_eq!(guess("ab", 4), "");
    }

    #[test]
    fn a_repetition_goes_on_for_as_long_as_is_asked() {
        assert_eq!(guess("xyxyxy", 5), "xyxyx");
        assert_eq!(guess("aaaa", 3), "aaa");
    }

    #[test]
    fn a_prediction_is_followed_left_and_found_again() {
        let mut lookup = Lookup::new(3, tokens("let alpha = 1; let beta = 2;"));
        let mut after = |text: &str| -> String {
            let guess = lookup.predicted(&tokens(&format!("in:{text}")), 6);
            guess.into_iter().map(|token| char::from(token.0 as u8)).collect()
        };

        assert_eq!(after(""), "let al");
        assert_eq!(after("let "), "alpha ");
        assert_eq!(after("let gamma"), "", "it says something else");
        assert_eq!(after("let gamma = "), "1; let", "and goes on as predicted");
        assert_eq!(after("let gamma = 1; let beta = 2;"), "", "nothing more is predicted");
    }

    proptest! {
        #[test]
        fn an_index_that_grows_with_the_text_guesses_as_one_made_at_once(text in "[ab]{0,40}", cuts in prop::collection::vec(0usize..40, 0..6)) {
            let all = tokens(&text);
            let mut growing = Lookup::default();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= all.len()).collect();
            cuts.sort_unstable();
            for cut in cuts {
                prop_assert_eq!(growing.draft(&all[..cut], 5), Lookup::default().draft(&all[..cut], 5));
            }
            prop_assert_eq!(growing.draft(&all, 5), Lookup::default().draft(&all, 5));
        }
    }
}
