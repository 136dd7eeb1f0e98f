//! Valid requests whose prompts are tokens.

use super::*;
use crate::protocol::SamplingParams;
use serde_json::{Value, json};

const SEED: i64 = 40;

fn request(body: Value) -> CompletionRequest {
    let Value::Object(mut map) = body else { panic!("{body} is no object") };
    map.entry("prompt").or_insert(json!("x"));
    let limits = RequestLimits { vocabulary_size: 100, max_num_seqs: 16, max_stop_strings: 4, max_logprobs: None };
    CompletionRequest::read(Fields::new(map), &limits).unwrap()
}

fn prompts(lengths: &[usize]) -> Vec<Vec<Token>> {
    lengths.iter().map(|&length| vec![Token(1); length]).collect()
}

#[test]
fn each_prompt_has_its_choices_in_a_row_with_seeds_that_count_up() {
    let request = request(json!({"n": 2, "max_tokens": 5, "stop": "\n", "logprobs": 1, "ignore_eos": true, "temperature": 0.5}));

    let made = sequences(&request, vec![vec![Token(1)], vec![Token(2), Token(3)]], 100, SEED).unwrap();

    let sequence = |prompt: &[u32], seed| SequenceRequest {
        prompt: prompt.iter().copied().map(Token).collect(),
        max_tokens: 5,
        sampling: SamplingParams { temperature: 0.5, seed, ..SamplingParams::default() },
        stop: vec!["\n".into()],
        ignore_eos: true,
        logprobs: Some(1),
        ..SequenceRequest::default()
    };
    assert_eq!(made, [sequence(&[1], 40), sequence(&[1], 41), sequence(&[2, 3], 40), sequence(&[2, 3], 41)]);
}

#[test]
fn prompt_and_completion_fit_the_context_exactly_or_are_refused_with_the_numbers() {
    let too_long = |prompt_tokens, max_tokens| ApiError::ContextLength { prompt_tokens, max_tokens, max_model_len: 100 };
    let rows = [
        (60, Some(40), Ok(40)),
        (60, Some(41), Err(too_long(60, 41))),
        (60, Some(u64::MAX), Err(too_long(60, u64::MAX))),
        (60, Some(0), Ok(0)),
        (100, Some(0), Ok(0)),
        (101, Some(0), Err(too_long(101, 0))),
        (60, None, Ok(16)),
        (84, None, Ok(16)),
        (85, None, Ok(15)),
        (99, None, Ok(1)),
        (100, None, Err(too_long(100, 1))),
        (101, None, Err(too_long(101, 1))),
    ];
    for (prompt_tokens, asked, expected) in rows {
        assert_eq!(room(prompt_tokens, asked, 100), expected, "{prompt_tokens} + {asked:?}");
    }
    assert_eq!(too_long(100, 1).param(), Some("prompt"));
    assert_eq!(too_long(60, 41).param(), Some("max_tokens"));
    assert!(too_long(60, u64::MAX).detail().contains("(60 in your prompt; 18446744073709551615 for the completion)"));
}

#[test]
fn prompts_may_have_two_contexts_of_tokens_together_and_no_more() {
    let request = request(json!({"max_tokens": 1}));

    assert_eq!(sequences(&request, prompts(&[99, 99, 2]), 100, SEED).map(|made| made.len()), Ok(3));
    let error = sequences(&request, prompts(&[99, 99, 3]), 100, SEED).unwrap_err();
    assert_eq!(error.detail(), "Invalid 'prompt': the prompts have 201 tokens together; at most 200 are accepted.");
    assert_eq!((error.status().as_u16(), error.param()), (400, Some("prompt")));
}

#[test]
fn candidates_are_compared_by_log_probabilities_that_nobody_asked_for() {
    let made = |body| sequences(&request(body), prompts(&[1]), 100, SEED).unwrap();

    let candidates = made(json!({"best_of": 3, "echo": true}));
    assert_eq!((candidates.len(), candidates[0].logprobs, candidates[0].prompt_logprobs), (3, Some(0), None));
    assert_eq!(made(json!({"best_of": 3, "logprobs": 2}))[0].logprobs, Some(2));
    assert_eq!(made(json!({}))[0].logprobs, None);
}

#[test]
fn truncation_drops_the_beginning_but_not_the_bos_that_was_put_there() {
    let cut = |most, keep_first| {
        let mut tokens: Vec<Token> = (0..5).map(Token).collect();
        let dropped = truncate(&mut tokens, most, keep_first);
        (dropped, tokens.iter().map(|token| token.0).collect::<Vec<_>>())
    };

    assert_eq!(cut(None, true), (0, vec![0, 1, 2, 3, 4]));
    assert_eq!(cut(Some(5), true), (0, vec![0, 1, 2, 3, 4]));
    assert_eq!(cut(Some(2), false), (3, vec![3, 4]));
    assert_eq!(cut(Some(2), true), (3, vec![0, 4]));
    assert_eq!(cut(Some(1), true), (4, vec![4]));
}

#[test]
fn a_prompt_without_any_token_is_refused() {
    let error = sequences(&request(json!({})), prompts(&[1, 0]), 100, SEED).unwrap_err();

    assert_eq!((error.status().as_u16(), error.param()), (400, Some("prompt")));
}
