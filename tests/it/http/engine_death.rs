//! An engine dies while requests run: they continue once as if nothing had happened; requests that end engines are
//! refused.

use crate::support::{
    server::{Answer, TestServer, frame, rest},
    thread_engine::{DEADLY_PROMPT, DEADLY_TEXT},
};
use axum::{
    body::BodyDataStream,
    http::{HeaderMap, StatusCode},
};
use llamero::gateway::engine_state::EngineState;
use serde_json::{Value, json};

fn request(extra: &Value) -> Value {
    let mut body = json!({"model": "fake", "prompt": "the show must go on", "max_tokens": 200, "ignore_eos": true});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn text(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect()
}

/// Streams `body` and reads `frames` of it; the engine is held after ten steps.
async fn begin_stream(server: &TestServer, body: &Value, frames: u32) -> (BodyDataStream, String) {
    server.gate().hold_after(10);
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let mut stream = server.stream("/v1/completions", &streamed).await;
    let begun = read(&mut stream, frames).await;
    (stream, begun)
}

async fn read(stream: &mut BodyDataStream, frames: u32) -> String {
    let mut text = String::new();
    for _ in 0..frames {
        text.push_str(&frame(stream).await);
    }
    text
}

fn streamed(text: String) -> Answer {
    Answer { status: StatusCode::OK, headers: HeaderMap::new(), text }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_after_a_kill_as_if_nothing_had_happened() {
    let server = TestServer::start().await;
    let variants = [
        json!({"temperature": 0}),
        json!({"temperature": 1.3, "seed": 11, "top_p": 0.9}),
        json!({"temperature": 1.0, "seed": 3, "frequency_penalty": 1.5, "repetition_penalty": 1.3}),
        json!({"temperature": 0, "stop": ["zzzzzz", "qqq"]}),
        json!({"temperature": 1.0, "seed": 5, "guided_regex": "([a-z]{3,9} ){18}[0-9]+!"}),
        json!({"temperature": 1.2, "seed": 8, "guided_json": {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 12}}),
    ];
    let variants_count = u64::try_from(variants.len()).unwrap();
    for variant in variants {
        let body = request(&variant);
        let undisturbed = server.post("/v1/completions", &body).await.json();

        let (stream, begun) = begin_stream(&server, &body, 4).await;
        server.kill_engine();
        let disturbed = streamed(begun + &rest(stream).await).chunks();

        assert_eq!(text(&disturbed), undisturbed["choices"][0]["text"], "{variant}");
        assert_eq!(disturbed.last().unwrap()["choices"][0]["finish_reason"], undisturbed["choices"][0]["finish_reason"]);
    }
    assert_eq!(server.engine.restarts(), variants_count);
    assert_eq!(server.engine.engine_deaths().values().sum::<u64>(), variants_count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_kill_ends_a_lone_stream_with_an_error_event_and_done() {
    let server = TestServer::start().await;

    let (mut stream, mut text) = begin_stream(&server, &request(&json!({"temperature": 0, "max_tokens": 3500})), 2).await;
    for steps in [1500, 2000] {
        server.kill_engine_and_hold(steps).await;
        text += &read(&mut stream, 30).await; // More than the engines before had sent.
    }
    server.kill_engine();
    text += &rest(stream).await;

    let chunks = streamed(text).chunks();
    assert_eq!(chunks.last().unwrap()["error"]["code"], "request_quarantined", "{:?}", chunks.last());
}

/// A body for each route that asks the engine, with `text` in its prompt.
fn with_text(text: &str) -> Vec<(&'static str, Value)> {
    let messages = json!([{"role": "user", "content": text}]);
    vec![
        ("/v1/completions", json!({"model": "fake", "prompt": text})),
        ("/v1/chat/completions", json!({"model": "fake", "messages": messages})),
        ("/v1/responses", json!({"model": "fake", "input": text})),
        ("/v1/messages", json!({"model": "fake", "max_tokens": 5, "messages": messages})),
        ("/generate", json!({"prompt": text})),
        ("/infill", json!({"input_prefix": text, "input_suffix": ""})),
        ("/tokenize", json!({"content": text})),
    ]
}

fn deaths(server: &TestServer) -> u64 {
    server.engine.engine_deaths().values().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_engines_is_a_422_in_the_shape_of_its_route_costs_two_of_them_and_leaves_good_streams_alone() {
    let server = TestServer::start().await;
    let mut good = request(&json!({"temperature": 0, "max_tokens": 3500}));
    let undisturbed = server.post("/v1/completions", &good).await.json();
    good["stream"] = json!(true);
    let mut stream = server.stream("/v1/completions", &good).await;
    let begun = read(&mut stream, 2).await;

    for (number, deadly) in [DEADLY_TEXT, DEADLY_PROMPT].into_iter().enumerate() {
        for (index, (path, _)) in with_text("").into_iter().enumerate() {
            if path == "/tokenize" && deadly == DEADLY_PROMPT {
                continue; // `/tokenize` computes no prompt.
            }
            let body = with_text(&format!("{number} {index} {deadly}")).remove(index).1;
            let before = deaths(&server);

            let answer = server.post(path, &body).await;
            let again = server.post(path, &body).await;

            assert_eq!(deaths(&server) - before, 2, "{path} {body}");
            assert_eq!((answer.status.as_u16(), again.status.as_u16()), (422, 422), "{path} {answer:?} {again:?}");
            assert_eq!((answer.header("x-should-retry"), again.header("x-should-retry")), ("false", "false"), "{path}");
            let (json, message) = (again.json(), "More than one engine ended while it worked on this request");
            match path {
                "/v1/messages" => assert_eq!(json["error"]["type"], "invalid_request_error", "{json}"),
                "/generate" => assert!(json["detail"].as_str().unwrap().contains(message), "{json}"),
                _ => assert_eq!(json["error"]["code"], "request_quarantined", "{path} {json}"),
            }
            assert!(again.text.contains(message), "{path} {json}");
            let innocent = server.post("/v1/completions", &json!({"model": "fake", "prompt": "good", "max_tokens": 1})).await;
            assert_eq!(innocent.status, 200, "after {path}: {innocent:?}");
        }
    }

    let disturbed = streamed(begun + &rest(stream).await).chunks();
    assert_eq!(text(&disturbed), undisturbed["choices"][0]["text"]);
    assert_eq!(server.engine.state(), EngineState::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_stream_survives_a_kill_too() {
    let server = TestServer::start().await;
    let body = request(&json!({"temperature": 0, "n": 2}));
    let undisturbed = server.post("/v1/completions", &body).await.json();
    server.until(|stats| stats.gauges.running == 0).await;
    server.gate().hold_after(5);

    let (answer, ()) = tokio::join!(server.post("/v1/completions", &body), async {
        server.until(|stats| stats.gauges.running == 2).await;
        server.kill_engine();
    });

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["choices"], undisturbed["choices"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_refuses_new_requests_and_ends_running_streams_with_an_error_event() {
    let server = TestServer::start().await;
    let (stream, begun) = begin_stream(&server, &request(&json!({"temperature": 0})), 1).await;
    let TestServer { engine, supervisor, .. } = server;

    let (text, ()) = tokio::join!(rest(stream), supervisor.drain_and_stop(std::time::Duration::ZERO));

    assert_eq!(engine.state(), EngineState::Draining);
    assert_eq!(streamed(begun + &text).chunks().last().unwrap()["error"]["code"], "shutting_down");
}
