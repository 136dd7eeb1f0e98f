//! Literal answers and streams, made by the one generation path from scripted events.

use super::*;
use crate::{
    api::respond::{Mode, Recorder, Run, respond},
    chat::output::{Calls, Reasoning, ToolFormat, ToolInput, ToolSpec},
    protocol::{GenerationError, SequenceId, SequenceOutput, Started, Token},
};
use axum::body::to_bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

fn view() -> MessageView {
    MessageView { thoughts: true, stop_sequences: vec![], prompt_tokens: 5, warnings: None, request_id: None }
}

fn plain() -> OutputSpec {
    OutputSpec { tools: vec![], calls: Calls::None, parallel: true, format: ToolFormat::Json, reasoning: Reasoning::None }
}

fn thinking() -> OutputSpec {
    OutputSpec { reasoning: Reasoning::Tags { open: "<think>", close: "</think>", begins_inside: true }, ..calling() }
}

fn calling() -> OutputSpec {
    let tool = |name: &str| ToolSpec { name: name.to_owned(), parameters: json!({}), strict: false, input: ToolInput::Arguments };
    OutputSpec { tools: vec![tool("f"), tool("g")], calls: Calls::Auto, format: ToolFormat::Hermes, ..plain() }
}

fn event(text: &str, finish: Option<Finish>) -> GenerationEvent {
    let mut output = SequenceOutput::empty(SequenceId(1));
    output.tokens = vec![Token(0)];
    output.text = text.to_owned();
    output.finish = finish;
    GenerationEvent { choice: 0, output }
}

/// The event of a start with three cached tokens.
fn started() -> GenerationEvent {
    let mut output = SequenceOutput::empty(SequenceId(1));
    output.started = Some(Started { cached_tokens: 3, queue_us: 1 });
    GenerationEvent { choice: 0, output }
}

/// The body that these events make of a prompt of five tokens.
async fn answer(view: MessageView, spec: OutputSpec, stream: bool, events: Vec<GenerationEvent>) -> String {
    let hour = Duration::from_secs(3600);
    let mode = if stream { Mode::Stream { hold_status: hour, keep_alive: hour } } else { Mode::Whole };
    let recorder = Recorder::new("messages", "m", stream, Instant::now());
    let run = Run::follow(stream::iter(events).boxed(), &[5], 1, recorder);
    let response = respond(run, MessageFormat::new("m".to_owned(), view, Arc::new(spec)), mode).await.unwrap();
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

async fn whole(view: MessageView, spec: OutputSpec, events: Vec<GenerationEvent>) -> Value {
    serde_json::from_str(&answer(view, spec, false, events).await).unwrap()
}

/// The data of a stream's frames, each of which is named by its type.
async fn streamed(view: MessageView, spec: OutputSpec, events: Vec<GenerationEvent>) -> Vec<Value> {
    let body = answer(view, spec, true, events).await;
    let frame = |frame: &str| {
        let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        data
    };
    body.split_terminator("\n\n").map(frame).collect()
}

/// The message that the SDKs build from a stream.
fn accumulated(events: &[Value]) -> Value {
    let mut message = Value::Null;
    let mut inputs: Vec<String> = vec![];
    let add = |text: &mut Value, more: &Value| *text = json!(format!("{}{}", text.as_str().unwrap(), more.as_str().unwrap()));
    for event in events {
        let index = usize::try_from(event["index"].as_u64().unwrap_or(0)).unwrap();
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                assert_eq!(index, inputs.len(), "blocks are numbered without gaps");
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                let (delta, block) = (&event["delta"], &mut message["content"][index]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => add(&mut block["text"], &delta["text"]),
                    "thinking_delta" => add(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "input_json_delta" => inputs[index].push_str(delta["partial_json"].as_str().unwrap()),
                    kind => panic!("{kind}"),
                }
            }
            "content_block_stop" if message["content"][index]["type"] == "tool_use" => {
                message["content"][index]["input"] = serde_json::from_str(&inputs[index]).unwrap();
            }
            "message_delta" => {
                for key in ["stop_reason", "stop_sequence"] {
                    message[key] = event["delta"][key].clone();
                }
                message["usage"] = event["usage"].clone();
            }
            _ => {}
        }
    }
    message
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// A message without its ids, which are drawn anew for each answer.
fn without_ids(mut message: Value) -> Value {
    assert!(message["id"].as_str().unwrap().starts_with("msg_"), "{message}");
    message["id"] = json!("msg_");
    for block in message["content"].as_array_mut().unwrap().iter_mut().filter(|block| block["type"] == "tool_use") {
        assert!(block["id"].as_str().unwrap().starts_with("toolu_") && block["id"].as_str().unwrap().len() == 30, "{block}");
        block["id"] = json!("toolu_");
    }
    message
}

#[tokio::test]
async fn the_whole_answer_is_anthropics_message_and_counts_cached_tokens_apart() {
    let message = whole(view(), plain(), vec![started(), event("Hel", None), event("lo", Some(Finish::EndOfGeneration))]).await;

    let usage = json!({"input_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 2,
        "output_tokens_details": {"thinking_tokens": 0}});
    let expected = json!({"id": "msg_", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", "stop_sequence": null, "usage": usage});
    assert_eq!(without_ids(message), expected);
}

#[tokio::test]
async fn a_stream_begins_with_the_prompts_tokens_and_ends_with_all() {
    let events = streamed(view(), plain(), vec![started(), event("Hel", None), event("lo", Some(Finish::Length))]).await;

    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(kinds(&events), expected);
    let counts = |usage: &Value| ["input_tokens", "cache_read_input_tokens", "output_tokens"].map(|key| usage[key].as_u64().unwrap());
    assert_eq!(counts(&events[0]["message"]["usage"]), [2, 3, 0]);
    assert_eq!(events[1]["content_block"], json!({"type": "text", "text": ""}));
    assert_eq!(events[5]["delta"], json!({"stop_reason": "max_tokens", "stop_sequence": null}));
    assert_eq!(counts(&events[5]["usage"]), [2, 3, 2]);
}

#[tokio::test]
async fn a_stream_joins_to_the_answer_that_is_sent_whole() {
    let text = "Let me see.</think>I look.<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": [1, \"}\"]}}</tool_call>\
                <tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>";
    let script = || {
        let mut events = vec![started()];
        events.extend(text.chars().map(|c| event(&c.to_string(), None)));
        events.push(event("", Some(Finish::EndOfGeneration)));
        events
    };

    let message = without_ids(whole(view(), thinking(), script()).await);

    assert_eq!(without_ids(accumulated(&streamed(view(), thinking(), script()).await)), message);
    let content = json!([
        {"type": "thinking", "thinking": "Let me see.", "signature": ""},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_", "name": "f", "input": {"a": [1, "}"]}},
        {"type": "tool_use", "id": "toolu_", "name": "g", "input": {}},
    ]);
    assert_eq!((&message["content"], &message["stop_reason"]), (&content, &json!("tool_use")));
    let thought = message["usage"]["output_tokens_details"]["thinking_tokens"].as_u64().unwrap();
    assert!((11..19).contains(&thought), "{thought}");
}

#[tokio::test]
async fn a_thought_is_signed_before_its_block_ends_and_hidden_where_it_is_not_wanted() {
    let script = || vec![event("Hm", None), event(".</think>Yes", Some(Finish::EndOfGeneration))];

    let shown = streamed(view(), thinking(), script()).await;
    let hidden = streamed(MessageView { thoughts: false, ..view() }, thinking(), script()).await;

    let deltas = |events: &[Value]| {
        events
            .iter()
            .filter(|event| event["index"] == 0)
            .map(|event| event["delta"]["type"].clone())
            .filter(|kind| !kind.is_null())
            .collect::<Vec<_>>()
    };
    assert_eq!(deltas(&shown), ["thinking_delta", "thinking_delta", "signature_delta"]);
    assert_eq!(deltas(&hidden), ["signature_delta"]);
    assert_eq!(
        accumulated(&hidden)["content"],
        json!([{"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": "Yes"}])
    );
}

#[tokio::test]
async fn an_end_has_anthropics_words() {
    let view = || MessageView { stop_sequences: vec!["a".to_owned(), "b".to_owned()], ..view() };
    let rows = [
        (Finish::EndOfGeneration, "end_turn", Value::Null),
        (Finish::StopToken(Token(1)), "end_turn", Value::Null),
        (Finish::Length, "max_tokens", Value::Null),
        (Finish::StopString(1), "stop_sequence", json!("b")),
    ];
    for (finish, reason, sequence) in rows {
        let message = whole(view(), plain(), vec![event("x", Some(finish.clone()))]).await;
        assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!(reason), &sequence), "{finish:?}");
    }
    let silent = whole(view(), plain(), vec![event("", Some(Finish::EndOfGeneration))]).await;
    assert_eq!((&silent["content"], &silent["stop_reason"]), (&json!([]), &json!("end_turn")));
}

#[tokio::test]
async fn a_call_that_max_tokens_cut_has_the_members_that_were_whole() {
    let script = vec![event("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1, \"b\": \"tw", Some(Finish::Length))];

    let message = whole(view(), calling(), script).await;

    assert_eq!((&message["content"][0]["input"], &message["stop_reason"]), (&json!({"a": 1}), &json!("max_tokens")));
}

#[test]
fn cut_arguments_are_read_as_far_as_they_go() {
    let rows = [
        ("", json!({})),
        ("{", json!({})),
        (r#"{"a""#, json!({})),
        (r#"{"a": 12"#, json!({})),
        (r#"{"a": 12, "#, json!({"a": 12})),
        (r#"{"a": {"b": [1, 2], "c": "x, {\""#, json!({"a": {"b": [1, 2]}})),
        (r#"{"a": {"b": 1}"#, json!({"a": {"b": 1}})),
        (r#"{"a": {"b": 1}}"#, json!({"a": {"b": 1}})),
        ("}", json!({})),
    ];
    for (text, expected) in rows {
        assert_eq!(Value::Object(complete_members(text)), expected, "{text}");
    }
}

#[tokio::test]
async fn a_stream_that_fails_says_so_in_an_event() {
    let died = Finish::Failed(GenerationError::EngineDied("/secret/path".to_owned()));

    let events = streamed(view(), plain(), vec![event("Hel", None), event("", Some(died))]).await;

    assert_eq!(kinds(&events), ["message_start", "content_block_start", "content_block_delta", "error"]);
    let message = "The engine stopped while it worked on this request. Please try again.";
    assert_eq!(events[3], json!({"type": "error", "error": {"type": "api_error", "message": message}}));
}

#[tokio::test]
async fn the_progress_of_a_prompt_is_a_ping_once_the_message_has_begun() {
    let progress = PromptProgress { choice: 0, total: 5, cache: 3, processed: 4, time_ms: 1 };
    let mut format = MessageFormat::new("m".to_owned(), view(), Arc::new(plain()));
    let comment = ": prompt: 4 of 5 tokens, 3 of them cached\n\n";

    let early = format.progress(&progress);
    format.chunks(started());
    let late = format.progress(&progress);

    assert_eq!(early, format!("{comment}: ping\n\n"));
    assert_eq!(late, format!("{comment}event: ping\ndata: {{\"type\":\"ping\"}}\n\n"));
    assert_eq!(format.keep_alive(), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
}
