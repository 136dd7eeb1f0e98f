//! The route over a scripted engine whose tokens are characters and which answers everything with ` world`.

use crate::{
    api::testing::{Answer, Setup, TestApp},
    chat::FALLBACK,
    gateway::testing::token,
    protocol::{
        Constraint, EngineCall, EngineReply, Finish, FromEngine, GenerationError, SequenceRequest, SpecialText, StepReport, ToEngine,
        Token, Tokenize,
    },
};
use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

mod generic_tools;

/// A template that shows tools.
const WITH_TOOLS: &str = "{% for message in messages %}{{ message.content }}{% endfor %}{% for tool in tools or [] %}<tool_call>{{ tool.function.name }}{% endfor %}";

async fn app() -> TestApp {
    TestApp::start(Setup::default()).await
}

async fn chat(app: &TestApp, mut body: Value) -> Answer {
    let fields = body.as_object_mut().unwrap();
    fields.entry("model").or_insert(json!("tiny"));
    fields.entry("messages").or_insert(json!([{"role": "user", "content": "Hello"}]));
    app.post("/v1/chat/completions", &body.to_string()).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

fn prompt_of(request: &SequenceRequest) -> String {
    request.prompt.iter().map(|token| char::from_u32(token.0).unwrap()).collect()
}

#[tokio::test]
async fn messages_are_rendered_by_the_template_and_the_answer_is_a_chat_completion() {
    assert!(FALLBACK.contains("<|im_start|>"), "the template of the scripted model");
    let app = app().await;

    let answer = chat(&app, json!({"seed": 5})).await;

    let body = json_of(&answer);
    assert_eq!(answer.status, 200, "{body}");
    assert_eq!(prompt_of(&app.submitted()[0]), "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!((&body["object"], &body["seed"], &body["model"]), (&json!("chat.completion"), &json!(5), &json!("tiny")));
    assert_eq!(body["choices"][0]["message"], json!({"role": "assistant", "content": " world", "refusal": null}));
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
}

#[tokio::test]
async fn the_engine_is_asked_for_what_the_request_says() {
    let app = app().await;

    chat(&app, json!({"n": 2, "seed": 7, "max_tokens": 5, "stop": "x", "logprobs": true, "top_logprobs": 3, "min_tokens": 1})).await;

    let submitted = app.submitted();
    let seen: Vec<_> = submitted.iter().map(|s| (s.sampling.seed, s.max_tokens, s.stop.clone(), s.logprobs, s.min_tokens)).collect();
    assert_eq!(seen, [7, 8].map(|seed| (seed, 5, vec!["x".to_owned()], Some(3), 1)));
    assert!(submitted.iter().all(|s| !s.show_special && s.constraint.is_none()));
}

#[tokio::test]
async fn without_a_limit_the_answer_may_fill_the_context() {
    let app = app().await;
    let max_model_len = app.state.models.first().info.unwrap().max_model_len;

    chat(&app, json!({})).await;

    let request = &app.submitted()[0];
    assert_eq!(request.max_tokens + u32::try_from(request.prompt.len()).unwrap(), max_model_len);
}

#[tokio::test]
async fn the_last_message_is_continued_if_it_is_to_be() {
    let app = app().await;
    let messages = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello,"}]);

    chat(&app, json!({"messages": messages, "continue_final_message": true})).await;

    assert!(prompt_of(&app.submitted()[0]).ends_with("<|im_start|>assistant\nHello,"));
}

#[tokio::test]
async fn special_tokens_are_shown_where_calls_are_looked_for() {
    let app = TestApp::with_template(Setup::default(), WITH_TOOLS).await;
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);

    chat(&app, json!({"tools": tools})).await;
    chat(&app, json!({"tools": tools, "tool_choice": "none"})).await;
    chat(&app, json!({"skip_special_tokens": false})).await;

    assert_eq!(app.submitted().iter().map(|s| s.show_special).collect::<Vec<_>>(), [true, false, true]);
}

#[tokio::test]
async fn one_rule_holds_for_the_whole_answer() {
    let app = TestApp::with_template(Setup::default(), WITH_TOOLS).await;
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let format = json!({"type": "json_object"});

    let forced = chat(&app, json!({"tools": tools, "tool_choice": "required", "response_format": format})).await;
    let ruled = chat(&app, json!({"tools": tools, "guided_choice": ["a", "b"]})).await;

    assert_eq!(forced.header("x-llamero-warnings"), "response_format was not applied: tool_choice asks for a call");
    assert_eq!(ruled.header("x-llamero-warnings"), "no tool was offered: guided_choice rules the whole answer");
    let constraints: Vec<_> = app.submitted().into_iter().map(|s| s.constraint.unwrap()).collect();
    assert!(matches!(constraints[..], [Constraint::JsonSchema(_), Constraint::Choice(_)]), "{constraints:?}");
}

#[tokio::test]
async fn a_format_in_json_leaves_the_tools_in_the_prompt_and_in_the_constraint() {
    let app = TestApp::with_template(Setup::default(), WITH_TOOLS).await;
    let tools = json!([{"type": "function", "function": {"name": "find_it"}}]);
    let schema = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "title": "Answer"}}});

    for format in [schema, json!({"type": "json_object"})] {
        let answer = chat(&app, json!({"tools": tools, "response_format": format})).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, ""), "{}", answer.body);
    }

    for request in app.submitted() {
        assert_eq!(prompt_of(&request), "Hello<tool_call>find_it");
        let Some(Constraint::Grammar(grammar)) = &request.constraint else { panic!("{:?}", request.constraint) };
        assert!(grammar.starts_with("start: answer | calls\n") && grammar.contains("find_it"), "{grammar}");
        assert!(request.show_special);
    }
}

#[tokio::test]
async fn a_format_rules_the_whole_answer_of_a_family_whose_calls_are_no_json() {
    let template = "{% for message in messages %}{{ message.content }}{% endfor %}{% for tool in tools or [] %}<function={{ tool.function.name }}>{% endfor %}";
    let app = TestApp::with_template(Setup::default(), template).await;
    let tools = json!([{"type": "function", "function": {"name": "find_it"}}]);

    let answer = chat(&app, json!({"tools": tools, "response_format": {"type": "json_object"}})).await;

    assert_eq!(answer.header("x-llamero-warnings"), "no tool was offered: response_format rules the whole answer");
    let request = &app.submitted()[0];
    assert_eq!((prompt_of(request).as_str(), &request.constraint), ("Hello", &Some(Constraint::JsonObject)));
}

#[tokio::test]
async fn system_messages_that_the_template_refuses_are_in_the_prompt_and_in_the_warnings() {
    let template = "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('System role not supported') }}\
                    {% endif %}<{{ message.role }}>{{ message.content }}{% endfor %}";
    let app = TestApp::with_template(Setup::default(), template).await;
    let messages = json!([{"role": "developer", "content": "Rhyme."}, {"role": "user", "content": "Hi"}]);

    let answer = chat(&app, json!({"messages": messages})).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(prompt_of(&app.submitted()[0]), "<user>Rhyme.\n\nHi");
    let warning = "system messages were put into user turns: the model's chat template takes none";
    assert_eq!(answer.header("x-llamero-warnings"), warning);
    let body = json!({"model": "tiny", "messages": messages}).to_string();
    let strict = Request::post("/v1/chat/completions").header("x-llamero-strict", "1").body(Body::from(body)).unwrap();
    let refused = app.send(strict).await;
    assert_eq!((refused.status.as_u16(), &json_of(&refused)["error"]["param"]), (400, &json!("messages")));
}

#[tokio::test]
async fn refusals_name_the_field_and_nothing_reaches_the_engine() {
    let app = app().await;
    let long = "x".repeat(usize::try_from(app.state.models.first().info.unwrap().max_model_len).unwrap());
    let rows = [
        (json!({"messages": null}), 400, "messages", "missing_required_parameter"),
        (json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}), 400, "messages[0].content[0]", "invalid_value"),
        (json!({"messages": [{"role": "user", "content": long}]}), 400, "messages", "context_length_exceeded"),
        (json!({"max_tokens": 0}), 400, "max_tokens", "invalid_value"),
        (json!({"modalities": ["audio"], "audio": {"voice": "x"}}), 400, "modalities", "unsupported_parameter"),
    ];
    for (body, status, param, code) in rows {
        let answer = chat(&app, body.clone()).await;
        let error = &json_of(&answer)["error"];
        assert_eq!((answer.status.as_u16(), &error["param"], &error["code"]), (status, &json!(param), &json!(code)), "{body}: {error}");
    }
    assert!(app.submitted().is_empty());
}

#[tokio::test]
async fn what_was_ignored_is_in_the_header_and_strict_requests_are_refused_for_it() {
    let app = app().await;

    let answer = chat(&app, json!({"frobnicate": 1, "reasoning_effort": "low"})).await;

    assert_eq!(answer.header("x-llamero-warnings"), "ignored fields: frobnicate, reasoning_effort");
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "frobnicate": 1}).to_string();
    let strict = Request::post("/v1/chat/completions").header("x-llamero-strict", "1").body(Body::from(body)).unwrap();
    assert_eq!(app.send(strict).await.status, 400);
    let quiet = chat(&app, json!({"user": "me", "no_stop_trim": false, "separate_reasoning": true})).await;
    assert_eq!(quiet.header("x-llamero-warnings"), "");
}

#[tokio::test]
async fn a_stream_is_chunks_of_one_id() {
    let app = app().await;

    let answer = chat(&app, json!({"stream": true})).await;

    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let frames: Vec<&str> = answer.body.split_terminator("\n\n").collect();
    let (done, frames) = frames.split_last().unwrap();
    assert_eq!((*done, frames.len()), ("data: [DONE]", 3));
    let chunks: Vec<Value> = frames.iter().map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect();
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"] && chunk["object"] == "chat.completion.chunk"));
}

#[tokio::test]
async fn the_same_templates_serve_until_a_model_with_others_is_loaded() {
    let app = app().await;
    let model = app.state.models.first().info.unwrap();

    let templates = app.state.models.first().templates;
    let first = templates.of(&model).await.unwrap();
    let again = templates.of(&model).await.unwrap();
    let reloaded = templates.of(&std::sync::Arc::new((*model).clone())).await.unwrap();
    let mut other = (*model).clone();
    other.chat_templates = vec![("default".to_owned(), "another".to_owned())];
    let other = templates.of(&std::sync::Arc::new(other)).await.unwrap();

    assert!(std::sync::Arc::ptr_eq(&first, &again));
    assert!(std::sync::Arc::ptr_eq(&first, &reloaded));
    assert!(!std::sync::Arc::ptr_eq(&first, &other));
    assert_eq!(app.submitted().iter().map(|s| s.prompt.clone()).collect::<Vec<Vec<Token>>>(), [[]; 0]);
}

#[tokio::test]
async fn a_model_without_a_template_is_said_and_refused_to_strict_requests() {
    let app = TestApp::without_template(Setup::default()).await;

    let answer = chat(&app, json!({})).await;
    let constrained = chat(&app, json!({"response_format": {"type": "json_object"}})).await;
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    let strict = Request::post("/v1/chat/completions").header("x-llamero-strict", "1").header("content-type", "application/json");
    let refused = app.send(strict.body(Body::from(body)).unwrap()).await;

    assert_eq!((answer.status, constrained.status), (axum::http::StatusCode::OK, axum::http::StatusCode::OK));
    assert!(answer.header("x-llamero-warnings").contains("no chat template"), "{:?}", answer.headers);
    let marks: Vec<_> = app.submitted().into_iter().map(|request| request.end_marks).collect();
    assert_eq!(marks, [vec!["<|im_end|>".to_owned(), "<|im_start|>".to_owned()], Vec::new()], "a constraint ends its text by itself");
    let error = &json_of(&refused)["error"];
    assert_eq!((refused.status.as_u16(), &error["param"]), (400, &json!("messages")));
    assert!(error["message"].as_str().unwrap().contains("--chat-template"), "{error}");
}

#[tokio::test]
async fn a_prediction_is_cut_to_what_the_context_can_hold_before_the_engine_sees_it() {
    let app = app().await;
    let model = app.state.models.first().info.unwrap();
    let most = usize::try_from(model.max_model_len * model.longest_piece.unwrap()).unwrap();
    let texts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&texts);
    let app = TestApp::start_with(Setup::default(), (*model).clone(), move |message| match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(Tokenize { text, special, .. }) } => {
            if special == SpecialText::Continuation {
                seen.lock().unwrap().push(text);
            }
            vec![FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(vec![Token(1)])) }]
        }
        ToEngine::Submit(request) => {
            let mut output = token(request.id, 7, "ok");
            output.finish = Some(Finish::EndOfGeneration);
            vec![FromEngine::Step(StepReport { outputs: vec![output], ..StepReport::default() })]
        }
        _ => Vec::new(),
    })
    .await;

    let answer = chat(&app, json!({"prediction": {"type": "content", "content": "x".repeat(most + 1)}})).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(texts.lock().unwrap().iter().map(String::len).collect::<Vec<_>>(), [most]);
}

#[tokio::test]
async fn an_image_in_an_older_turn_is_a_note_that_the_warnings_name() {
    let app = TestApp::with_template(Setup::default(), "{% for message in messages %}{{ message.content }}{% endfor %}").await;
    let turns = |kind: &str| {
        let image = json!({"role": "user", "content": [{"type": kind}]});
        json!([image, {"role": "assistant", "content": "I cannot see it."}, {"role": "user", "content": "go on"}])
    };
    let rows = [
        ("/v1/chat/completions", json!({"model": "tiny", "messages": turns("image_url")}), "messages[0].content[0]"),
        ("/v1/responses", json!({"model": "tiny", "input": turns("input_image")}), "input[0].content[0]"),
        ("/v1/messages", json!({"model": "tiny", "max_tokens": 5, "messages": turns("image")}), "messages.0.content.0"),
    ];
    for (path, body, place) in rows {
        let answer = app.post(path, &body.to_string()).await;
        let prompt = prompt_of(app.submitted().last().unwrap());

        assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, format!("ignored fields: {place}").as_str()));
        assert!(prompt.contains("[image left out: this model reads text only]"), "{prompt}");
    }
}

#[tokio::test]
async fn tools_of_other_types_are_left_out_and_named() {
    let app = app().await;
    let tools = json!([{"type": "web_search"}, {"type": "custom", "custom": {"name": "f"}}]);

    let answer = chat(&app, json!({"tools": tools, "tool_choice": {"type": "custom", "custom": {"name": "f"}}})).await;
    let unmet = chat(&app, json!({"tools": tools, "tool_choice": {"type": "web_search"}})).await;
    let refused = chat(&app, json!({"tools": tools, "tool_choice": {"type": "mcp"}})).await;

    assert_eq!(answer.header("x-llamero-warnings"), "tools of type 'web_search' were left out: nothing here can run them");
    let told = "tool_choice was not applied: the tool was left out";
    assert_eq!(unmet.status, 200, "{}", unmet.body);
    assert!(unmet.header("x-llamero-warnings").contains(told), "{:?}", unmet.headers);
    let error = &json_of(&refused)["error"];
    let message = "Invalid 'tool_choice.type': 'mcp' is not supported: only 'function' and 'custom' are, because this server \
                   runs no tools itself.";
    assert_eq!((refused.status.as_u16(), &error["message"]), (400, &json!(message)));
}

#[tokio::test]
async fn an_argument_of_the_template_that_the_server_sets_is_refused_by_its_name() {
    let answer = chat(&app().await, json!({"chat_template_kwargs": {"messages": []}})).await;

    let error = &json_of(&answer)["error"];
    assert_eq!((answer.status.as_u16(), &error["param"]), (400, &json!("chat_template_kwargs.messages")), "{error}");
    assert_eq!(error["message"], "Invalid 'chat_template_kwargs.messages': the server sets it.");
}

#[tokio::test]
async fn an_argument_that_the_template_does_not_read_is_reported_and_in_a_strict_request_refused() {
    let app = app().await;
    let answer = chat(&app, json!({"chat_template_kwargs": {"enable_thinkin": false}})).await;
    let told = "ignored fields: chat_template_kwargs.enable_thinkin";
    assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, told));

    let body = json!({"messages": [{"role": "user", "content": "Hi"}], "model": "tiny", "chat_template_kwargs": {"enable_thinkin": false}});
    let strict = Request::post("/v1/chat/completions").header("x-llamero-strict", "1").body(Body::from(body.to_string())).unwrap();
    let answer = app.send(strict).await;
    assert_eq!((answer.status.as_u16(), &json_of(&answer)["error"]["param"]), (400, &json!("chat_template_kwargs.enable_thinkin")));
}

#[tokio::test]
async fn a_constraint_that_fails_while_text_is_generated_is_refused_by_its_field() {
    let model = app().await.state.models.first().info.unwrap();
    let app = TestApp::start_with(Setup::default(), (*model).clone(), |message| match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(_) } => {
            vec![FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(vec![Token(1)])) }]
        }
        ToEngine::Call { id, call: EngineCall::Check(_) } => vec![FromEngine::Reply { id, reply: EngineReply::Check(Ok(Vec::new())) }],
        ToEngine::Submit(request) => {
            let mut output = token(request.id, 7, "ok");
            output.finish = Some(Finish::Failed(GenerationError::Constraint("no token can follow".to_owned())));
            vec![FromEngine::Step(StepReport { outputs: vec![output], ..StepReport::default() })]
        }
        _ => Vec::new(),
    })
    .await;

    let error = json_of(&chat(&app, json!({"guided_regex": "a+"})).await)["error"].take();

    assert_eq!((&error["param"], &error["code"]), (&json!("guided_regex"), &json!("invalid_value")), "{error}");
}
