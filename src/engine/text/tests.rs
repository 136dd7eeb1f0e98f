//! Behaviour of the text assembler: examples of each rule, then properties against a reference on the whole text.

mod speed;

use super::{Released, TextAssembler};
use crate::protocol::{Token, TokenAlternative, TokenLogprob};
use proptest::prelude::*;

fn assembler(stops: &[&str]) -> TextAssembler {
    TextAssembler::new(&stops.iter().map(|&stop| stop.to_owned()).collect::<Vec<_>>(), false)
}

/// A log-probability that is recognised by its token.
fn logprob(token: u32) -> TokenLogprob {
    TokenLogprob { chosen: TokenAlternative { token: Token(token), bytes: Vec::new(), logprob: -0.5 }, top: Vec::new() }
}

fn tokens(released: &Released) -> Vec<u32> {
    released.logprobs.iter().map(|logprob| logprob.chosen.token.0).collect()
}

/// Pushes each piece as a token, numbered from 0, then flushes unless stopped. Returns the result of each call.
fn run(stops: &[&str], pieces: &[&[u8]]) -> Vec<Released> {
    let mut assembler = assembler(stops);
    let mut all = Vec::new();
    for (token, piece) in (0..).zip(pieces) {
        all.push(assembler.push(piece, Some(logprob(token))));
        if all.last().is_some_and(|released| released.stopped.is_some()) {
            return all;
        }
    }
    all.push(assembler.flush());
    all
}

fn texts(released: &[Released]) -> Vec<&str> {
    released.iter().map(|released| released.text.as_str()).collect()
}

// === UTF-8 ===

#[test]
fn a_character_is_released_when_its_last_byte_arrives() {
    let released = run(&[], &[b"a\xE2", b"\x82", b"\xACb"]);

    assert_eq!(texts(&released), ["a", "", "€b", ""]);
    assert_eq!(released.iter().map(tokens).collect::<Vec<_>>(), [vec![], vec![], vec![0, 1, 2], vec![]]);
}

#[test]
fn invalid_bytes_become_replacement_characters_at_once() {
    let released = run(&[], &[b"\xFFa", b"\x80"]);

    assert_eq!(texts(&released), ["\u{FFFD}a", "\u{FFFD}", ""]);
}

#[test]
fn an_unfinished_character_broken_by_the_next_token_becomes_one_replacement_character() {
    let released = run(&[], &[b"\xF0\x9F\x98", b"!"]);

    assert_eq!(texts(&released), ["", "\u{FFFD}!", ""]);
    assert_eq!(tokens(&released[1]), [0, 1]);
}

#[test]
fn a_flush_turns_an_unfinished_character_into_one_replacement_character() {
    let released = run(&[], &[b"x\xF0\x9F", b"\x98"]);

    assert_eq!(texts(&released), ["x", "", "\u{FFFD}"]);
    assert_eq!(tokens(&released[2]), [0, 1]);
}

// === Stop strings ===

#[test]
fn a_stop_string_across_tokens_is_held_back_and_never_shown() {
    let released = run(&["STOP"], &[b"one ST", b"O", b"P two"]);

    assert_eq!(texts(&released), ["one ", "", ""]);
    assert_eq!(released[2].stopped, Some(0));
    assert_eq!(tokens(&released[2]), [0], "the first token holds the end of the text");
}

#[test]
fn a_beginning_of_a_stop_string_that_goes_on_otherwise_is_released() {
    let released = run(&["STOP"], &[b"ST", b"O", b"RE"]);

    assert_eq!(texts(&released), ["", "", "STORE", ""]);
    assert_eq!(tokens(&released[2]), [0, 1, 2]);
}

#[test]
fn what_is_held_back_is_the_longest_possible_beginning_and_nothing_more() {
    let released = run(&["aab"], &[b"aaa", b"a"]);

    assert_eq!(texts(&released), ["a", "a", "aa"]);
}

#[test]
fn an_end_mark_is_never_shown_and_numbered_after_the_stop_strings() {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    for (text, shown, stopped) in [("one<|end|>two", "one", 2), ("one.two<|end|>", "one.", 0)] {
        let mut assembler = TextAssembler::with_end_marks(&texts(&[".", ""]), true, &texts(&["<|end|>"]));

        let released = assembler.push(text.as_bytes(), None);

        assert_eq!((released.text.as_str(), released.stopped), (shown, Some(stopped)), "{text}");
    }
}

#[test]
fn a_stop_string_inside_one_token_drops_what_follows_it() {
    let released = run(&["\n"], &[b"end\nmore\n"]);

    assert_eq!(texts(&released), ["end"]);
    assert_eq!(released[0].stopped, Some(0));
}

#[test]
fn the_earliest_start_wins_even_if_it_is_complete_later() {
    assert_eq!(texts(&run(&["bc", "abcd"], &[b"xabcd"])), ["x"]);
    assert_eq!(texts(&run(&["bc", "abcd"], &[b"xabc", b"d"])), ["x", ""], "a split changes nothing");
}

#[test]
fn a_complete_stop_string_waits_only_while_an_earlier_one_is_possible() {
    let released = run(&["bc", "abcd"], &[b"xabc", b"e"]);

    assert_eq!(texts(&released), ["x", "a"]);
    assert_eq!(released[1].stopped, Some(0));
}

#[test]
fn a_stop_string_that_was_waiting_ends_the_text_at_the_flush() {
    let released = run(&["bc", "abcd"], &[b"xabc"]);

    assert_eq!(texts(&released), ["x", "a"]);
    assert_eq!(released[1].stopped, Some(0));
}

#[test]
fn of_stop_strings_with_the_same_start_the_longest_complete_one_is_named() {
    let released = run(&["ab", "abc", "abcd"], &[b"-abc"]);

    assert_eq!(released[0].text, "-");
    assert_eq!(released[0].stopped, Some(1));
}

#[test]
fn a_stop_string_that_overlaps_itself_is_found_at_its_first_place() {
    let released = run(&["abab"], &[b"aba", b"ab", b"abab"]);

    assert_eq!(texts(&released), ["", "aba", ""]);
    assert_eq!(released[2].stopped, Some(0));
}

#[test]
fn stop_strings_of_many_bytes_per_character_match_across_split_characters() {
    let released = run(&["é!"], &[b"caf\xC3", b"\xA9", b"!"]);

    assert_eq!(texts(&released), ["caf", "", ""]);
    assert_eq!(released[2].stopped, Some(0));
}

#[test]
fn text_held_back_for_a_stop_string_is_released_by_a_flush() {
    let released = run(&["<|end|>"], &[b"hi <|e"]);

    assert_eq!(texts(&released), ["hi ", "<|e"]);
    assert_eq!(released[1].stopped, None);
}

#[test]
fn after_a_stop_nothing_more_is_released() {
    let mut assembler = assembler(&["."]);
    assembler.push(b"a.b", None);

    assert_eq!(assembler.push(b"c", Some(logprob(1))), Released::default());
    assert_eq!(assembler.flush(), Released::default());
}

#[test]
fn a_stop_string_never_matches_what_came_before_the_first_token() {
    // The prompt ended in "ST", which the assembler never saw.
    let released = run(&["STOP"], &[b"OP"]);

    assert_eq!(texts(&released), ["OP", ""]);
}

// === Log-probabilities ===

#[test]
fn a_token_without_bytes_is_reported_at_once_if_nothing_is_held_back_and_else_in_its_turn() {
    let released = run(&["ab"], &[b"", b"a", b"", b"c"]);

    assert_eq!(released.iter().map(tokens).collect::<Vec<_>>(), [vec![0], vec![], vec![], vec![1, 2, 3], vec![]]);
}

#[test]
fn tokens_of_the_stop_string_and_after_it_are_not_reported() {
    let released = run(&["ST"], &[b"a", b"", b"S", b"", b"T"]);

    assert_eq!(released.iter().flat_map(tokens).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn pushing_the_same_tokens_again_releases_the_same() {
    let pieces: [&[u8]; 5] = [b"x\xE2", b"\x82", b"\xACS", b"T", b"R"];

    assert_eq!(run(&["STOP", "TRA"], &pieces), run(&["STOP", "TRA"], &pieces));
}

// === Properties ===

/// The result for the whole text: the text, the tokens reported, and true if a stop string cut it.
fn reference(stops: &[String], pieces: &[Vec<u8>]) -> (String, Vec<u32>, bool) {
    let bytes = pieces.concat();
    let whole = String::from_utf8_lossy(&bytes).into_owned();
    let cut = stops.iter().filter_map(|stop| whole.find(stop.as_str())).min();
    let end = cut.unwrap_or(whole.len());

    // The offset in the text of the character that each byte is part of.
    let mut offsets = Vec::new();
    let mut offset = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            offsets.extend(std::iter::repeat_n(offset, character.len_utf8()));
            offset += character.len_utf8();
        }
        if !chunk.invalid().is_empty() {
            offsets.extend(std::iter::repeat_n(offset, chunk.invalid().len()));
            offset += char::REPLACEMENT_CHARACTER.len_utf8();
        }
    }

    let mut tokens = Vec::new();
    let mut at = 0_usize;
    for (token, piece) in (0..).zip(pieces) {
        // A token without bytes belongs to the byte before it.
        let first = if piece.is_empty() { at.checked_sub(1) } else { Some(at) };
        let shown = cut.is_none() || first.is_none_or(|first| offsets[first] < end);
        if !shown {
            break;
        }
        tokens.push(token);
        at += piece.len();
    }
    (whole[..end].to_owned(), tokens, cut.is_some())
}

/// Bytes with few letters, so that stop strings occur; parts of characters and broken bytes are among them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "ab", "ba", "\n", "é", "€", "😀"]).prop_map(|text| text.as_bytes().to_vec()),
        2 => prop::sample::select(vec![b"\xE2".to_vec(), b"\x82".to_vec(), b"\xF0\x9F".to_vec(), b"\xFF".to_vec(), b"\xC3".to_vec(), b"\xA9".to_vec(), b"\xED\xA0".to_vec()]),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ];
    prop::collection::vec(fragment, 0..24).prop_map(|fragments| fragments.concat())
}

/// Cuts bytes into tokens, some of them empty.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (bytes(), prop::collection::vec(0..5_usize, 64)).prop_map(|(bytes, lengths)| {
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        for length in lengths {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            pieces.push(piece.to_vec());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        pieces.push(rest.to_vec());
        pieces
    })
}

fn stops() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab\né€\u{FFFD}]{1,5}", 0..5)
}

fn run_owned(stops: &[String], pieces: &[Vec<u8>]) -> Vec<Released> {
    let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    run(&stops, &pieces)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_stop_strings_the_text_is_the_lossy_decoding_of_the_whole(pieces in pieces()) {
        let released = run_owned(&[], &pieces);

        prop_assert_eq!(texts(&released).concat(), String::from_utf8_lossy(&pieces.concat()).into_owned());
    }

    #[test]
    fn text_and_tokens_are_those_of_the_whole_cut_at_the_earliest_stop_string(stops in stops(), pieces in pieces()) {
        let released = run_owned(&stops, &pieces);

        let (text, reported, stopped) = reference(&stops, &pieces);
        prop_assert_eq!(texts(&released).concat(), text);
        prop_assert_eq!(released.iter().flat_map(tokens).collect::<Vec<_>>(), reported);
        let named = released.iter().find_map(|released| released.stopped);
        prop_assert_eq!(named.is_some(), stopped);
        if let Some(named) = named {
            let whole = String::from_utf8_lossy(&pieces.concat()).into_owned();
            prop_assert!(whole[texts(&released).concat().len()..].starts_with(&stops[named as usize]));
        }
    }

    #[test]
    fn less_than_one_stop_string_and_one_character_is_held_back(stops in stops(), pieces in pieces()) {
        let longest = stops.iter().map(String::len).max().unwrap_or(1);
        let mut assembler = TextAssembler::new(&stops, false);
        let mut pushed = Vec::new();
        let mut shown = String::new();

        for piece in &pieces {
            pushed.extend_from_slice(piece);
            let released = assembler.push(piece, None);
            shown.push_str(&released.text);
            if released.stopped.is_some() {
                break;
            }
            let decoded = String::from_utf8_lossy(&pushed).into_owned();
            prop_assert!(decoded.starts_with(&shown));
            // The lossy decoding shows an unfinished character as U+FFFD, three bytes.
            prop_assert!(decoded.len() - shown.len() < longest + 3, "{:?} of {:?}", shown, decoded);
        }
    }
}
