//! `/v1/explain` and the render routes over the real model: their `prompt_tokens` are those of the later usage.

use super::model_path;
use crate::support::{llama_server::LlamaServer, shapes};

#[tokio::test]
async fn prompt_tokens_are_told_beforehand_for_every_shape_of_prompt() {
    let Some(model) = model_path() else { return };
    let server = LlamaServer::start(&model).await;
    let requests = [("/v1/completions", shapes::completions("toy")), ("/v1/chat/completions", shapes::chats("toy"))];
    for (path, request) in requests.into_iter().flat_map(|(path, requests)| requests.into_iter().map(move |request| (path, request))) {
        let explained = server.post("/v1/explain", &request).await;
        let rendered = server.post(&format!("{path}/render"), &request).await;
        let done = server.post(path, &request).await;

        assert_eq!((explained.status, rendered.status), (done.status, done.status), "{request}: {explained:?} {done:?}");
        if !done.status.is_success() {
            // The model has no tokens for filling in the middle.
            assert_eq!((done.status.as_u16(), &done.json()["error"]["param"]), (400, &"suffix".into()), "{request}");
            continue;
        }
        let usage = &done.json()["usage"];
        let ids = match rendered.json() {
            serde_json::Value::Array(prompts) => prompts.iter().map(|prompt| prompt["token_ids"].as_array().unwrap().len()).sum(),
            prompt => prompt["token_ids"].as_array().unwrap().len(),
        };
        assert_eq!(explained.json()["prompt_tokens"], usage["prompt_tokens"], "{request}");
        assert_eq!(serde_json::Value::from(ids), usage["prompt_tokens"], "{request}");
        // With several choices, the usage has the `cached_tokens` of the choice that found least in the cache.
        if request["n"].is_null() && request["best_of"].is_null() {
            assert_eq!(explained.json()["cached_tokens"], usage["prompt_tokens_details"]["cached_tokens"], "{request}");
        }
    }
}
