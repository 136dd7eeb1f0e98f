//! Answers that are sent before the body of their request was read: a client that sends everything before it reads gets
//! them, and the connection continues if it can (RFC 9112 9.6).

use crate::support::{
    server::TestServer,
    wire::{Client, Listening, head_of_post, post},
};
use serde_json::json;

const KEY: &str = "Authorization: Bearer sk-right\r\n";
const MODELS: &str = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-right\r\n\r\n";

/// Sends a body in pieces of 1 kB.
async fn send_body(client: &mut Client, length: usize) {
    let piece = [b'x'; 1000];
    for sent in (0..length).step_by(piece.len()) {
        client.send(&piece[..piece.len().min(length - sent)]).await;
    }
}

/// Asserts that after an answer to the head alone the body is still read and the next request answered.
async fn goes_on(listening: &Listening, path: &str, lines: &str, status: u16) {
    let mut client = listening.connect().await;
    client.send(head_of_post(path, 65536, lines)).await;
    let answer = client.response().await;
    assert_eq!(answer.status, status, "{path} {lines}: {answer:?}");
    assert!(!answer.head.contains("connection: close"), "{answer:?}");

    send_body(&mut client, 65536).await;
    client.send(MODELS).await;

    assert_eq!(client.response().await.status, 200, "{path} {lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_before_the_body_leaves_the_connection_usable() {
    let server = TestServer::with(&[("api_key", "sk-right"), ("max_body_bytes", "32768"), ("rpm", "1")]).await;
    let listening = Listening::start(&server);
    server.post_as("sk-right", "/v1/completions", &json!({"model": "fake", "prompt": "a", "max_tokens": 1})).await;

    goes_on(&listening, "/v1/completions", "Authorization: Bearer sk-wrong\r\n", 401).await;
    goes_on(&listening, "/generate", "", 401).await;
    goes_on(&listening, "/v1/messages", "", 401).await;
    goes_on(&listening, "/v1/completions", KEY, 429).await;
    // The body is longer than the limit on bodies.
    goes_on(&listening, "/health", KEY, 413).await;
    goes_on(&listening, "/v1/completions", "Host: other\r\n", 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_host_is_refused_and_its_body_taken() {
    let server = TestServer::start().await;
    let listening = Listening::start(&server);
    let mut client = listening.connect().await;

    client.send("POST /v1/completions HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 65536\r\n\r\n").await;
    let refused = client.response().await;
    send_body(&mut client, 65536).await;
    client.send(MODELS).await;

    assert_eq!((refused.status, client.response().await.status), (403, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_body_that_nobody_wants_is_taken_too() {
    let server = TestServer::with(&[("api_key", "sk-right")]).await;
    let listening = Listening::start(&server);
    let mut client = listening.connect().await;

    client.send("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let refused = client.response().await;
    for _ in 0..100 {
        client.send(format!("3e8\r\n{}\r\n", "x".repeat(1000))).await;
    }
    client.send("0\r\n\r\n").await;
    client.send(MODELS).await;

    assert_eq!((refused.status, client.response().await.status), (401, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sends_more_than_is_drained_reads_the_answer_all_the_same() {
    let server = TestServer::with(&[("api_key", "sk-right")]).await;
    let listening = Listening::start(&server);

    for (lines, status) in [("", 401), (KEY, 413)] {
        let mut client = listening.connect().await;
        let length = 12 << 20;
        client.send(head_of_post("/v1/completions", length, lines)).await;
        client.send(vec![b'x'; length]).await;

        let answer = client.response().await;

        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.head.contains("connection: close"), "{answer:?}");
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_an_announced_end_is_drained_up_to_a_bound_and_the_answer_still_arrives() {
    let server = TestServer::with(&[("api_key", "sk-right")]).await;
    let listening = Listening::start(&server);
    let mut client = listening.connect().await;

    client.send("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..12 {
        client.send(format!("100000\r\n{}\r\n", "x".repeat(1 << 20))).await;
    }

    assert_eq!(client.response().await.status, 401);
    client.finish_sending().await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_first_is_refused_without_being_waited_for() {
    let server = TestServer::with(&[("api_key", "sk-right")]).await;
    let listening = Listening::start(&server);
    let mut client = listening.connect().await;

    client.send(head_of_post("/v1/completions", 65536, "Expect: 100-continue\r\n")).await;
    let answer = client.response().await;
    client.finish_sending().await;

    assert_eq!(answer.status, 401);
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    assert_eq!(client.rest().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_first_and_may_send_is_told_to() {
    let server = TestServer::start().await;
    let listening = Listening::start(&server);
    let mut client = listening.connect().await;
    let body = r#"{"model": "fake", "prompt": "a", "max_tokens": 1}"#;

    client.send(head_of_post("/v1/completions", body.len(), "Expect: 100-continue\r\n")).await;
    let interim = client.head().await;
    client.send(body).await;

    assert!(interim.starts_with("http/1.1 100 "), "{interim}");
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_faulty_head_the_refusal_is_read_whatever_follows() {
    let server = TestServer::start().await;
    let listening = Listening::start(&server);

    for faulty in ["POST / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), format!("POST / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(40_000))] {
        let mut client = listening.connect().await;
        client.send(faulty).await;
        send_body(&mut client, 1 << 20).await;

        assert!([400, 431].contains(&client.response().await.status));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start().await;
    let listening = Listening::start(&server);
    let mut client = listening.connect().await;
    let request = |words: &str| post("/generate", &json!({"prompt": words, "max_tokens": 2}).to_string());

    client.send(["one", "two", "three", "four"].map(request).concat()).await;

    for words in ["one", "two", "three", "four"] {
        let answer = client.response().await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(words), "{answer:?}");
    }
}
