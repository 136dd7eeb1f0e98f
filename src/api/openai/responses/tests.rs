//! The route over a scripted engine whose tokens are characters and which answers everything with ` world`.

use crate::{
    api::testing::{Answer, Setup, TestApp},
    gateway::testing::model_info,
    protocol::{Constraint, ModelInfo, SequenceRequest},
};
use axum::{body::Body, http::Request};
use serde_json::{Value, json};

async fn app() -> TestApp {
    TestApp::start(Setup::default()).await
}

async fn respond(app: &TestApp, mut body: Value) -> Answer {
    let fields = body.as_object_mut().unwrap();
    fields.entry("model").or_insert(json!("tiny"));
    fields.entry("input").or_insert(json!("Hello"));
    app.post("/v1/responses", &body.to_string()).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

fn prompt_of(request: &SequenceRequest) -> String {
    request.prompt.iter().map(|token| char::from_u32(token.0).unwrap()).collect()
}

fn function() -> Value {
    json!({"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}})
}

#[tokio::test]
async fn the_input_is_rendered_by_the_template_and_the_answer_is_a_response() {
    let app = app().await;

    let answer = respond(&app, json!({"instructions": "Be brief.", "seed": 5})).await;

    let body = json_of(&answer);
    assert_eq!(answer.status, 200, "{body}");
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(prompt_of(&app.submitted()[0]), expected);
    assert_eq!((&body["object"], &body["model"], &body["seed"]), (&json!("response"), &json!("tiny"), &json!(5)));
    assert_eq!(body["output"][0]["content"][0]["text"], " world");
    assert_eq!((&body["instructions"], &body["store"]), (&json!("Be brief."), &json!(false)));
}

#[tokio::test]
async fn a_call_and_its_output_are_read_by_the_template() {
    let app = app().await;
    let input = json!([
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"a\": 1}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
    ]);

    let answer = respond(&app, json!({"input": input, "tools": [function()]})).await;

    // The template of this test shows results, and neither calls nor tools.
    let told = "ignored fields: tools, input[].function_call";
    assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, told));
    assert!(prompt_of(&app.submitted()[0]).contains("sunny"));
    let strict = json!({"type": "function", "name": "f", "description": "d", "strict": true});
    let offered = respond(&app, json!({"tools": [strict]})).await;
    let forced = respond(&app, json!({"tools": [strict], "tool_choice": "required"})).await;
    assert_eq!(offered.header("x-llamero-warnings"), "ignored fields: tools");
    assert_eq!(forced.header("x-llamero-warnings"), "ignored fields: tools[].description");
}

#[tokio::test]
async fn the_engine_is_asked_for_what_the_request_says() {
    let app = app().await;
    let include = ["message.output_text.logprobs"];

    respond(&app, json!({"seed": 7, "max_output_tokens": 5, "stop": "x", "include": include, "top_logprobs": 3})).await;
    respond(&app, json!({"tools": [function()], "tool_choice": {"type": "function", "name": "f"}})).await;
    respond(&app, json!({"text": {"format": {"type": "json_object"}}})).await;

    let [sampled, called, formatted] = &app.submitted()[..] else { panic!() };
    assert_eq!((sampled.sampling.seed, sampled.max_tokens, sampled.logprobs), (7, 5, Some(3)));
    assert_eq!(sampled.stop, ["x"]);
    assert!(matches!(called.constraint, Some(Constraint::JsonSchema(_))));
    assert_eq!(formatted.constraint, Some(Constraint::JsonObject));
}

#[tokio::test]
async fn refusals_name_the_callers_field_and_nothing_reaches_the_engine() {
    let app = app().await;
    let long = "x".repeat(usize::try_from(app.state.models.first().info.unwrap().max_model_len).unwrap());
    let image = json!([{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]);
    let rows = [
        (json!({"input": null}), 400, "input", "missing_required_parameter"),
        (json!({"input": image}), 400, "input[1].content[0]", "invalid_value"),
        (json!({"input": [{"type": "function_call_output", "output": 5}]}), 400, "input[0].output", "invalid_value"),
        (json!({"input": [{"type": "function_call", "call_id": "1", "name": ""}]}), 400, "input[0].name", "invalid_value"),
        (json!({"input": long}), 400, "input", "context_length_exceeded"),
        (json!({"max_output_tokens": 0}), 400, "max_output_tokens", "invalid_value"),
        (json!({"text": {"format": {"type": "xml"}}}), 400, "text.format.type", "invalid_value"),
        (json!({"text": {"format": {"type": "json_schema", "name": "n"}}}), 400, "text.format.schema", "missing_required_parameter"),
        (json!({"text": {"verbosity": 1}}), 400, "text.verbosity", "invalid_type"),
        (json!({"reasoning": {"effort": 1}}), 400, "reasoning.effort", "invalid_type"),
        (json!({"tools": [{"type": "function", "parameters": {}}]}), 400, "tools[0].name", "invalid_value"),
        (json!({"tools": [function()], "tool_choice": {"type": "function", "name": "g"}}), 400, "tool_choice.name", "invalid_value"),
        (json!({"tools": [function()], "tool_choice": {"type": "allowed_tools"}}), 400, "tool_choice.tools", "invalid_value"),
        (json!({"previous_response_id": "resp_1"}), 400, "previous_response_id", "unsupported_parameter"),
        (json!({"temperature": 3}), 400, "temperature", "invalid_value"),
    ];
    for (body, status, param, code) in rows {
        let answer = respond(&app, body.clone()).await;
        let error = &json_of(&answer)["error"];
        assert_eq!((answer.status.as_u16(), &error["param"], &error["code"]), (status, &json!(param), &json!(code)), "{body}: {error}");
        let message = error["message"].as_str().unwrap();
        for word in ["messages", "max_tokens", "max_completion_tokens", "response_format", ".function", "reasoning_effort"] {
            assert!(!message.contains(word), "{message}");
        }
    }
    assert!(app.submitted().is_empty());
}

#[tokio::test]
async fn warnings_name_the_callers_fields_and_strict_requests_are_refused_for_them() {
    let app = app().await;
    let body = json!({"model": "tiny", "input": "Hi", "reasoning": {"effort": "low"}, "text": {"verbosity": "low"}, "store": true, "n": 2});

    let answer = respond(&app, body.clone()).await;
    let forced = json!({"tools": [function()], "tool_choice": "required", "text": {"format": {"type": "json_object"}}});
    let forced = respond(&app, forced).await;
    let strict = Request::post("/v1/responses").header("x-llamero-strict", "1").body(Body::from(body.to_string())).unwrap();

    assert_eq!(answer.header("x-llamero-warnings"), "ignored fields: reasoning.effort, text.verbosity, store, n");
    assert_eq!(forced.header("x-llamero-warnings"), "text.format was not applied: tool_choice asks for a call");
    let refused = app.send(strict).await;
    assert_eq!((refused.status.as_u16(), &json_of(&refused)["error"]["param"]), (400, &json!("reasoning.effort")));
}

/// The words of a client are not names of fields, whatever they are (issue 12).
#[tokio::test]
async fn a_clients_own_words_are_repeated_as_they_are() {
    let app = app().await;
    let tool = |name: &str| json!({"type": "function", "name": name, "parameters": {"type": "object"}});
    let rows = [
        (
            json!({"tools": [function()], "tool_choice": {"type": "function", "name": "messages"}}),
            "Invalid 'tool_choice.name': 'messages' is not among 'tools'.",
        ),
        (
            json!({"tools": [tool("verbosity"), {"type": "function", "name": "verbosity"}]}),
            "Invalid 'tools[1].name': 'verbosity' is there twice, with different contents.",
        ),
        (
            json!({"text": {"format": {"type": "max_tokens"}}}),
            "Invalid 'text.format.type': expected 'text', 'json_object' or 'json_schema', but got 'max_tokens' instead.",
        ),
        (
            json!({"logit_bias": {"reasoning_effort": 1}}),
            "Invalid 'logit_bias': the key 'reasoning_effort' is not the id of a token; ids are 0 to ",
        ),
    ];
    for (body, expected) in rows {
        let answer = respond(&app, body.clone()).await;
        let message = json_of(&answer)["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(expected), "{body}: {message}");
    }
    let kwargs = respond(&app, json!({"chat_template_kwargs": {"reasoning_effort": "low"}})).await;
    assert_eq!(kwargs.header("x-llamero-warnings"), "ignored fields: chat_template_kwargs.reasoning_effort");
}

#[tokio::test]
async fn a_stream_is_named_events_without_done() {
    let app = app().await;

    let answer = respond(&app, json!({"stream": true})).await;

    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    assert!(answer.body.starts_with("event: response.created\ndata: {"), "{}", answer.body);
    assert!(answer.body.contains("event: response.completed\n") && !answer.body.contains("[DONE]"), "{}", answer.body);
}

#[tokio::test]
async fn whoever_asks_for_a_stored_response_is_told_that_none_is() {
    let app = app().await;
    let asked = [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"),
    ];
    for (method, path) in asked {
        let request = Request::builder().method(method).uri(path).body(Body::from("{}")).unwrap();

        let answer = app.send(request).await;

        let message = json!("Response with id 'resp_1' not found: this server does not store responses.");
        assert_eq!((answer.status.as_u16(), &json_of(&answer)["error"]["message"]), (404, &message), "{method} {path}");
    }
}

#[tokio::test]
async fn a_tool_that_was_sent_twice_is_told() {
    let app = app().await;
    let body = json!({"tools": [function(), function()], "tool_choice": "none"});

    let answer = respond(&app, body).await;

    assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, "tools that were sent more than once count once: f"));
    assert_eq!(json_of(&answer)["tools"].as_array().unwrap().len(), 2);
}

/// Codex's tools (issue 14).
#[tokio::test]
async fn tools_that_nothing_here_can_run_are_a_warning_and_a_refusal_if_strict() {
    let app = app().await;
    let body = json!({"model": "tiny", "input": "Hi", "tools": [function(), {"type": "web_search"}], "tool_choice": "none"});

    let answer = respond(&app, body.clone()).await;
    let strict = Request::post("/v1/responses").header("x-llamero-strict", "1").body(Body::from(body.to_string())).unwrap();

    let told = "tools of type 'web_search' were left out: nothing here can run them";
    assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, told));
    let refused = app.send(strict).await;
    assert_eq!((refused.status.as_u16(), &json_of(&refused)["error"]["param"]), (400, &json!("tools[1]")));
}

#[tokio::test]
async fn a_named_custom_tool_is_generated_under_its_grammar_and_others_say_that_it_is_not_enforced() {
    let app = app().await;
    let format = |syntax: &str, definition: &str| json!({"type": "grammar", "syntax": syntax, "definition": definition});
    let tool = json!({"type": "custom", "name": "c", "format": format("lark", "start: /a+/")});
    let regex = json!({"type": "custom", "name": "r", "format": format("regex", "a+")});
    let tools = json!([tool, regex]);

    let named = respond(&app, json!({"tools": tools, "tool_choice": {"type": "custom", "name": "c"}})).await;
    let free = respond(&app, json!({"tools": tools})).await;
    let one_of = respond(&app, json!({"tools": tools, "tool_choice": "required"})).await;
    let only_regex = respond(&app, json!({"tools": [regex], "tool_choice": "required"})).await;

    assert_eq!(app.submitted()[0].constraint, Some(Constraint::Grammar("start: /a+/".into())));
    let item = &json_of(&named)["output"][0];
    assert_eq!((&item["type"], &item["name"], &item["input"]), (&json!("custom_tool_call"), &json!("c"), &json!(" world")));
    // The template of this test shows no tools, so that descriptions are lost.
    assert_eq!(free.header("x-llamero-warnings"), "ignored fields: tools");
    assert_eq!(one_of.header("x-llamero-warnings"), "ignored fields: tools[].description, tools[].format");
    assert_eq!(only_regex.header("x-llamero-warnings"), "ignored fields: tools[].description");
}

/// A conversation of turns with questions of this many characters, after a system message.
fn turns(lengths: &[usize]) -> Value {
    let mut items = vec![json!({"role": "system", "content": "S"})];
    for (index, length) in lengths.iter().enumerate() {
        let call = format!("c{index}");
        items.push(json!({"role": "user", "content": "u".repeat(*length)}));
        if index + 1 < lengths.len() {
            items.push(json!({"type": "function_call", "call_id": call, "name": "f", "arguments": "{}"}));
            items.push(json!({"type": "function_call_output", "call_id": call, "output": "o"}));
            items.push(json!({"role": "assistant", "content": "a"}));
        }
    }
    json!(items)
}

#[tokio::test]
async fn the_oldest_turns_of_an_input_that_does_not_fit_are_left_out_and_reported_if_the_request_says_so() {
    let template = "{% for message in messages %}[{{ message.role }}:{{ message.content }}]{% endfor %}";
    let model = ModelInfo { max_model_len: 400, chat_templates: vec![("default".to_owned(), template.to_owned())], ..model_info() };
    let app = TestApp::of_model(Setup::default(), model).await;
    let auto = |lengths: &[usize]| json!({"input": turns(lengths), "truncation": "auto", "max_output_tokens": 9});

    let whole = respond(&app, auto(&[10, 10])).await;
    assert_eq!((whole.status.as_u16(), &json_of(&whole)["truncation"]), (200, &json!("auto")));
    assert!(!whole.header("x-llamero-warnings").contains("left out"));

    let cut = respond(&app, auto(&[90, 90, 90, 90])).await;
    assert_eq!(cut.status, 200, "{}", cut.body);
    let told = "input: the oldest 4 messages were left out, because they do not fit into the context";
    assert!(cut.header("x-llamero-warnings").contains(told), "{}", cut.header("x-llamero-warnings"));
    let prompt = prompt_of(app.submitted().last().unwrap());
    assert!(prompt.starts_with("[system:S][user:uuu"), "{prompt}");
    assert_eq!((prompt.matches("user:").count(), prompt.matches("[tool:o]").count()), (3, 2), "{prompt}");

    // The whole input fits, but its answer would have a third of the tokens that it may have.
    let told = |limit: Value| {
        let mut body = auto(&[60, 60, 60, 30]);
        body["max_output_tokens"] = limit;
        let answer = respond(&app, body);
        async { (answer.await.header("x-llamero-warnings").contains("were left out"), app.submitted().last().unwrap().max_tokens) }
    };
    assert_eq!(told(json!(150)).await, (true, 150));
    assert_eq!(told(json!(20)).await, (false, 20));

    for (body, reason) in
        [(auto(&[10, 10, 500]), "the newest turn does not fit"), (json!({"input": turns(&[90, 90, 90, 90])}), "nothing may be left out")]
    {
        let refused = json_of(&respond(&app, body).await);
        assert_eq!(
            (&refused["error"]["code"], &refused["error"]["param"]),
            (&json!("context_length_exceeded"), &json!("input")),
            "{reason}"
        );
    }
}
