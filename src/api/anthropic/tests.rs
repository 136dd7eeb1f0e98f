//! The routes over a scripted engine whose tokens are characters and which answers everything with ` world`.

use crate::{
    api::testing::{Answer, Setup, TestApp},
    protocol::{Constraint, SequenceRequest},
};
use axum::{body::Body, http::Request};
use serde_json::{Value, json};

async fn app() -> TestApp {
    TestApp::start(Setup::default()).await
}

fn filled(mut body: Value) -> String {
    let fields = body.as_object_mut().unwrap();
    fields.entry("model").or_insert(json!("tiny"));
    fields.entry("max_tokens").or_insert(json!(16));
    fields.entry("messages").or_insert(json!([{"role": "user", "content": "Hello"}]));
    body.to_string()
}

async fn ask(app: &TestApp, body: Value) -> Answer {
    app.post("/v1/messages", &filled(body)).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

fn prompt_of(request: &SequenceRequest) -> String {
    request.prompt.iter().map(|token| char::from_u32(token.0).unwrap()).collect()
}

#[tokio::test]
async fn a_request_is_rendered_by_the_template_and_answered_by_a_message() {
    let app = app().await;

    let answer = ask(&app, json!({"system": "Be kind.", "stop_sequences": ["x"], "temperature": 0})).await;

    let body = json_of(&answer);
    assert_eq!(answer.status, 200, "{body}");
    assert_eq!((&body["type"], &body["role"], &body["model"]), (&json!("message"), &json!("assistant"), &json!("tiny")));
    assert_eq!(body["content"], json!([{"type": "text", "text": " world"}]));
    assert_eq!((&body["stop_reason"], &body["usage"]["output_tokens"]), (&json!("end_turn"), &json!(1)));
    let submitted = &app.submitted()[0];
    assert!(prompt_of(submitted).starts_with("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"));
    assert_eq!(body["usage"]["input_tokens"], submitted.prompt.len());
    assert_eq!((submitted.max_tokens, submitted.stop.clone(), submitted.sampling.temperature), (16, vec!["x".to_owned()], 0.0));
    assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
}

#[tokio::test]
async fn a_system_prompt_and_later_system_turns_reach_a_template_that_takes_none() {
    let template = "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('System role not supported') }}\
                    {% endif %}<{{ message.role }}>{{ message.content }}{% endfor %}";
    let app = TestApp::with_template(Setup::default(), template).await;
    let turns = json!([{"role": "user", "content": "Hello"}, {"role": "system", "content": "Now rhyme."}]);

    let answer = ask(&app, json!({"system": "Be kind.", "messages": turns})).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(prompt_of(&app.submitted()[0]), "<user>Be kind.\n\nHello\n\nNow rhyme.");
    assert!(answer.header("x-llamero-warnings").starts_with("system messages were put into user turns"), "{:?}", answer.headers);
}

#[tokio::test]
async fn a_stream_has_named_events_and_no_done() {
    let app = app().await;

    let answer = ask(&app, json!({"stream": true})).await;

    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let names: Vec<&str> = answer.body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let expected = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"];
    assert_eq!(names, expected);
    assert!(!answer.body.contains("[DONE]"));
}

#[tokio::test]
async fn the_count_is_that_of_the_prompt_of_the_same_body() {
    let app = app().await;
    let tools = json!([{"name": "f", "description": "d", "input_schema": {"type": "object"}}]);
    for body in
        [json!({}), json!({"system": "Be kind."}), json!({"tools": tools}), json!({"tools": tools, "tool_choice": {"type": "none"}})]
    {
        let real = json_of(&ask(&app, body.clone()).await);
        let mut fields: Value = serde_json::from_str(&filled(body.clone())).unwrap();
        fields.as_object_mut().unwrap().remove("max_tokens");

        let counted = json_of(&app.post("/v1/messages/count_tokens", &fields.to_string()).await);

        assert_eq!(counted, json!({"input_tokens": real["usage"]["input_tokens"]}), "{body}");
    }
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_is_counted_and_not_answered() {
    let app = app().await;
    let long = "x".repeat(usize::try_from(app.state.models.first().info.unwrap().max_model_len).unwrap());
    let body = json!({"messages": [{"role": "user", "content": long}]});

    let counted = app.post("/v1/messages/count_tokens", &filled(body.clone())).await;
    let refused = ask(&app, body).await;

    assert!(json_of(&counted)["input_tokens"].as_u64().unwrap() > u64::try_from(long.len()).unwrap());
    assert_eq!((counted.status.as_u16(), refused.status.as_u16()), (200, 400));
    assert!(json_of(&refused)["error"]["message"].as_str().unwrap().starts_with("prompt is too long: "));
}

#[tokio::test]
async fn a_last_message_of_the_assistant_is_continued() {
    let app = app().await;
    let messages = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello,"}]);

    ask(&app, json!({"messages": messages})).await;

    assert!(prompt_of(&app.submitted()[0]).ends_with("<|im_start|>assistant\nHello,"));
}

#[tokio::test]
async fn a_call_that_must_be_made_and_a_format_are_constraints() {
    let app = app().await;
    let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    let format = json!({"format": {"type": "json_schema", "schema": {"type": "object"}}});

    ask(&app, json!({"tools": tools, "tool_choice": {"type": "any"}})).await;
    ask(&app, json!({"output_config": format})).await;
    let both = ask(&app, json!({"tools": tools, "tool_choice": {"type": "any"}, "output_config": format})).await;

    assert!(app.submitted().iter().all(|s| matches!(s.constraint, Some(Constraint::JsonSchema(_)))));
    assert_eq!(app.submitted()[1].constraint, Some(Constraint::JsonSchema(r#"{"type":"object"}"#.to_owned())));
    assert_eq!(both.header("x-llamero-warnings"), "output_config.format was not applied: tool_choice asks for a call");
}

#[tokio::test]
async fn refusals_name_the_field_of_this_route_and_nothing_reaches_the_engine() {
    let app = app().await;
    let rows = [
        (json!({"max_tokens": null}), 400, "invalid_request_error", "'max_tokens'"),
        (json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}), 400, "invalid_request_error", "'messages.0.content.0'"),
        (json!({"stop_sequences": vec!["a"; 65]}), 400, "invalid_request_error", "'stop_sequences'"),
        (json!({"chat_template_kwargs": {"messages": 1}}), 400, "invalid_request_error", "'chat_template_kwargs.messages'"),
    ];
    for (body, status, kind, part) in rows {
        let answer = ask(&app, body.clone()).await;
        let error = &json_of(&answer)["error"];
        assert_eq!((answer.status.as_u16(), &error["type"]), (status, &json!(kind)), "{body}: {error}");
        assert!(error["message"].as_str().unwrap().contains(part), "{body}: {error}");
    }
    assert!(app.submitted().is_empty());
}

#[tokio::test]
async fn what_the_template_does_not_show_is_told_under_the_names_of_this_route() {
    let app = app().await;
    let messages = json!([
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]},
    ]);
    let tools = json!([{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true}]);

    // The prompt is longer than the context, so it can only be counted.
    let free = app.post("/v1/messages/count_tokens", &filled(json!({"messages": messages, "tools": tools}))).await;
    let forced = ask(&app, json!({"tools": tools, "tool_choice": {"type": "any"}})).await;

    let told = "ignored fields: tools, messages.content.tool_use, messages.content.thinking";
    assert_eq!(free.header("x-llamero-warnings"), told);
    assert_eq!(forced.header("x-llamero-warnings"), "ignored fields: tools.description");
}

/// The words of a client are not names of fields, whatever they are (issue 12).
#[tokio::test]
async fn a_clients_own_words_are_repeated_as_they_are() {
    let app = app().await;
    let refused = ask(&app, json!({"messages": [{"role": "user", "content": [{"type": "reasoning_effort"}]}]})).await;
    let message = "Invalid 'messages.0.content.0': blocks of type 'reasoning_effort' are not supported here: the model reads text only.";
    assert_eq!(json_of(&refused)["error"]["message"], message);
    for name in ["reasoning_effort", "my_response_format"] {
        let kwargs = ask(&app, json!({"chat_template_kwargs": {name: "low"}})).await;
        assert_eq!(kwargs.header("x-llamero-warnings"), format!("ignored fields: chat_template_kwargs.{name}"));
    }
}

#[tokio::test]
async fn what_was_not_done_as_asked_is_in_the_header_and_strict_requests_are_refused_for_it() {
    let app = app().await;
    let body = || json!({"frobnicate": 1, "thinking": {"type": "enabled", "budget_tokens": 1024}});

    let answer = ask(&app, body()).await;
    let strict = Request::post("/v1/messages").header("x-llamero-strict", "1").body(Body::from(filled(body()))).unwrap();
    let strict = app.send(strict).await;
    let shown = Request::post("/v1/messages").header("x-llamero-warnings", "body").body(Body::from(filled(body()))).unwrap();
    let shown = json_of(&app.send(shown).await);

    let told = "ignored fields: thinking, frobnicate; thinking.budget_tokens is not enforced";
    assert_eq!(answer.header("x-llamero-warnings"), told);
    assert_eq!(shown["warnings"].as_array().unwrap().len(), 2);
    assert_eq!((strict.status.as_u16(), &json_of(&strict)["error"]["type"]), (400, &json!("invalid_request_error")));
    assert!(json_of(&strict)["error"]["message"].as_str().unwrap().contains(told));
    let quiet = ask(&app, json!({"metadata": {"user_id": "me"}, "service_tier": "auto", "cache_control": {"type": "ephemeral"}})).await;
    assert_eq!(quiet.header("x-llamero-warnings"), "");
}
