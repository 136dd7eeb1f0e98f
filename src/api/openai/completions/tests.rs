//! Valid requests whose prompts are tokens.

use super::*;
use crate::{
    api::{
        openai::shared::room::TokenLimit,
        testing::{Setup, TestApp},
    },
    protocol::SamplingParams,
};
use serde_json::{Value, json};

const SEED: i64 = 40;
const ROOM: AnswerRoom = AnswerRoom { max_model_len: 100, limit: None, default: DEFAULT_LIMIT, prompt: PROMPT, strict: false };

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
    let request = request(json!({"n": 2, "stop": "\n", "logprobs": 1, "ignore_eos": true, "temperature": 0.5}));

    let made = sequences(&request, vec![vec![Token(1)], vec![Token(2), Token(3)]], &ROOM, SEED).unwrap();

    let sequence = |prompt: &[u32], seed| SequenceRequest {
        prompt: prompt.iter().copied().map(Token).collect(),
        max_tokens: 16,
        sampling: SamplingParams { temperature: 0.5, seed, ..SamplingParams::default() },
        stop: vec!["\n".into()],
        ignore_eos: true,
        logprobs: Some(1),
        ..SequenceRequest::default()
    };
    assert_eq!(made, [sequence(&[1], 40), sequence(&[1], 41), sequence(&[2, 3], 40), sequence(&[2, 3], 41)]);
}

#[test]
fn prompts_may_have_two_contexts_of_tokens_together_and_no_more() {
    let request = request(json!({}));

    assert_eq!(sequences(&request, prompts(&[99, 99, 2]), &ROOM, SEED).map(|made| made.len()), Ok(3));
    let error = sequences(&request, prompts(&[99, 99, 3]), &ROOM, SEED).unwrap_err();
    assert_eq!(error.detail(), "Invalid 'prompt': the prompts have 201 tokens together; at most 200 are accepted.");
    assert_eq!((error.status().as_u16(), error.param()), (400, Some("prompt")));
}

#[test]
fn candidates_are_compared_by_log_probabilities_that_nobody_asked_for() {
    let made = |body| sequences(&request(body), prompts(&[1]), &ROOM, SEED).unwrap();

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
fn a_prompt_that_is_cut_to_fit_keeps_at_least_half_of_the_context_whatever_the_limit() {
    let share = |cap| prompt_share(&AnswerRoom { limit: Some(TokenLimit { field: "max_tokens", cap }), ..ROOM });

    assert_eq!(prompt_share(&ROOM), 84);
    assert_eq!([0, 30, 50, 99, 32_000].map(|tokens| share(TokenCap::AtMost(tokens))), [100, 70, 50, 50, 50]);
    assert_eq!(share(TokenCap::AsManyAsFit), 75);
}

#[test]
fn a_prompt_without_any_token_is_refused() {
    let error = sequences(&request(json!({})), prompts(&[1, 0]), &ROOM, SEED).unwrap_err();

    assert_eq!((error.status().as_u16(), error.param()), (400, Some("prompt")));
}

#[tokio::test]
async fn more_sequences_than_ever_fit_are_refused_by_the_field_that_makes_them_so_many() {
    // Eight sequences may run and wait.
    let app = TestApp::start(Setup::default()).await;
    for (prompts, more, param) in [(9, json!({}), "prompt"), (5, json!({"n": 2}), "n"), (5, json!({"best_of": 2}), "best_of")] {
        let mut body = more;
        (body["model"], body["prompt"]) = (json!("tiny"), json!(vec!["a"; prompts]));
        let answer = app.post("/v1/completions", &body.to_string()).await;

        let error = serde_json::from_str::<Value>(&answer.body).unwrap()["error"].take();
        assert_eq!((answer.status.as_u16(), &error["param"]), (400, &json!(param)), "{error}");
        assert!(error["message"].as_str().unwrap().starts_with(&format!("Invalid '{param}': the prompts times n are ")), "{error}");
    }
}
