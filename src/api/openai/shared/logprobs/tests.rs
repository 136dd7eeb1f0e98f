//! The four arrays, token by token.

use super::*;
use crate::protocol::Token;
use serde_json::json;

fn alternative(bytes: &[u8], logprob: f32) -> TokenAlternative {
    TokenAlternative { token: Token(0), bytes: bytes.to_vec(), logprob }
}

fn token(bytes: &[u8], logprob: f32, top: &[(&[u8], f32)]) -> TokenLogprob {
    let top = top.iter().map(|(bytes, logprob)| alternative(bytes, *logprob)).collect();
    TokenLogprob { chosen: alternative(bytes, logprob), top }
}

fn offsets(start: u64, pieces: &[&[u8]]) -> Vec<u64> {
    let mut offset = CharacterOffset::after(start);
    let tokens: Vec<_> = pieces.iter().map(|piece| token(piece, -1.0, &[])).collect();
    // One call per token, as a stream does it.
    tokens.iter().flat_map(|token| LogprobsObject::of(std::slice::from_ref(token), &mut offset).text_offset).collect()
}

#[test]
fn the_object_has_four_parallel_arrays_and_short_numbers() {
    let tokens = [token(b" the", -0.12, &[(b" the", -0.12), (b" a", -2.3)]), token(b" cat", -9.5, &[(b" dog", -0.5), (b" cow", -1.5)])];

    let logprobs = LogprobsObject::of(&tokens, &mut CharacterOffset::after(17));

    let expected = r#"{"tokens":[" the"," cat"],"token_logprobs":[-0.12,-9.5],"top_logprobs":[{" the":-0.12," a":-2.3},{" dog":-0.5," cow":-1.5," cat":-9.5}],"text_offset":[17,21]}"#;
    assert_eq!(serde_json::to_string(&logprobs).unwrap(), expected);
}

#[test]
fn the_sampled_token_is_always_among_the_top_and_wins_over_another_of_the_same_text() {
    let sampled_only = LogprobsObject::of(&[token(b"x", -3.0, &[])], &mut CharacterOffset::default());
    assert_eq!(serde_json::to_value(&sampled_only.top_logprobs).unwrap(), json!([{"x": -3.0}]));

    let twins = [token(b"x", -3.0, &[(b"y", -1.0), (b"x", -2.0), (b"y", -2.5), (b"z", -4.0)])];
    let logprobs = LogprobsObject::of(&twins, &mut CharacterOffset::default());
    assert_eq!(serde_json::to_string(&logprobs.top_logprobs).unwrap(), r#"[{"y":-1.0,"x":-3.0,"z":-4.0}]"#);
}

#[test]
fn bytes_that_are_no_text_are_spelled_out() {
    let logprobs = LogprobsObject::of(&[token(b"\xe4\xbd", -1.0, &[(b"\xa0", -2.0)])], &mut CharacterOffset::default());

    assert_eq!(logprobs.tokens, [r"bytes:\xe4\xbd"]);
    assert_eq!(serde_json::to_value(&logprobs.top_logprobs).unwrap(), json!([{r"bytes:\xe4\xbd": -1.0, r"bytes:\xa0": -2.0}]));
}

#[test]
fn offsets_count_characters_and_not_bytes() {
    assert_eq!(offsets(5, &["é".as_bytes(), "你好".as_bytes(), b"", b"x"]), [5, 6, 8, 8]);
}

#[test]
fn a_character_in_several_tokens_has_one_offset() {
    let emoji = "🦙".as_bytes();
    assert_eq!(offsets(0, &[b"a", &emoji[..1], &emoji[1..3], &emoji[3..], b"b"]), [0, 1, 1, 1, 2]);
    // A token may end one character and begin the next.
    let mixed = ["é".as_bytes(), emoji].concat();
    assert_eq!(offsets(0, &[&mixed[..1], &mixed[1..4], &mixed[4..], b"b"]), [0, 0, 1, 2]);
}

#[test]
fn invalid_bytes_count_as_the_replacement_characters_they_become() {
    let rows: [&[&[u8]]; 5] = [
        &[b"\xff", b"a"],
        &[b"\xe4", b"a", b"b"],
        &[b"\xe4\xbd", b"\xe4\xbd\xa0", b"b"],
        &[b"\xf0\x9f", b"\xff\xff", b"b"],
        &[b"\x80\x80", b"b"],
    ];
    for pieces in rows {
        let (last, before) = pieces.split_last().unwrap();
        let whole = String::from_utf8_lossy(&pieces.concat()).into_owned();
        let expected = whole.strip_suffix(std::str::from_utf8(last).unwrap()).unwrap().chars().count();
        assert_eq!(offsets(0, pieces).last(), Some(&u64::try_from(expected).unwrap()), "{before:?}");
    }
}

#[test]
fn appended_chunks_equal_one_whole() {
    let tokens = [token(b"a", -1.0, &[]), token("é".as_bytes(), -2.0, &[]), token(b"b", -3.0, &[])];
    let whole = LogprobsObject::of(&tokens, &mut CharacterOffset::after(3));

    let mut offset = CharacterOffset::after(3);
    let mut folded = LogprobsObject::of(&tokens[..1], &mut offset);
    folded.append(LogprobsObject::of(&[], &mut offset));
    folded.append(LogprobsObject::of(&tokens[1..], &mut offset));

    assert_eq!(folded, whole);
    assert_eq!(whole.text_offset, [3, 4, 5]);
}
