//! Literal answers and streams, made by the one generation path from scripted events.

use super::*;
use crate::{
    api::respond::{Mode, Recorder, Run, respond},
    protocol::{Finish, GenerationError, SequenceId, SequenceOutput, Started, Token, TokenAlternative, TokenLogprob},
};
use axum::body::to_bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const START: &str = r#"data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"m","system_fingerprint":"fp_0","choices":["#;

fn view() -> CompletionView {
    CompletionView {
        n: 1,
        candidates: 1,
        logprobs: false,
        prompt_logprobs: false,
        echo: false,
        token_ids: false,
        stream_usage: None,
        seed: 42,
        warnings: None,
        stop: vec![],
    }
}

fn event(choice: usize, tokens: u32, text: &str, finish: Option<Finish>) -> GenerationEvent {
    let mut output = SequenceOutput::empty(SequenceId(1));
    output.tokens = (0..tokens).map(Token).collect();
    output.text = text.to_owned();
    output.finish = finish;
    GenerationEvent { choice, output }
}

fn started(choice: usize, cached_tokens: u32) -> GenerationEvent {
    let mut event = event(choice, 0, "", None);
    event.output.started = Some(Started { cached_tokens, queue_us: 1 });
    event
}

fn scored(piece: &str, logprob: f32) -> TokenLogprob {
    TokenLogprob { chosen: TokenAlternative { token: Token(0), bytes: piece.as_bytes().to_vec(), logprob }, top: vec![] }
}

fn with_logprob(mut event: GenerationEvent, pieces: &[&str]) -> GenerationEvent {
    let alternative = |piece: &str| TokenAlternative { token: Token(0), bytes: piece.as_bytes().to_vec(), logprob: -0.5 };
    event.output.logprobs = pieces.iter().map(|piece| TokenLogprob { chosen: alternative(piece), top: vec![] }).collect();
    event
}

/// The body that these events make of these prompts (text, number of tokens).
async fn answer(view: CompletionView, prompts: &[(&str, usize)], events: Vec<GenerationEvent>) -> String {
    let head = ResponseHead { id: "cmpl-1".into(), created: 7, model: "m".into(), system_fingerprint: "fp_0".into() };
    let hour = Duration::from_secs(3600);
    let mode = view.stream_usage.map_or(Mode::Whole, |_| Mode::Stream { hold_status: hour, keep_alive: hour });
    let lengths: Vec<usize> = prompts.iter().map(|(_, tokens)| *tokens).collect();
    let recorder = Recorder::new("completions", "m", view.stream_usage.is_some(), Instant::now());
    let run = Run::follow(stream::iter(events).boxed(), &lengths, view.candidates, recorder);
    let format =
        CompletionFormat::new(head, view, prompts.iter().map(|(text, _)| PromptView { text: (*text).to_owned(), ids: vec![] }).collect());
    let response = respond(run, format, mode).await.unwrap();
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

/// The chunks of a stream, without `[DONE]`.
fn chunks(body: &str) -> Vec<Value> {
    let frames = body.strip_suffix("data: [DONE]\n\n").unwrap();
    frames.split_terminator("\n\n").map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn the_whole_answer_is_openais_object_with_our_seed() {
    let events = vec![started(0, 3), event(0, 1, "He", None), event(0, 2, "llo", None), event(0, 1, "", Some(Finish::EndOfGeneration))];

    let body = answer(view(), &[("", 5)], events).await;

    let expected = concat!(
        r#"{"id":"cmpl-1","object":"text_completion","created":7,"model":"m","system_fingerprint":"fp_0","#,
        r#""choices":[{"text":"Hello","index":0,"logprobs":null,"finish_reason":"stop"}],"#,
        r#""usage":{"prompt_tokens":5,"completion_tokens":4,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":3},"#,
        r#""completion_tokens_details":{"reasoning_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"seed":42}"#,
    );
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_stream_has_no_usage_key_unless_asked() {
    let view = CompletionView { stream_usage: Some(false), ..view() };
    let events = vec![started(0, 0), event(0, 1, "Hi\n", None), event(0, 1, "", None), event(0, 1, "", Some(Finish::Length))];

    let body = answer(view, &[("", 5)], events).await;

    let expected = [
        START,
        r#"{"text":"Hi\n","index":0,"logprobs":null,"finish_reason":null}]}"#,
        "\n\n",
        START,
        r#"{"text":"","index":0,"logprobs":null,"finish_reason":"length"}]}"#,
        "\n\n",
        "data: [DONE]\n\n",
    ];
    assert_eq!(body, expected.concat());
}

#[tokio::test]
async fn asked_for_usage_every_chunk_has_null_and_one_more_chunk_has_the_counts() {
    let view = CompletionView { stream_usage: Some(true), ..view() };
    let events = vec![event(0, 1, "Hi", Some(Finish::StopString(0)))];

    let body = answer(view, &[("", 5)], events).await;

    let usage = concat!(
        r#"],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6,"prompt_tokens_details":{"cached_tokens":0},"#,
        r#""completion_tokens_details":{"reasoning_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#,
    );
    let text = r#"{"text":"Hi","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":null}"#;
    assert_eq!(body, [START, text, "\n\n", START, usage, "\n\n", "data: [DONE]\n\n"].concat());
}

#[tokio::test]
async fn choices_interleave_each_with_its_index_and_its_own_end() {
    let view = CompletionView { n: 2, candidates: 2, stream_usage: Some(true), ..view() };
    let events = vec![
        event(3, 1, "d", None),
        event(0, 1, "a", None),
        event(1, 2, "b", Some(Finish::Length)),
        event(2, 1, "c", Some(Finish::Length)),
        event(0, 1, "", Some(Finish::EndOfGeneration)),
        event(3, 1, "", Some(Finish::StopString(0))),
    ];

    let chunks = chunks(&answer(view, &[("", 5), ("", 7)], events).await);

    let seen: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"].get(0))
        .map(|choice| (choice["index"].as_u64().unwrap(), choice["text"].as_str().unwrap(), choice["finish_reason"].as_str()))
        .collect();
    let expected =
        [(3, "d", None), (0, "a", None), (1, "b", Some("length")), (2, "c", Some("length")), (0, "", Some("stop")), (3, "", Some("stop"))];
    assert_eq!(seen, expected);
    assert!(chunks.iter().all(|chunk| chunk["choices"].as_array().unwrap().len() <= 1));
    let usage = &chunks.last().unwrap()["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]), (&json!(12), &json!(7), &json!(19)));
}

#[tokio::test]
async fn the_whole_answer_has_the_choices_in_order_and_the_sums() {
    let view = CompletionView { n: 2, candidates: 2, ..view() };
    let events = vec![started(1, 2), started(0, 4), event(1, 1, "b", Some(Finish::Length)), event(0, 3, "a", Some(Finish::Length))];

    let body: Value = serde_json::from_str(&answer(view, &[("", 5)], events).await).unwrap();

    let choice = |index: u32, text: &str| json!({"text": text, "index": index, "logprobs": null, "finish_reason": "length"});
    assert_eq!(body["choices"], json!([choice(0, "a"), choice(1, "b")]));
    assert_eq!(body["usage"]["prompt_tokens"], 5);
    assert_eq!(body["usage"]["completion_tokens"], 4);
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
}

#[tokio::test]
async fn echo_puts_the_prompt_first_in_both_ways() {
    let events = || vec![event(1, 1, "!", Some(Finish::Length)), event(0, 1, "?", Some(Finish::Length))];
    let prompts = [("Hello", 2), ("Bye", 1)];

    let body: Value = serde_json::from_str(&answer(CompletionView { echo: true, ..view() }, &prompts, events()).await).unwrap();
    assert_eq!((&body["choices"][0]["text"], &body["choices"][1]["text"]), (&json!("Hello?"), &json!("Bye!")));

    let streamed = answer(CompletionView { echo: true, stream_usage: Some(false), ..view() }, &prompts, events()).await;
    let texts: Vec<_> = chunks(&streamed).iter().map(|chunk| chunk["choices"][0]["text"].clone()).collect();
    assert_eq!(texts, ["Hello", "Bye", "!", "?"]);
}

#[tokio::test]
async fn logprobs_offsets_begin_after_the_prompt_and_go_on_from_chunk_to_chunk_whatever_text_lags() {
    let events = || {
        vec![
            with_logprob(event(0, 1, "é", None), &["é"]),
            // A text that was held back: first it comes without its token, then tokens come without text.
            event(0, 1, "ab", None),
            with_logprob(event(0, 2, "", None), &["abc", "d"]),
            with_logprob(event(0, 1, "cde", Some(Finish::Length)), &["e"]),
        ]
    };
    let view = CompletionView { logprobs: true, ..view() };

    let whole: Value = serde_json::from_str(&answer(view.clone(), &[("höh", 2)], events()).await).unwrap();
    let expected = json!({
        "tokens": ["é", "abc", "d", "e"], "token_logprobs": [-0.5, -0.5, -0.5, -0.5],
        "top_logprobs": [{"é": -0.5}, {"abc": -0.5}, {"d": -0.5}, {"e": -0.5}], "text_offset": [3, 4, 7, 8],
    });
    assert_eq!(whole["choices"][0]["logprobs"], expected);
    assert_eq!(whole["choices"][0]["text"], "éabcde");

    let streamed = answer(CompletionView { stream_usage: Some(false), ..view }, &[("höh", 2)], events()).await;
    let offsets: Vec<_> = chunks(&streamed).iter().map(|chunk| chunk["choices"][0]["logprobs"]["text_offset"].clone()).collect();
    assert_eq!(offsets, [json!([3]), json!([]), json!([4, 7]), json!([8])]);
}

#[tokio::test]
async fn an_echoed_prompt_is_scored_token_by_token_and_its_first_token_has_no_score() {
    let events = || {
        let mut prompt = event(0, 0, "", None);
        prompt.output.prompt_logprobs = vec![scored("<s>", 0.0), scored(" Hé", -1.5)];
        let mut rest = event(0, 0, "", None);
        rest.output.prompt_logprobs = vec![scored("llo", -2.5)];
        vec![started(0, 0), prompt, rest, with_logprob(event(0, 1, "!", Some(Finish::Length)), &["!"])]
    };
    let view = CompletionView { logprobs: true, echo: true, ..view() };
    let expected = json!({
        "tokens": ["<s>", " Hé", "llo", "!"], "token_logprobs": [null, -1.5, -2.5, -0.5],
        "top_logprobs": [null, {" Hé": -1.5}, {"llo": -2.5}, {"!": -0.5}], "text_offset": [0, 0, 2, 5],
    });

    let whole: Value = serde_json::from_str(&answer(view.clone(), &[("Héllo", 3)], events()).await).unwrap();

    assert_eq!((&whole["choices"][0]["text"], &whole["choices"][0]["logprobs"]), (&json!("Héllo!"), &expected));
    let streamed = chunks(&answer(CompletionView { stream_usage: Some(false), ..view }, &[("Héllo", 3)], events()).await);
    let tokens = |key: &str| -> Vec<Value> {
        streamed.iter().flat_map(|chunk| chunk["choices"][0]["logprobs"][key].as_array().unwrap().clone()).collect()
    };
    for key in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(json!(tokens(key)), expected[key], "{key}");
    }
}

#[tokio::test]
async fn the_best_candidates_are_shown_and_all_are_counted() {
    let candidate = |choice: usize, text: &str, logprobs: &[f32]| {
        let mut event = event(choice, 2, text, Some(Finish::Length));
        event.output.logprobs = logprobs.iter().map(|logprob| scored("x", *logprob)).collect();
        event
    };
    // There are two prompts. Per token, candidate 2 is the best of the first, and candidate 4 of the second, where
    // candidate 5 has no tokens.
    let events = vec![
        candidate(0, "a", &[-1.0]),
        candidate(1, "b", &[-5.0, -5.0]),
        candidate(2, "c", &[-0.5, -0.9]),
        candidate(3, "d", &[-3.0]),
        candidate(4, "e", &[-2.0]),
        candidate(5, "f", &[]),
    ];
    let view = CompletionView { n: 2, candidates: 3, ..view() };

    let whole: Value = serde_json::from_str(&answer(view, &[("", 1), ("", 1)], events).await).unwrap();

    let shown: Vec<_> = whole["choices"].as_array().unwrap().iter().map(|choice| json!([choice["index"], choice["text"]])).collect();
    assert_eq!(shown, [json!([0, "c"]), json!([1, "a"]), json!([2, "e"]), json!([3, "d"])]);
    assert_eq!((&whole["usage"]["completion_tokens"], &whole["choices"][0]["logprobs"]), (&json!(12), &Value::Null));
}

#[tokio::test]
async fn vllms_extras_are_shown_where_they_were_asked_for() {
    let mut first = event(0, 1, "a", None);
    first.output.prompt_logprobs = vec![scored("p", 0.0), scored("q", -1.0)];
    let events = vec![first, event(0, 2, "b", Some(Finish::StopString(1)))];
    let warnings = Some(vec!["ignored fields: x".to_owned()]);
    let stop = vec!["no".to_owned(), "yes".to_owned()];
    let view = CompletionView { prompt_logprobs: true, token_ids: true, warnings, stop, ..view() };

    let whole: Value = serde_json::from_str(&answer(view, &[("", 2)], events).await).unwrap();

    let choice = &whole["choices"][0];
    assert_eq!((&choice["stop_reason"], &choice["token_ids"], &choice["prompt_token_ids"]), (&json!("yes"), &json!([0, 0, 1]), &json!([])));
    assert_eq!(choice["prompt_logprobs"], json!([null, {"0": {"logprob": -1.0, "rank": null, "decoded_token": "q"}}]));
    assert_eq!(whole["warnings"], json!(["ignored fields: x"]));
}

#[test]
fn the_reason_of_a_stop_is_the_string_or_the_token() {
    let stop = ["a".to_owned()];

    assert_eq!(stop_reason(&Finish::StopString(0), &stop), Some(StopReason::String("a".into())));
    assert_eq!(stop_reason(&Finish::StopToken(Token(5)), &stop), Some(StopReason::Token(Token(5))));
    assert_eq!(serde_json::to_value(StopReason::Token(Token(5))).unwrap(), json!(5));
    assert_eq!(stop_reason(&Finish::EndOfGeneration, &stop), None);
}

#[tokio::test]
async fn a_failure_in_a_stream_is_an_error_frame_without_usage() {
    let view = CompletionView { stream_usage: Some(true), ..view() };
    let events = vec![event(0, 1, "Hi", None), event(0, 0, "", Some(Finish::Failed(GenerationError::ShuttingDown)))];

    let body = answer(view, &[("", 5)], events).await;

    let text = r#"{"text":"Hi","index":0,"logprobs":null,"finish_reason":null}],"usage":null}"#;
    let error = r#"data: {"error":{"message":"The server is shutting down.","type":"server_error","param":null,"code":"shutting_down"}}"#;
    assert_eq!(body, [START, text, "\n\n", error, "\n\n", "data: [DONE]\n\n"].concat());
}

#[test]
fn tokens_are_listed_where_they_have_ids_or_log_probabilities_and_of_prompts_only_if_they_are_shown() {
    let usage = Usage { prompt_tokens: 1000, completion_tokens: 10, ..Usage::default() };
    let head = || ResponseHead { id: "cmpl-1".into(), created: 7, model: "m".into(), system_fingerprint: "fp_0".into() };
    let listed = |view: CompletionView| CompletionFormat::new(head(), view, vec![PromptView::default()]).listed_tokens(&usage);

    assert_eq!(listed(view()), 0);
    assert_eq!(listed(CompletionView { echo: true, ..view() }), 0);
    assert_eq!(listed(CompletionView { logprobs: true, ..view() }), 10);
    assert_eq!(listed(CompletionView { logprobs: true, echo: true, ..view() }), 1010);
    assert_eq!(listed(CompletionView { prompt_logprobs: true, ..view() }), 1000);
    assert_eq!(listed(CompletionView { token_ids: true, ..view() }), 1010);
}

#[test]
fn the_progress_of_a_prompt_is_a_chunk_without_text_if_it_is_shown() {
    let head = ResponseHead { id: "cmpl-1".into(), created: 7, model: "m".into(), system_fingerprint: "fp_0".into() };
    let progress = PromptProgress { choice: 0, total: 5, cache: 3, processed: 4, time_ms: 1 };
    let format = CompletionFormat::new(head, view(), vec![PromptView::default()]);

    assert!(format.progress(&progress).starts_with(b": prompt: 4 of 5 tokens"));
    let frame = format.with_progress(true).progress(&progress);

    let chunk: Value = serde_json::from_slice(frame.strip_prefix(b"data: ").unwrap()).unwrap();
    assert_eq!(chunk["prompt_progress"], json!({"total": 5, "cache": 3, "processed": 4, "time_ms": 1}));
    assert_eq!((&chunk["object"], &chunk["choices"][0]["text"]), (&json!("text_completion"), &json!("")));
}
