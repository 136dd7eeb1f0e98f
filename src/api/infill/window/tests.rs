//! Texts are cut to exactly the tokens that fit.

use super::*;
use crate::{api::fields::token_caps::TokenCap, gateway::testing::model_info};

const MARKED: FimTokens = FimTokens { prefix: Token(250), suffix: Token(251), middle: Token(252), repository: None, file: None };

/// A window of a context of 100 tokens: the ids 0 … n-1 are before the hole, those from 100 on after it.
fn cut_to_100(prefix: usize, suffix: usize, extra: &Extra, n_predict: Option<u64>) -> Window {
    let model = ModelInfo { max_model_len: 100, ..model_info() };
    let hole = FimTexts { prefix: tokens(0, prefix), suffix: tokens(1000, suffix) };
    cut(&model, &MARKED, hole, extra, limit(n_predict))
}

fn limit(n_predict: Option<u64>) -> TokenLimit {
    TokenLimit { field: "n_predict", cap: n_predict.map_or(TokenCap::AsManyAsFit, TokenCap::AtMost) }
}

fn tokens(from: u32, count: usize) -> Vec<Token> {
    (from..).take(count).map(Token).collect()
}

fn prompt(context: &[Token], prefix: &[Token], suffix: &[Token]) -> Vec<Token> {
    [&[Token(0)][..], context, &[Token(250)], prefix, &[Token(251)], suffix, &[Token(252)]].concat()
}

fn extra(lengths: &[usize]) -> Extra {
    let files = lengths.iter().enumerate().map(|(index, length)| vec![Token(500 + u32::try_from(index).unwrap()); *length]);
    Extra { before: vec![Token(400)], files: files.collect(), after: vec![Token(401)] }
}

#[test]
fn what_fits_is_whole_and_the_answer_has_what_was_asked_for() {
    let window = cut_to_100(40, 36, &Extra::default(), Some(20));

    assert_eq!(window.prompt, prompt(&[], &tokens(0, 40), &tokens(1000, 36)));
    assert_eq!((window.max_tokens, window.is_cut_short, window.cuts), (20, false, vec![]));
}

#[test]
fn one_token_too_many_is_cut_far_from_the_cursor() {
    let window = cut_to_100(58, 19, &Extra::default(), Some(20));

    assert_eq!(window.prompt, prompt(&[], &tokens(1, 57), &tokens(1000, 19)));
    assert_eq!(window.cuts, [("input_prefix", "input_prefix was cut to its last 57 tokens".to_owned())]);
    let window = cut_to_100(10, 67, &Extra::default(), Some(20));
    assert_eq!(window.prompt, prompt(&[], &tokens(0, 10), &tokens(1000, 66)));
    assert_eq!(window.cuts, [("input_suffix", "input_suffix was cut to its first 66 tokens".to_owned())]);
}

#[test]
fn if_both_are_long_the_prefix_gets_three_quarters() {
    let window = cut_to_100(500, 500, &Extra::default(), Some(20));

    assert_eq!(window.prompt, prompt(&[], &tokens(443, 57), &tokens(1000, 19)));
    assert_eq!((window.prompt.len(), window.max_tokens, window.cuts.len()), (80, 20, 2));
}

#[test]
fn whole_files_fill_what_is_left_the_last_ones_first() {
    let all = cut_to_100(10, 10, &extra(&[20, 10, 24]), Some(20));
    let context: Vec<Token> =
        [vec![Token(400)], vec![Token(500); 20], vec![Token(501); 10], vec![Token(502); 24], vec![Token(401)]].concat();
    assert_eq!((all.prompt, all.cuts), (prompt(&context, &tokens(0, 10), &tokens(1000, 10)), vec![]));

    let window = cut_to_100(10, 10, &extra(&[21, 10, 24]), Some(20));
    let context = [vec![Token(400)], vec![Token(501); 10], vec![Token(502); 24], vec![Token(401)]].concat();
    assert_eq!(window.prompt, prompt(&context, &tokens(0, 10), &tokens(1000, 10)));
    assert_eq!(window.cuts, [("input_extra", "the first 1 entries of input_extra were left out".to_owned())]);

    let none = cut_to_100(10, 10, &extra(&[99]), Some(20));
    assert_eq!(none.prompt, prompt(&[], &tokens(0, 10), &tokens(1000, 10)), "no marks of a repository without a file");
}

#[test]
fn an_answer_without_a_limit_gets_all_that_is_left_and_at_least_a_quarter() {
    let short = cut_to_100(10, 6, &Extra::default(), None);
    assert_eq!((short.max_tokens, short.is_cut_short, short.cuts), (80, true, vec![]));

    let long = cut_to_100(500, 0, &Extra::default(), None);
    assert_eq!((long.prompt.len(), long.max_tokens), (75, 25));
}

#[test]
fn an_answer_longer_than_the_context_is_reduced_and_told() {
    let window = cut_to_100(500, 500, &Extra::default(), Some(10_000));

    assert_eq!((window.prompt.len(), window.max_tokens, window.is_cut_short), (50, 50, true));
    assert_eq!(window.cuts.last().unwrap().1, "n_predict was reduced to 50, the room that the prompt leaves in the context");
}

#[test]
fn no_context_is_so_small_that_anything_overflows() {
    for max_model_len in 0..12 {
        let model = ModelInfo { max_model_len, ..model_info() };
        let hole = FimTexts { prefix: tokens(0, 5), suffix: tokens(9, 5) };

        let window = cut(&model, &MARKED, hole, &extra(&[1]), limit(Some(3)));

        assert!(max_model_len < 6 || window.prompt.len() < max_model_len as usize, "{max_model_len}: {window:?}");
    }
}
