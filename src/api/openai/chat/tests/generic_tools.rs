//! Tools of requests to a model whose template shows none, on all three routes of chat.

use super::*;
use crate::{gateway::testing::model_info, protocol::ModelInfo};

const CALL: &str = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";
const TOLD: &str = "tools are described in the system turn, in a generic format: the model's chat template shows none";

fn fallback() -> Vec<(String, String)> {
    vec![("default".to_owned(), FALLBACK.to_owned())]
}

/// An API whose engine answers every generation with this text, in pieces of five characters.
async fn answering(text: &'static str) -> TestApp {
    let model = ModelInfo { chat_templates: fallback(), ..model_info() };
    let mut setup = Setup::default();
    setup.config.generic_tools = true;
    TestApp::start_with(setup, model, move |message| match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(_) } => {
            vec![FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(vec![Token(1)])) }]
        }
        ToEngine::Call { id, call: EngineCall::Check(_) } => vec![FromEngine::Reply { id, reply: EngineReply::Check(Ok(Vec::new())) }],
        ToEngine::Submit(request) => {
            let letters: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = letters.chunks(5).map(|piece| piece.iter().collect()).collect();
            let mut outputs: Vec<_> = pieces.iter().map(|piece| token(request.id, 7, piece)).collect();
            outputs.last_mut().unwrap().finish = Some(Finish::EndOfGeneration);
            let report = |output| FromEngine::Step(StepReport { outputs: vec![output], ..StepReport::default() });
            outputs.into_iter().map(report).collect()
        }
        _ => Vec::new(),
    })
    .await
}

/// The body of a request with the function `f`, by route.
fn bodies(choice: &str) -> [(&'static str, Value); 3] {
    let parameters = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let function = json!({"name": "f", "description": "finds it", "parameters": parameters});
    let mut flat = function.clone();
    flat["type"] = "function".into();
    let anthropic_choice = if choice == "required" { "any" } else { choice };
    let anthropic = json!([{"name": "f", "description": "finds it", "input_schema": parameters}]);
    let messages = json!([{"role": "user", "content": "Hello"}]);
    [
        (
            "/v1/chat/completions",
            json!({"model": "tiny", "messages": messages, "tools": [{"type": "function", "function": function}], "tool_choice": choice}),
        ),
        ("/v1/responses", json!({"model": "tiny", "input": "Hello", "tools": [flat], "tool_choice": choice})),
        (
            "/v1/messages",
            json!({"model": "tiny", "max_tokens": 50, "messages": messages, "tools": anthropic, "tool_choice": {"type": anthropic_choice}}),
        ),
    ]
}

#[tokio::test]
async fn tools_that_the_template_does_not_show_are_in_the_system_turn_and_in_the_warnings() {
    let app = TestApp::with_generic_tools(fallback()).await;
    for choice in ["auto", "required"] {
        for (path, body) in bodies(choice) {
            let answer = app.post(path, &body.to_string()).await;
            let request = app.submitted().pop().unwrap();
            let prompt = prompt_of(&request);

            assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, TOLD), "{path}: {}", answer.body);
            assert!(prompt.starts_with("<|im_start|>system\nYou can call these functions:\n"), "{path}: {prompt}");
            assert!(prompt.contains("finds it") && prompt.ends_with("user\nHello<|im_end|>\n<|im_start|>assistant\n"), "{path}: {prompt}");
            assert_eq!(request.constraint.is_some(), choice == "required", "{path}");
        }
    }
}

#[tokio::test]
async fn calls_in_the_generic_format_are_calls_on_every_route_also_in_streams() {
    let app = answering(CALL).await;
    for (path, mut body) in bodies("auto") {
        let whole = app.post(path, &body.to_string()).await;
        body["stream"] = true.into();
        let streamed = app.post(path, &body.to_string()).await;

        for answer in [whole, streamed] {
            assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, TOLD), "{path}: {}", answer.body);
            let called = ["tool_calls", "\"function_call\"", "tool_use"].iter().any(|word| answer.body.contains(word));
            assert!(called && !answer.body.contains("tool_call>"), "{path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn calls_and_results_of_earlier_turns_are_texts_also_where_no_tools_are_sent() {
    let app = TestApp::with_generic_tools(fallback()).await;
    let call = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}});
    let messages = json!([
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
    ]);

    let answer = chat(&app, json!({"messages": messages})).await;

    let told = "calls and their results are written as text: the model's chat template shows none";
    assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, told));
    let expected = "<|im_start|>assistant\n<tool_call>\n{\"name\":\"f\",\"arguments\":{\"a\":1}}\n</tool_call><|im_end|>\n\
                    <|im_start|>user\n<tool_response name=\"f\">\nfound\n</tool_response><|im_end|>\n";
    assert!(prompt_of(&app.submitted()[0]).contains(expected), "{}", prompt_of(&app.submitted()[0]));
}

#[tokio::test]
async fn a_structured_format_beside_generic_tools_is_a_choice_between_both() {
    let app = TestApp::with_generic_tools(fallback()).await;
    let [(path, mut body), ..] = bodies("auto");
    body["response_format"] = json!({"type": "json_object"});

    let answer = app.post(path, &body.to_string()).await;

    assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, TOLD), "{}", answer.body);
    let request = &app.submitted()[0];
    assert!(matches!(&request.constraint, Some(Constraint::Grammar(grammar)) if grammar.contains("tool_call")), "{:?}", request.constraint);
    assert!(prompt_of(request).contains("finds it"));
}

#[tokio::test]
async fn a_strict_request_is_refused_for_generic_tools() {
    let app = TestApp::with_generic_tools(fallback()).await;
    let [(path, body), ..] = bodies("auto");

    let strict = Request::post(path).header("x-llamero-strict", "1").body(Body::from(body.to_string())).unwrap();
    let refused = app.send(strict).await;

    assert_eq!((refused.status.as_u16(), &json_of(&refused)["error"]["param"]), (400, &json!("tools")));
}

#[tokio::test]
async fn without_generic_tools_what_the_template_does_not_show_is_left_out() {
    let app = app().await;
    let [(path, body), ..] = bodies("auto");

    let answer = app.post(path, &body.to_string()).await;

    assert_eq!(answer.header("x-llamero-warnings"), "ignored fields: tools");
    let request = &app.submitted()[0];
    assert_eq!(prompt_of(request), "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
    assert!(!request.show_special, "no text is a call of a tool that the model has not seen");
}

#[tokio::test]
async fn without_generic_tools_a_template_that_mentions_tools_and_shows_none_leaves_them_out() {
    let template = "{% if tools is defined %}{% endif %}{% for message in messages %}{{ message.content }}{% endfor %}";
    let app = TestApp::with_template(Setup::default(), template).await;
    let [(path, body), ..] = bodies("auto");
    let [_, _, (messages_path, required)] = bodies("required");

    let optional = app.post(path, &body.to_string()).await;
    let forced = app.post(messages_path, &required.to_string()).await;

    assert_eq!(optional.header("x-llamero-warnings"), "ignored fields: tools");
    assert_eq!(forced.header("x-llamero-warnings"), "ignored fields: tools.description");
}

/// SmolLM2's context holds Claude Code's words, but not its tools (issue 14).
#[tokio::test]
async fn tools_whose_description_does_not_fit_are_not_offered_and_told() {
    let model = ModelInfo { chat_templates: fallback(), max_model_len: 2048, ..model_info() };
    let mut setup = Setup::default();
    (setup.config.generic_tools, setup.config.max_body_bytes) = (true, 1 << 20);
    let app = TestApp::of_model(setup, model).await;
    let long = |body: Value, length| body.to_string().replace("finds it", &"x".repeat(length));
    let told = "no tool was offered: their description in the system turn does not fit into the context";

    // The first length is too much by the tokens, the second one by the bytes.
    for length in [2048, 20_000] {
        for (path, body) in bodies("auto") {
            let answer = app.post(path, &long(body, length)).await;

            assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, told), "{path}: {}", answer.body);
            let request = app.submitted().pop().unwrap();
            assert_eq!(prompt_of(&request), "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "{path}");
            assert!(!request.show_special, "{path}");
        }
        let [(path, body), ..] = bodies("required");
        let forced = app.post(path, &long(body, length)).await;
        let [(_, body), ..] = bodies("auto");
        let strict = Request::post(path).header("x-llamero-strict", "1").body(Body::from(long(body, length))).unwrap();
        for refused in [forced, app.send(strict).await] {
            assert_eq!((refused.status.as_u16(), &json_of(&refused)["error"]["code"]), (400, &json!("context_length_exceeded")));
        }
    }
}

#[tokio::test]
async fn a_model_without_a_template_gets_tools_too() {
    let app = TestApp::with_generic_tools(Vec::new()).await;
    let [(path, body), ..] = bodies("auto");

    let answer = app.post(path, &body.to_string()).await;

    assert!(answer.header("x-llamero-warnings").ends_with(TOLD), "{:?}", answer.headers);
    assert!(prompt_of(&app.submitted()[0]).contains("finds it"));
}
