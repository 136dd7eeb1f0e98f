//! Literal answers and streams, made by the one generation path from scripted events.

use super::*;
use crate::{
    api::respond::{Mode, Recorder, Run, respond},
    chat::output::{Calls, Reasoning, ToolFormat, ToolInput, ToolSpec},
    protocol::{SequenceId, SequenceOutput, Started, Token, TokenAlternative, TokenLogprob},
};
use axum::body::to_bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const HEAD: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","system_fingerprint":"fp_0","#;
const START: &str =
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","system_fingerprint":"fp_0","choices":["#;

fn view() -> ChatView {
    ChatView { n: 1, logprobs: false, reasoning: true, stream_usage: None, seed: 42, warnings: None, stop: vec![] }
}

fn streamed() -> ChatView {
    ChatView { stream_usage: Some(false), ..view() }
}

fn plain() -> OutputSpec {
    OutputSpec { tools: vec![], calls: Calls::None, parallel: true, format: ToolFormat::Json, reasoning: Reasoning::None }
}

fn thinking() -> OutputSpec {
    OutputSpec { reasoning: Reasoning::Tags { open: "<think>", close: "</think>", begins_inside: true }, ..plain() }
}

fn calling() -> OutputSpec {
    let tool = |name: &str| ToolSpec { name: name.to_owned(), parameters: json!({}), strict: false, input: ToolInput::Arguments };
    OutputSpec { tools: vec![tool("f"), tool("g")], calls: Calls::Auto, format: ToolFormat::Hermes, ..plain() }
}

fn event(choice: usize, text: &str, finish: Option<Finish>) -> GenerationEvent {
    let mut output = SequenceOutput::empty(SequenceId(1));
    output.tokens = vec![Token(0)];
    output.text = text.to_owned();
    output.finish = finish;
    GenerationEvent { choice, output }
}

fn with_logprob(mut event: GenerationEvent, pieces: &[&str]) -> GenerationEvent {
    let alternative = |piece: &str| TokenAlternative { token: Token(0), bytes: piece.as_bytes().to_vec(), logprob: -0.5 };
    event.output.logprobs = pieces.iter().map(|piece| TokenLogprob { chosen: alternative(piece), top: vec![] }).collect();
    event
}

/// The body that these events make of a prompt of five tokens.
async fn answer(view: ChatView, spec: OutputSpec, events: Vec<GenerationEvent>) -> String {
    let head = ResponseHead { id: "chatcmpl-1".into(), created: 7, model: "m".into(), system_fingerprint: "fp_0".into() };
    let hour = Duration::from_secs(3600);
    let mode = view.stream_usage.map_or(Mode::Whole, |_| Mode::Stream { hold_status: hour, keep_alive: hour });
    let recorder = Recorder::new("chat_completions", "m", view.stream_usage.is_some(), Instant::now());
    let run = Run::follow(stream::iter(events).boxed(), &[5], view.n, recorder);
    let response = respond(run, ChatFormat::new(head, view, &Arc::new(spec)), mode).await.unwrap();
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

async fn whole(view: ChatView, spec: OutputSpec, events: Vec<GenerationEvent>) -> Value {
    serde_json::from_str(&answer(view, spec, events).await).unwrap()
}

/// The chunks of a stream, without `[DONE]`.
async fn chunks(view: ChatView, spec: OutputSpec, events: Vec<GenerationEvent>) -> Vec<Value> {
    let body = answer(view, spec, events).await;
    let frames = body.strip_suffix("data: [DONE]\n\n").unwrap();
    frames.split_terminator("\n\n").map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

fn deltas(chunks: &[Value]) -> Vec<Value> {
    chunks.iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect()
}

#[tokio::test]
async fn the_whole_answer_is_openais_object_with_our_seed() {
    let events = vec![event(0, "Hel", None), event(0, "lo", None), event(0, "", Some(Finish::EndOfGeneration))];

    let body = answer(view(), plain(), events).await;

    let expected = concat!(
        r#""choices":[{"index":0,"message":{"role":"assistant","content":"Hello","refusal":null},"logprobs":null,"finish_reason":"stop"}],"#,
        r#""usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":0},"#,
        r#""completion_tokens_details":{"reasoning_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"seed":42}"#,
    );
    assert_eq!(body, [HEAD, expected].concat());
}

#[tokio::test]
async fn a_stream_begins_with_the_role_and_ends_with_an_empty_delta_and_the_reason() {
    let events = vec![event(0, "Hi", None), event(0, "", None), event(0, "!", Some(Finish::Length))];

    let body = answer(streamed(), plain(), events).await;

    let rest = |reason: &str| format!(r#","logprobs":null,"finish_reason":{reason}}}]}}"#) + "\n\n";
    let expected = [
        START,
        r#"{"index":0,"delta":{"role":"assistant","content":""}"#,
        &rest("null"),
        START,
        r#"{"index":0,"delta":{"content":"Hi"}"#,
        &rest("null"),
        START,
        r#"{"index":0,"delta":{"content":"!"}"#,
        &rest("null"),
        START,
        r#"{"index":0,"delta":{}"#,
        &rest(r#""length""#),
        "data: [DONE]\n\n",
    ];
    assert_eq!(body, expected.concat());
}

#[tokio::test]
async fn asked_for_usage_every_chunk_has_null_and_one_more_without_choices_has_the_counts() {
    let view = ChatView { stream_usage: Some(true), ..view() };

    let chunks = chunks(view, plain(), vec![event(0, "Hi", Some(Finish::EndOfGeneration))]).await;

    let (last, others) = chunks.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(6)));
    assert!(others.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)), "{others:?}");
}

#[tokio::test]
async fn each_choice_has_its_own_role_text_and_end() {
    let view = ChatView { n: 2, ..streamed() };
    let events = vec![event(1, "b", Some(Finish::Length)), event(0, "a", None), event(0, "", Some(Finish::StopString(0)))];

    let chunks = chunks(view, plain(), events).await;

    let seen: Vec<Value> = chunks
        .iter()
        .map(|chunk| json!([chunk["choices"][0]["index"], chunk["choices"][0]["delta"]["content"], chunk["choices"][0]["finish_reason"]]))
        .collect();
    let expected = [
        json!([0, "", null]),
        json!([1, "", null]),
        json!([1, "b", null]),
        json!([1, null, "length"]),
        json!([0, "a", null]),
        json!([0, null, "stop"]),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_stop_string_of_the_request_is_the_stop_reason() {
    let view = ChatView { stop: vec!["no".into(), "yes".into()], ..view() };

    let body = whole(view, plain(), vec![event(0, "Hi", Some(Finish::StopString(1)))]).await;

    assert_eq!((&body["choices"][0]["finish_reason"], &body["choices"][0]["stop_reason"]), (&json!("stop"), &json!("yes")));
}

#[tokio::test]
async fn what_was_thought_stands_beside_the_content_and_is_counted() {
    let events = || {
        vec![event(0, "Well, ", None), event(0, "42?", None), event(0, "</think>", None), event(0, "42.", Some(Finish::EndOfGeneration))]
    };

    let body = whole(view(), thinking(), events()).await;
    let message = &body["choices"][0]["message"];
    assert_eq!((&message["reasoning_content"], &message["content"]), (&json!("Well, 42?"), &json!("42.")));
    assert_eq!(body["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
    assert_eq!(body["usage"]["completion_tokens"], 4);

    let deltas = deltas(&chunks(streamed(), thinking(), events()).await);
    let joined = |key: &str| deltas.iter().filter_map(|delta| delta[key].as_str()).collect::<String>();
    assert_eq!((joined("reasoning_content"), joined("content")), ("Well, 42?".to_owned(), "42.".to_owned()));
}

#[tokio::test]
async fn reasoning_that_nobody_wants_is_left_out_and_still_counted() {
    let view = ChatView { reasoning: false, ..view() };
    let events = vec![event(0, "Hm", None), event(0, "</think>", None), event(0, "42.", Some(Finish::EndOfGeneration))];

    let body = whole(view, thinking(), events).await;

    assert_eq!(body["choices"][0]["message"], json!({"role": "assistant", "content": "42.", "refusal": null}));
    assert_eq!(body["usage"]["completion_tokens_details"]["reasoning_tokens"], 1);
}

#[tokio::test]
async fn a_streamed_call_says_id_type_and_name_once() {
    let text =
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call><tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>";
    let mut events: Vec<GenerationEvent> = text.chars().map(|c| event(0, &c.to_string(), None)).collect();
    events.push(event(0, "", Some(Finish::EndOfGeneration)));

    let chunks = chunks(streamed(), calling(), events).await;

    let calls: Vec<Value> = deltas(&chunks).iter().filter_map(|delta| delta["tool_calls"].get(0).cloned()).collect();
    for index in [0, 1] {
        let of_call: Vec<&Value> = calls.iter().filter(|call| call["index"] == index).collect();
        let id = of_call[0]["id"].as_str().unwrap();
        assert!(id.starts_with("call_") && id.len() == 29, "{id}");
        assert_eq!((&of_call[0]["type"], &of_call[0]["function"]["arguments"]), (&json!("function"), &json!("")));
        for later in &of_call[1..] {
            assert_eq!(later.as_object().unwrap().keys().collect::<Vec<_>>(), ["index", "function"]);
            assert_eq!(later["function"].as_object().unwrap().keys().collect::<Vec<_>>(), ["arguments"]);
        }
        let arguments: String = of_call.iter().map(|call| call["function"]["arguments"].as_str().unwrap()).collect();
        assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), [json!({"a": 1}), json!({})][index]);
    }
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn a_whole_call_has_null_for_content_and_its_arguments_as_text() {
    let text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>";

    let body = whole(view(), calling(), vec![event(0, text, Some(Finish::EndOfGeneration))]).await;

    let choice = &body["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&Value::Null, &json!("tool_calls")));
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({"name": "f", "arguments": "{\"a\": 1}"}));
    assert_eq!(call.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "type", "function"]);
}

#[tokio::test]
async fn a_call_that_was_cut_off_ended_by_length() {
    let text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\"";

    let body = whole(view(), calling(), vec![event(0, text, Some(Finish::Length))]).await;

    assert_eq!(body["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn every_token_has_its_log_probability_whatever_text_lags() {
    let view = ChatView { logprobs: true, ..view() };
    let events = || {
        vec![
            with_logprob(event(0, "<tool", None), &["<tool"]), // Held back by the parser.
            with_logprob(event(0, "box>", None), &["box", ">"]),
            with_logprob(event(0, "<tool", Some(Finish::Length)), &["<tool"]),
        ]
    };
    let tokens =
        |list: &Value| list.as_array().unwrap().iter().map(|token| token["token"].as_str().unwrap().to_owned()).collect::<Vec<_>>();

    let body = whole(view.clone(), calling(), events()).await;
    assert_eq!(body["choices"][0]["message"]["content"], "<toolbox><tool");
    assert_eq!(tokens(&body["choices"][0]["logprobs"]["content"]), ["<tool", "box", ">", "<tool"]);
    assert_eq!(body["choices"][0]["logprobs"]["refusal"], Value::Null);

    let chunks = chunks(ChatView { stream_usage: Some(false), ..view }, calling(), events()).await;
    let streamed: Vec<String> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["logprobs"])
        .filter(|logprobs| !logprobs.is_null())
        .flat_map(|logprobs| tokens(&logprobs["content"]))
        .collect();
    assert_eq!(streamed, ["<tool", "box", ">", "<tool"]);
}

#[tokio::test]
async fn warnings_are_in_the_body_if_they_are_wanted_there() {
    let view = ChatView { warnings: Some(vec!["ignored fields: x".into()]), ..view() };

    let body = whole(view, plain(), vec![event(0, "", Some(Finish::Length))]).await;

    assert_eq!((&body["warnings"], &body["choices"][0]["message"]["content"]), (&json!(["ignored fields: x"]), &json!("")));
}

#[test]
fn tokens_are_listed_where_they_have_log_probabilities() {
    let usage = Usage { prompt_tokens: 1000, completion_tokens: 10, ..Usage::default() };
    let head = || ResponseHead { id: "chatcmpl-1".into(), created: 7, model: "m".into(), system_fingerprint: "fp_0".into() };
    let listed = |view: ChatView| ChatFormat::new(head(), view, &Arc::new(plain())).listed_tokens(&usage);

    assert_eq!((listed(view()), listed(ChatView { logprobs: true, ..view() })), (0, 10));
}

#[tokio::test]
async fn a_call_of_a_custom_tool_has_its_text_instead_of_arguments() {
    let text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"input\": \"a\\nb\"}}</tool_call>";
    let tools = || vec![ToolSpec { name: "f".into(), parameters: json!({}), strict: false, input: ToolInput::Text { grammar: None } }];
    let spec = || OutputSpec { tools: tools(), calls: Calls::Auto, format: ToolFormat::Hermes, ..plain() };
    let events = || vec![event(0, &text[..55], None), event(0, &text[55..], Some(Finish::EndOfGeneration))];

    let body = whole(view(), spec(), events()).await;
    let deltas = deltas(&chunks(streamed(), spec(), events()).await);

    let call = &body["choices"][0]["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["custom"]), (&json!("custom"), &json!({"name": "f", "input": "a\nb"})));
    assert_eq!((call.get("function"), &body["choices"][0]["finish_reason"]), (None, &json!("tool_calls")));
    let calls: Vec<Value> = deltas.iter().filter_map(|delta| delta["tool_calls"].get(0)).map(|call| call["custom"].clone()).collect();
    assert_eq!(calls[0], json!({"name": "f", "input": ""}));
    let joined: String = calls.iter().map(|call| call["input"].as_str().unwrap()).collect();
    assert_eq!(joined, "a\nb");
}

#[tokio::test]
async fn whoever_asks_for_progress_gets_chunks_without_content_before_the_first_token() {
    let mut started = event(0, "", None);
    started.output.tokens.clear();
    started.output.started = Some(Started { cached_tokens: 2, queue_us: 0 });
    let mut computed = event(0, "", None);
    computed.output.tokens.clear();
    computed.output.processed = Some(4);
    let script = vec![started, computed, event(0, "Hi", Some(Finish::Length))];
    let hour = Duration::from_secs(3600);
    let run = Run::follow(stream::iter(script).boxed(), &[5], 1, Recorder::new("chat", "m", true, Instant::now()));
    let head = ResponseHead { id: "chatcmpl-1".into(), created: 1, model: "m".into(), system_fingerprint: "f".into() };
    let format = ChatFormat::new(head, streamed(), &Arc::new(plain())).with_progress(true);

    let response = respond(run, format, Mode::Stream { hold_status: hour, keep_alive: hour }).await.unwrap();

    let body = String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
    let frames = body.strip_suffix("data: [DONE]\n\n").unwrap().split_terminator("\n\n");
    let chunks: Vec<Value> = frames.map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect();
    let processed: Vec<&Value> = chunks.iter().map(|chunk| &chunk["prompt_progress"]["processed"]).collect();
    assert_eq!(processed, [&Value::Null, &json!(2), &json!(4), &json!(5), &Value::Null, &Value::Null]);
    let told = &chunks[2];
    assert_eq!((&told["prompt_progress"]["total"], &told["prompt_progress"]["cache"]), (&json!(5), &json!(2)));
    assert!(told["prompt_progress"]["time_ms"].is_u64(), "{told}");
    assert_eq!((&told["object"], &told["choices"][0]["delta"]), (&json!("chat.completion.chunk"), &json!({})));
}
