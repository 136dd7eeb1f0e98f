//! Requests with a hundred thousand unknown fields, in every place of every route, are answered like others, with
//! warnings for a few of the names. If the time for each name grew with the number of names, these tests would not end
//! in their time.

use crate::support::server::{Answer, TestServer};
use serde_json::{Map, Value, json};

/// The number of fields that fit into a body of 2 MB.
const MANY: usize = 120_000;

/// `object` with many more fields.
fn crowded(object: Value) -> Value {
    let Value::Object(mut fields) = object else { panic!("{object} is no object") };
    fields.extend((0..MANY).map(|number| (format!("f{number:x}"), json!(1))));
    Value::Object(fields)
}

fn warned(answer: &Answer, at: &str) {
    let header = answer.header("x-llamero-warnings");
    let expected = format!("{at}f0, {at}f1,");
    assert!(header.contains(&expected), "{expected} {header} {}", answer.text);
    assert!(header.contains("more") && header.len() < 2000, "{header}");
}

async fn ask(server: &TestServer, path: &str, body: Value, at: &str) {
    let answer = server.post(path, &body).await;

    assert_eq!(answer.status, 200, "{path} {at}: {}", &answer.text[..answer.text.len().min(500)]);
    warned(&answer, at);
}

/// A chat request with these fields.
fn chat(fields: Value) -> Value {
    let mut body = json!({"model": "fake", "max_tokens": 1, "messages": [{"role": "user", "content": "a"}]});
    let Value::Object(fields) = fields else { panic!("{fields} is no object") };
    body.as_object_mut().unwrap().extend(fields);
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_top_of_every_route_that_generates() {
    let server = TestServer::start().await;
    for (path, body) in [
        ("/v1/completions", json!({"model": "fake", "prompt": "a", "max_tokens": 1})),
        ("/v1/completions/render", json!({"model": "fake", "prompt": "a", "max_tokens": 1})),
        ("/v1/chat/completions", chat(json!({}))),
        ("/v1/chat/completions/render", chat(json!({}))),
        ("/v1/explain", chat(json!({}))),
        ("/v1/responses", json!({"model": "fake", "input": "a", "max_output_tokens": 1})),
        ("/v1/messages", chat(json!({}))),
        ("/v1/messages/count_tokens", chat(json!({}))),
        ("/generate", json!({"prompt": "a", "max_tokens": 1})),
        ("/infill", json!({"input_prefix": "a", "input_suffix": "b", "n_predict": 1})),
        ("/tokenize", json!({"content": "a"})),
        ("/detokenize", json!({"tokens": [97]})),
    ] {
        ask(&server, path, crowded(body), "").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_what_a_chat_is_made_of() {
    let server = TestServer::start().await;
    let path = "/v1/chat/completions";
    let function = || json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let call = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let calling = |call: Value| json!([{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "1", "content": "r"}]);

    let part = crowded(json!({"type": "text", "text": "a"}));
    ask(&server, path, chat(json!({"messages": [{"role": "user", "content": [part]}]})), "messages[].content[].").await;
    ask(&server, path, chat(json!({"messages": [crowded(json!({"role": "user", "content": "a"}))]})), "messages[].").await;
    ask(&server, path, chat(json!({"messages": calling(crowded(call.clone()))})), "messages[].tool_calls[].").await;
    let mut crowded_call = call;
    crowded_call["function"] = crowded(crowded_call["function"].clone());
    ask(&server, path, chat(json!({"messages": calling(crowded_call)})), "messages[].tool_calls[].function.").await;
    let choice = crowded(json!({"type": "function", "function": {"name": "f"}}));
    ask(&server, path, chat(json!({"tools": [function()], "tool_choice": choice})), "tool_choice.").await;
    ask(&server, path, chat(json!({"response_format": crowded(json!({"type": "text"}))})), "response_format.").await;
    let options = crowded(json!({"include_usage": true}));
    ask(&server, path, chat(json!({"stream": true, "stream_options": options})), "stream_options.").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_items_blocks_and_files() {
    let server = TestServer::start().await;
    let item = crowded(json!({"role": "user", "content": "a"}));
    ask(&server, "/v1/responses", json!({"model": "fake", "max_output_tokens": 1, "input": [item]}), "input[0].").await;
    let reasoning = crowded(json!({"effort": "low"}));
    let body = json!({"model": "fake", "max_output_tokens": 1, "input": "a", "reasoning": reasoning});
    ask(&server, "/v1/responses", body, "reasoning.").await;
    let block = crowded(json!({"type": "text", "text": "a"}));
    ask(&server, "/v1/messages", chat(json!({"messages": [{"role": "user", "content": [block]}]})), "messages.0.content.0.").await;
    let file = crowded(json!({"filename": "f", "text": "t"}));
    let body = json!({"input_prefix": "a", "input_suffix": "b", "n_predict": 1, "input_extra": [file]});
    ask(&server, "/infill", body, "input_extra[].").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_as_many_objects_as_a_list_may_have() {
    let server = TestServer::start().await;
    let part = |number: usize| {
        Value::Object(Map::from_iter([
            ("type".to_owned(), json!("text")),
            ("text".to_owned(), json!("")),
            (format!("f{number:x}"), json!(1)),
        ]))
    };
    let parts: Vec<Value> = (0..40_000).map(part).collect();

    let body = chat(json!({"messages": [{"role": "user", "content": parts}]}));
    let answer = server.post("/tokenize", &json!({"model": "fake", "messages": body["messages"]})).await;

    assert_eq!(answer.status, 200, "{}", answer.text);
    warned(&answer, "messages[].content[].");
    assert!(answer.header("x-llamero-warnings").ends_with("and 39984 more"), "{}", answer.header("x-llamero-warnings"));
}
