//! Answers and streams, made by the one generation path from scripted events.

use super::*;
use crate::{
    api::respond::{Mode, Recorder, Run, respond},
    chat::output::{Calls, Reasoning, ToolFormat, ToolInput, ToolSpec},
    protocol::{GenerationError, SequenceId, SequenceOutput, Token, TokenAlternative, TokenLogprob},
};
use axum::body::to_bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

fn view() -> ResponseView {
    let echo = Map::from_iter([("temperature".to_owned(), json!(1.0))]);
    ResponseView { model: "m".into(), logprobs: false, reasoning: true, seed: 42, warnings: None, echo, names: ToolNames::default() }
}

fn plain() -> OutputSpec {
    OutputSpec { tools: vec![], calls: Calls::None, parallel: true, format: ToolFormat::Json, reasoning: Reasoning::None }
}

/// The spec of an output with reasoning, text and calls.
fn everything() -> OutputSpec {
    let tool = |name: &str| ToolSpec { name: name.to_owned(), parameters: json!({}), strict: false, input: ToolInput::Arguments };
    let reasoning = Reasoning::Tags { open: "<think>", close: "</think>", begins_inside: true };
    OutputSpec { tools: vec![tool("f"), tool("g")], calls: Calls::Auto, format: ToolFormat::Hermes, reasoning, ..plain() }
}

fn event(text: &str, finish: Option<Finish>) -> GenerationEvent {
    let mut output = SequenceOutput::empty(SequenceId(1));
    output.tokens = vec![Token(0)];
    output.text = text.to_owned();
    output.finish = finish;
    GenerationEvent { choice: 0, output }
}

fn letters(text: &str, finish: Finish) -> Vec<GenerationEvent> {
    let mut events: Vec<GenerationEvent> = text.chars().map(|c| event(&c.to_string(), None)).collect();
    events.push(event("", Some(finish)));
    events
}

/// The body that these events make of a prompt of five tokens.
async fn answer(view: ResponseView, spec: OutputSpec, events: Vec<GenerationEvent>, streamed: bool) -> String {
    let hour = Duration::from_secs(3600);
    let mode = if streamed { Mode::Stream { hold_status: hour, keep_alive: hour } } else { Mode::Whole };
    let run = Run::follow(stream::iter(events).boxed(), &[5], 1, Recorder::new("responses", "m", streamed, Instant::now()));
    let response = respond(run, ResponsesFormat::new(view, &Arc::new(spec)), mode).await.unwrap();
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

async fn whole(view: ResponseView, spec: OutputSpec, events: Vec<GenerationEvent>) -> Value {
    serde_json::from_str(&answer(view, spec, events, false).await).unwrap()
}

/// The events of a stream, each of whose frames has its event's name.
async fn events(view: ResponseView, spec: OutputSpec, script: Vec<GenerationEvent>) -> Vec<Value> {
    let body = answer(view, spec, script, true).await;
    let event = |frame: &str| {
        let (name, data) = frame.split_once('\n').unwrap();
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(Some(name), event["type"].as_str().map(|kind| format!("event: {kind}")).as_deref());
        event
    };
    body.split_terminator("\n\n").map(event).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect()
}

/// Builds a response from its events as an SDK does, and checks each event against those before it.
fn fold(events: &[Value]) -> Value {
    let mut output: Vec<Value> = Vec::new();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
        let index = event["output_index"].as_u64().map(|index| usize::try_from(index).unwrap());
        if event["type"] == "response.output_item.added" {
            assert_eq!(index, Some(output.len()));
            assert!(output.last().is_none_or(|item| item["status"] != "in_progress"), "one at a time");
            output.push(event["item"].clone());
            continue;
        }
        let Some(item) = index.and_then(|index| output.get_mut(index)) else { continue };
        assert!(event["item_id"].is_null() || event["item_id"] == item["id"], "{event}");
        let add = |text: &mut Value, more: &Value| *text = json!([text.as_str().unwrap(), more.as_str().unwrap()].concat());
        match event["type"].as_str().unwrap().trim_start_matches("response.") {
            "content_part.added" => item["content"].as_array_mut().unwrap().push(event["part"].clone()),
            "reasoning_text.delta" => add(&mut item["content"][0]["text"], &event["delta"]),
            "output_text.delta" => {
                add(&mut item["content"][0]["text"], &event["delta"]);
                let more = event["logprobs"].as_array().unwrap().clone();
                item["content"][0]["logprobs"].as_array_mut().unwrap().extend(more);
            }
            "custom_tool_call_input.delta" => add(&mut item["input"], &event["delta"]),
            "custom_tool_call_input.done" => assert_eq!(event["input"], item["input"]),
            "function_call_arguments.delta" => add(&mut item["arguments"], &event["delta"]),
            "output_text.done" | "reasoning_text.done" => assert_eq!(event["text"], item["content"][0]["text"]),
            "function_call_arguments.done" => assert_eq!(event["arguments"], item["arguments"]),
            "content_part.done" => assert_eq!(event["part"], item["content"][0]),
            "output_item.done" => {
                item["status"] = event["item"]["status"].clone();
                assert_eq!(event["item"], *item);
            }
            other => panic!("{other}"),
        }
    }
    output.into()
}

/// The response with its random parts and times blanked, so that two answers to the same events are equal.
fn without_chance(mut response: Value) -> Value {
    response["id"] = json!("resp");
    for time in ["created_at", "completed_at"] {
        response[time] = json!(response[time].is_u64());
    }
    for item in response["output"].as_array_mut().unwrap() {
        for id in ["id", "call_id"] {
            if let Some(text) = item[id].as_str() {
                item[id] = json!(text.trim_end_matches(|c: char| c.is_ascii_hexdigit()));
            }
        }
    }
    response
}

const SCRIPT: &str = "Well.</think>I call.<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>\
                      <tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>Called.";

#[tokio::test]
async fn the_whole_answer_is_openais_object() {
    let script = vec![event("Hel", None), event("lo", None), event("", Some(Finish::EndOfGeneration))];

    let body = without_chance(whole(view(), plain(), script).await);

    let part = json!({"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []});
    let expected = json!({
        "id": "resp", "object": "response", "created_at": true, "status": "completed", "completed_at": true, "error": null,
        "incomplete_details": null, "model": "m",
        "output": [{"type": "message", "id": "msg_", "role": "assistant", "content": [part], "status": "completed"}],
        "usage": {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 8},
        "temperature": 1.0, "seed": 42,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_stream_of_a_text_has_openais_events_in_openais_order() {
    let script = vec![event("Hi", None), event("", None), event("!", Some(Finish::EndOfGeneration))];

    let events = events(view(), plain(), script).await;

    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&events), expected);
    assert_eq!((&events[0]["response"]["status"], &events[0]["response"]["usage"]), (&json!("in_progress"), &Value::Null));
    let item = json!({"type": "message", "id": events[4]["item_id"], "role": "assistant", "content": [], "status": "in_progress"});
    assert_eq!(events[2], json!({"type": "response.output_item.added", "sequence_number": 2, "output_index": 0, "item": item}));
    let delta = json!({"type": "response.output_text.delta", "sequence_number": 4, "item_id": item["id"], "output_index": 0,
        "content_index": 0, "delta": "Hi", "logprobs": []});
    assert_eq!(events[4], delta);
}

#[tokio::test]
async fn thoughts_words_and_calls_are_items_in_the_order_in_which_they_came() {
    let body = without_chance(whole(view(), everything(), letters(SCRIPT, Finish::EndOfGeneration)).await);

    let said = |text: &str| {
        let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
        json!({"type": "message", "id": "msg_", "role": "assistant", "content": [part], "status": "completed"})
    };
    let called = |name: &str, arguments: &str| json!({"type": "function_call", "id": "fc_", "call_id": "call_", "name": name, "arguments": arguments, "status": "completed"});
    let thought = json!({"type": "reasoning", "id": "rs_", "summary": [], "content": [{"type": "reasoning_text", "text": "Well."}],
        "status": "completed"});
    assert_eq!(body["output"], json!([thought, said("I call."), called("f", "{\"a\": 1}"), called("g", "{}"), said("Called.")]));
    assert!(body["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64().unwrap() >= 5);
}

#[tokio::test]
async fn a_stream_folds_to_the_whole_answer_wherever_it_was_cut_and_however_it_ended() {
    for (length, finish) in (0..=SCRIPT.len()).flat_map(|length| [(length, Finish::Length), (length, Finish::EndOfGeneration)]) {
        let script = || letters(&SCRIPT[..length], finish.clone());

        let events = events(view(), everything(), script()).await;
        let whole = whole(view(), everything(), script()).await;

        let last = &events.last().unwrap()["response"];
        assert_eq!(fold(&events), last["output"], "{length} {finish:?}");
        assert_eq!(without_chance(last.clone()), without_chance(whole), "{length} {finish:?}");
    }
}

/// A spec whose tool `f` takes a text; `f` is in the namespace `n`.
fn text_tool() -> (ResponseView, OutputSpec) {
    let mut spec = everything();
    spec.tools[0].input = ToolInput::Text { grammar: None };
    let mut view = view();
    view.names.add("n", "f", false);
    view.names.add("m", "g", false);
    (view, spec)
}

const TEXT_SCRIPT: &str = "Well.</think><tool_call>{\"name\": \"f\", \"arguments\": {\"input\": \"a\\n\\\"b\\\"\"}}</tool_call>\
                           <tool_call>{\"name\": \"g\", \"arguments\": {\"a\": 1}}</tool_call>";

#[tokio::test]
async fn the_input_of_a_custom_tool_is_its_text_and_names_have_their_namespaces() {
    let (view, spec) = text_tool();

    let body = without_chance(whole(view, spec, letters(TEXT_SCRIPT, Finish::EndOfGeneration)).await);

    let text = json!({"type": "custom_tool_call", "id": "ctc_", "call_id": "call_", "namespace": "n", "name": "f", "input": "a\n\"b\"",
        "status": "completed"});
    let function = json!({"type": "function_call", "id": "fc_", "call_id": "call_", "namespace": "m", "name": "g",
        "arguments": "{\"a\": 1}", "status": "completed"});
    assert_eq!(body["output"].as_array().unwrap()[1..], [text, function]);
}

#[tokio::test]
async fn the_stream_of_a_custom_tool_folds_to_the_whole_answer_wherever_it_was_cut() {
    for length in 0..=TEXT_SCRIPT.len() {
        let script = || letters(&TEXT_SCRIPT[..length], Finish::Length);
        let ((view, spec), (other_view, other_spec)) = (text_tool(), text_tool());

        let events = events(view, spec, script()).await;
        let whole = whole(other_view, other_spec, script()).await;

        let last = &events.last().unwrap()["response"];
        assert_eq!(fold(&events), last["output"], "{length}");
        assert_eq!(without_chance(last.clone()), without_chance(whole), "{length}");
    }
}

#[tokio::test]
async fn what_is_cut_off_is_incomplete_and_says_why() {
    let events = events(view(), plain(), vec![event("Hi", Some(Finish::Length))]).await;

    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.incomplete"), &json!("incomplete")));
    assert_eq!(last["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!((&last["response"]["output"][0]["status"], &last["response"]["completed_at"]), (&json!("incomplete"), &Value::Null));
}

#[tokio::test]
async fn an_answer_that_says_nothing_has_an_empty_message_unless_it_was_cut_off_in_thought() {
    let texts = async |text: &str, finish| {
        let body = whole(view(), everything(), letters(text, finish)).await;
        let kinds = body["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap().to_owned());
        kinds.collect::<Vec<String>>().join(" ")
    };

    assert_eq!(texts("", Finish::EndOfGeneration).await, "message");
    assert_eq!(texts("", Finish::Length).await, "message");
    assert_eq!(texts("Hm.</think>", Finish::EndOfGeneration).await, "reasoning message");
    assert_eq!(texts("Hm.", Finish::Length).await, "reasoning");
}

#[tokio::test]
async fn reasoning_that_nobody_wants_is_left_out_and_still_counted() {
    let view = ResponseView { reasoning: false, ..view() };

    let body = whole(view, everything(), letters("Hm</think>42.", Finish::EndOfGeneration)).await;

    assert_eq!((&body["output"][0]["content"][0]["text"], &body["output"][1]), (&json!("42."), &Value::Null));
    assert!(body["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64().unwrap() >= 2);
}

#[tokio::test]
async fn log_probabilities_stand_beside_what_was_said_and_nothing_else() {
    let view = || ResponseView { logprobs: true, ..view() };
    let script = || {
        let named = |piece: &str, finish| {
            let mut event = event(piece, finish);
            let alternative = TokenAlternative { token: Token(0), bytes: piece.as_bytes().to_vec(), logprob: -0.5 };
            event.output.logprobs = vec![TokenLogprob { chosen: alternative, top: vec![] }];
            event
        };
        vec![named("Hm", None), named("</think>", None), named("a", None), named("b", Some(Finish::Length))]
    };

    let events = events(view(), everything(), script()).await;
    let whole = whole(view(), everything(), script()).await;

    let token = |text: &str| json!({"token": text, "logprob": -0.5, "bytes": text.as_bytes(), "top_logprobs": []});
    let message = &whole["output"][1]["content"][0];
    assert_eq!(message["logprobs"].as_array().unwrap().last_chunk::<2>(), Some(&[token("a"), token("b")]));
    assert_eq!(fold(&events)[1]["content"][0]["logprobs"], message["logprobs"]);
}

#[tokio::test]
async fn a_stream_that_fails_says_so_twice_and_has_no_other_end() {
    let script = vec![event("Hi", None), event("", Some(Finish::Failed(GenerationError::EngineDied("signal 9".into()))))];

    let events = events(view(), plain(), script).await;

    let [.., error, failed] = &events[..] else { panic!("{events:?}") };
    let message = "The engine stopped while it worked on this request. Please try again.";
    let expected = json!({"type": "error", "sequence_number": 5, "code": "engine_error", "message": message, "param": null});
    assert_eq!(*error, expected);
    assert_eq!((&failed["type"], &failed["sequence_number"]), (&json!("response.failed"), &json!(6)));
    assert_eq!(failed["response"]["error"], json!({"code": "server_error", "message": message}));
    assert_eq!((&failed["response"]["status"], &failed["response"]["output"][0]["status"]), (&json!("failed"), &json!("incomplete")));
}
