//! A server stops and starts again: with `--prefix-cache-dir` it still has the prefixes that it computed.

use crate::support::server::TestServer;
use serde_json::{Value, json};
use std::{fs, path::Path};

/// A request with a system prompt of more than 200 tokens and a question.
fn request(question: &str) -> Value {
    let prompt = format!("{}{question}", "You are a patient assistant. ".repeat(8));
    json!({"model": "fake", "prompt": prompt, "max_tokens": 20, "ignore_eos": true, "temperature": 0})
}

async fn ask(server: &TestServer, question: &str) -> (String, u64) {
    let answer = server.post("/v1/completions", &request(question)).await.json();
    let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    (answer["choices"][0]["text"].as_str().unwrap().to_owned(), cached)
}

fn kept(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "prefix")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_starts_warm_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let cold = TestServer::keeping(folder.path(), "model").await;
    let (first, cached) = ask(&cold, "Who?").await;
    assert_eq!(cached, 0);
    cold.stop().await;
    assert_eq!(kept(folder.path()), 1);

    let warm = TestServer::keeping(folder.path(), "model").await;
    warm.until(|stats| stats.totals.restored_tokens > 0).await;
    let (again, cached) = ask(&warm, "Who?").await;
    assert!(again == first && cached >= 230, "{cached} tokens, {again:?}");
    let (_, cached) = ask(&warm, "Why?").await;
    assert!(cached >= 230, "{cached} tokens of the system prompt");
    warm.stop().await;

    let other = TestServer::keeping(folder.path(), "another model").await;
    other.until(|_| kept(folder.path()) == 0).await;
    assert_eq!(ask(&other, "Who?").await, (first, 0));
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_death_nothing_on_disk_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::keeping(folder.path(), "model").await;
    let (first, _) = ask(&server, "Who?").await;
    server.stop().await;
    let server = TestServer::keeping(folder.path(), "model").await;
    server.until(|stats| stats.totals.restored_tokens > 0).await;

    server.kill_engine();
    server.until(|_| server.engine.restarts() == 1 && kept(folder.path()) == 0).await;

    assert_eq!(ask(&server, "Who?").await, (first, 0));
}
