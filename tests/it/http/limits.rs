//! Keys, rate limits and the bounded queue, with errors in the shapes of both route families.

use crate::support::server::{TestServer, frame, rest};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_refused_in_the_shape_of_the_route() {
    let server = TestServer::with(&[("api_key", "sk-right")]).await;
    let body = json!({"model": "fake", "prompt": "a", "max_tokens": 1});

    let wrong = server.post_as("sk-wrong", "/v1/completions", &body).await;
    let legacy = server.post("/generate", &body).await;
    let right = server.post_as("sk-right", "/v1/completions", &body).await;

    assert_eq!((wrong.status.as_u16(), &wrong.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!((legacy.status.as_u16(), legacy.text.as_str()), (401, r#"{"detail":"Not authenticated"}"#));
    assert_eq!(legacy.header("www-authenticate"), "Bearer");
    assert_eq!(right.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_rate_get_429_with_the_wait() {
    let server = TestServer::with(&[("rpm", "2")]).await;
    let body = json!({"model": "fake", "prompt": "a", "max_tokens": 1});

    let first = server.post("/v1/completions", &body).await;
    server.post("/v1/completions", &body).await;
    let third = server.post("/v1/completions", &body).await;

    assert_eq!((first.header("x-ratelimit-limit-requests"), first.header("x-ratelimit-remaining-requests")), ("2", "1"));
    assert_eq!(third.status, 429);
    let wait: u64 = third.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(third.json()["error"]["code"], "rate_limit_exceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_503_with_a_wait_and_disturbs_nobody() {
    let server = TestServer::with(&[("max_num_seqs", "1"), ("max_waiting", "0")]).await;
    let body = json!({"model": "fake", "prompt": "a", "max_tokens": 50, "ignore_eos": true, "stream": true});
    server.gate().hold_after(3);
    let mut running = server.stream("/v1/completions", &body).await;
    frame(&mut running).await;

    let refused = server.post("/v1/completions", &body).await;
    server.gate().open();
    let finished = rest(running).await;
    server.until(|stats| stats.gauges.running == 0).await;
    let later = server.post("/v1/completions", &body).await;

    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (503, &json!("overloaded")));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(finished.ends_with("data: [DONE]\n\n"), "{finished}");
    assert_eq!(later.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_show_what_ran() {
    let server = TestServer::start().await;
    server.post("/v1/completions", &json!({"model": "fake", "prompt": "count me", "max_tokens": 7, "ignore_eos": true})).await;

    let page = server.get("/metrics").await.text;

    for name in
        ["vllm:time_to_first_token_seconds_bucket", "vllm:generation_tokens_total", "vllm:num_requests_running", "llamero:engine_up"]
    {
        assert!(page.contains(name), "{name} is missing in\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_sequences_than_there_are_places_are_a_400_that_no_client_repeats() {
    let server = TestServer::with(&[("max_num_seqs", "1"), ("max_waiting", "2")]).await;

    let answer = server.post("/v1/completions", &json!({"model": "fake", "prompt": ["a", "b", "c", "d"], "max_tokens": 1})).await;

    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["param"]), (400, &json!("prompt")), "{answer:?}");
    assert!(answer.text.contains("4 sequences; at most 3"), "{answer:?}");
}
