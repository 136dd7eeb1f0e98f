//! Clients that leave, and clients that only stop sending: the sequences of the first are gone within a step, the
//! second get their answer.
//!
//! The engine's steps are held, so that a cancellation happens without a further step.

use crate::support::{
    server::TestServer,
    wire::{Client, Listening, post},
};
use axum::body::BodyDataStream;
use serde_json::{Value, json};

/// The number of tokens that each client requests; it fits into the context with the longest prompt.
const MAX_TOKENS: u32 = 1500;

/// The way in which a client leaves.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    Close,
    CloseAfterALine,
    CloseAfterAnotherRequest,
    /// Sends more than the server keeps of the bytes after a request, and more than the system buffers.
    CloseAfterMuch,
    Reset,
}

const WAYS: [Leaving; 5] =
    [Leaving::Close, Leaving::CloseAfterALine, Leaving::CloseAfterAnotherRequest, Leaving::CloseAfterMuch, Leaving::Reset];

/// The phase of the client's request in the engine.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Queue,
    Prefill,
    Decode,
}

impl Leaving {
    async fn leave(self, mut client: Client) {
        match self {
            Self::Close => {}
            Self::CloseAfterALine => client.send("\r\n").await,
            Self::CloseAfterAnotherRequest => client.send(post("/v1/completions", &json!({"prompt": "b"}).to_string())).await,
            Self::CloseAfterMuch => client.send(vec![b'\n'; 900_000]).await,
            Self::Reset => client.0.set_zero_linger().unwrap(),
        }
    }
}

fn request(prompt_tokens: usize, max_tokens: u32, stream: bool) -> String {
    let prompt = "p".repeat(prompt_tokens);
    let body = json!({"model": "fake", "prompt": prompt, "max_tokens": max_tokens, "ignore_eos": true, "stream": stream});
    post("/v1/completions", &body.to_string())
}

/// A server whose engine is in a phase of a client's request. No steps are taken any more.
struct Held {
    server: TestServer,
    listening: Listening,
    client: Client,
    /// Number of places that are free without the client.
    free: usize,
    /// The request that keeps the client's request in the queue.
    _before: Option<BodyDataStream>,
}

async fn held(phase: Phase, stream: bool) -> Held {
    // With these settings a stream sends its head even before its first token.
    let server = TestServer::with(&[("max_num_seqs", "1"), ("hold_status", "0s"), ("keep_alive", "3600s")]).await;
    let listening = Listening::start(&server);
    let (prompt_tokens, steps) = match phase {
        Phase::Queue | Phase::Decode => (1, 5),
        Phase::Prefill => (2000, 3),
    };
    server.gate().hold_after(steps);
    let mut before = None;
    if matches!(phase, Phase::Queue) {
        let body = json!({"model": "fake", "prompt": "a", "max_tokens": 4000, "ignore_eos": true, "stream": true});
        before = Some(server.stream("/v1/completions", &body).await);
        server.until(|stats| stats.totals.steps + 1 >= u64::from(steps)).await;
    }
    let (free, _) = server.engine.places();
    let mut client = listening.connect().await;
    client.send(request(prompt_tokens, MAX_TOKENS, stream)).await;
    server.until(|_| server.engine.places().0 == free - 1).await;
    if !matches!(phase, Phase::Queue) {
        server.until(|stats| stats.totals.steps + 1 >= u64::from(steps)).await;
    }
    if stream {
        assert!(client.head().await.starts_with("http/1.1 200 "));
    }
    Held { server, listening, client, free, _before: before }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_cancelled_without_a_step_in_every_phase() {
    for phase in [Phase::Queue, Phase::Prefill, Phase::Decode] {
        for stream in [false, true] {
            for leaving in WAYS {
                let Held { server, listening: _listening, client, free, _before } = held(phase, stream).await;

                leaving.leave(client).await;

                let label = format!("{phase:?}, stream {stream}, {leaving:?}");
                server.until_labelled(&label, |_| server.engine.places().0 == free).await;
                server.gate().open();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_only_stops_sending_gets_its_whole_answer() {
    for phase in [Phase::Queue, Phase::Prefill, Phase::Decode] {
        let Held { server, listening: _listening, mut client, _before, .. } = held(phase, false).await;

        client.finish_sending().await;
        let interim = client.response().await;
        server.gate().open();
        let answer = client.final_response().await;

        assert_eq!((interim.status, answer.status), (102, 200), "{phase:?}");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer["usage"]["completion_tokens"], MAX_TOKENS, "{phase:?}");
        assert!(client.rest().await.is_empty(), "{phase:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_to_a_client_that_only_stops_sending() {
    let Held { server, listening: _listening, mut client, .. } = held(Phase::Decode, true).await;

    client.send("\r\n").await;
    client.finish_sending().await;
    client.until(": ping\n\n").await;
    server.gate().open();
    let stream = client.rest().await;

    assert!(stream.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{stream}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_exchange_of_a_client_that_stops_sending_at_once_is_as_any_other() {
    let server = TestServer::start().await;
    let listening = Listening::start(&server);
    let mut client = listening.connect().await;

    client.send(post("/generate", r#"{"prompt": "a", "max_tokens": 3}"#)).await;
    client.finish_sending().await;
    let answer = client.final_response().await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(client.rest().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http_1_0_that_stops_sending_counts_as_gone_and_hears_nothing_before_its_answer() {
    let Held { server, listening, client: _other, free, .. } = held(Phase::Decode, false).await;
    let mut client = listening.connect().await;
    let taken = server.engine.places().0;
    client.send(request(1, MAX_TOKENS, false).replace("HTTP/1.1", "HTTP/1.0")).await;
    server.until(|_| server.engine.places().0 == taken - 1).await;

    client.finish_sending().await;

    server.until(|_| server.engine.places().0 == taken).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(taken, free - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_follows_one_whose_answer_took_long_is_answered() {
    let Held { server, listening: _listening, mut client, .. } = held(Phase::Decode, false).await;

    client.send(request(1, 1, false)).await;
    server.gate().open();

    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.response().await.status, 200);
}
