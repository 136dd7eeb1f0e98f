//! `/generate` and related routes over the whole server. The shapes of their errors are tested beside their code.

use crate::support::server::TestServer;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generate_answers_text_prompt_and_model_and_nothing_else() {
    let server = TestServer::start().await;

    let answer = server.post("/generate", &json!({"prompt": "once", "max_tokens": 5, "temperature": 0})).await;

    let json = answer.json();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["text", "prompt", "model"]);
    assert_eq!((&json["prompt"], &json["model"]), (&json!("once"), &json!("fake")));
    let openai = json!({"model": "fake", "prompt": "once", "max_tokens": 5, "temperature": 0});
    assert_eq!(json["text"], server.post("/v1/completions", &openai).await.json()["choices"][0]["text"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_root_answer_as_the_scripts_did() {
    let server = TestServer::start().await;

    assert_eq!(server.get("/health").await.text, r#"{"status":"healthy","model_loaded":true}"#);
    assert_eq!(server.get("/").await.json()["model"], "fake");
    assert_eq!(server.get("/nowhere").await.text, r#"{"detail":"Not Found"}"#);
}
