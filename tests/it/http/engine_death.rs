//! An engine dies under requests: they go on as if nothing had happened, once.

use crate::support::server::{Answer, TestServer, frame, rest};
use axum::http::{HeaderMap, StatusCode};
use llamero::gateway::handle::EngineState;
use serde_json::{Value, json};

fn request(extra: &Value) -> Value {
    let mut body = json!({"model": "fake", "prompt": "the show must go on", "max_tokens": 200, "ignore_eos": true});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn text(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect()
}

/// Streams `body`, killing the engine after each of `kills` frames more.
async fn stream_with_kills(server: &TestServer, body: &Value, kills: &[u32]) -> Answer {
    server.gate().hold_after(10);
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let mut stream = server.stream("/v1/completions", &streamed).await;
    let mut begun = String::new();
    for frames in kills {
        for _ in 0..*frames {
            begun.push_str(&frame(&mut stream).await);
        }
        server.kill_engine();
        if kills.len() > 1 {
            server.gate().hold_after(10);
        }
    }
    let text = begun + &rest(stream).await;
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
    ];
    for variant in variants {
        let body = request(&variant);
        let undisturbed = server.post("/v1/completions", &body).await.json();

        let disturbed = stream_with_kills(&server, &body, &[4]).await.chunks();

        assert_eq!(text(&disturbed), undisturbed["choices"][0]["text"], "{variant}");
        assert_eq!(disturbed.last().unwrap()["choices"][0]["finish_reason"], undisturbed["choices"][0]["finish_reason"]);
    }
    assert_eq!(server.engine.restarts(), 4);
    assert_eq!(server.engine.engine_deaths().values().sum::<u64>(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_death_ends_the_stream_with_an_error_event_and_done() {
    let server = TestServer::start().await;

    let answer = stream_with_kills(&server, &request(&json!({"temperature": 0})), &[2, 2]).await;

    let chunks = answer.chunks();
    assert_eq!(chunks.last().unwrap()["error"]["code"], "engine_error", "{:?}", chunks.last());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_stream_survives_a_kill_too() {
    let server = TestServer::start().await;
    let body = request(&json!({"temperature": 0, "n": 2}));
    let undisturbed = server.post("/v1/completions", &body).await.json();
    server.gate().hold_after(5);

    let (answer, ()) = tokio::join!(server.post("/v1/completions", &body), async {
        server.until(|stats| stats.running == 2).await;
        server.kill_engine();
    });

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["choices"], undisturbed["choices"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_refuses_new_requests_and_ends_running_streams_with_an_error_event() {
    let server = TestServer::start().await;
    server.gate().hold_after(5);
    let mut body = request(&json!({"temperature": 0}));
    body["stream"] = json!(true);
    let mut stream = server.stream("/v1/completions", &body).await;
    let begun = frame(&mut stream).await;
    let TestServerParts { engine, supervisor } = parts(server);

    let (text, ()) = tokio::join!(rest(stream), supervisor.drain_and_stop(std::time::Duration::ZERO));

    assert_eq!(engine.state(), EngineState::Draining);
    let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), text: begun + &text };
    assert_eq!(answer.chunks().last().unwrap()["error"]["code"], "shutting_down");
}

struct TestServerParts {
    engine: llamero::gateway::handle::EngineHandle,
    supervisor: llamero::gateway::supervisor::Supervisor,
}

fn parts(server: TestServer) -> TestServerParts {
    TestServerParts { engine: server.engine, supervisor: server.supervisor }
}
