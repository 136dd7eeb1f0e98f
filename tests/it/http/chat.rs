//! `/v1/chat/completions` over the fake model, whose template is ChatML.

use crate::support::{
    fake_runner::{EOG, FakeTokenizer, continuation},
    server::{TestServer, frame, rest},
};
use llamero::{
    engine::runner::Tokenizer,
    protocol::{SpecialText, Token},
};
use serde_json::{Value, json};

/// The greedy answer of the fake model to one user message.
fn expected(content: &str, max_tokens: u32) -> (Vec<Token>, String) {
    let prompt = format!("<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n");
    let tokenizer = FakeTokenizer::default();
    let said = continuation(&tokenizer.encode(&prompt, true, &SpecialText::RecognisedOutside(vec![])).unwrap(), max_tokens);
    let bytes: Vec<u8> = said.iter().filter(|token| **token != EOG).flat_map(|token| tokenizer.piece(*token, false).to_vec()).collect();
    (said, String::from_utf8_lossy(&bytes).into_owned())
}

fn greedy(content: &str, max_tokens: u32) -> Value {
    json!({"model": "fake", "messages": [{"role": "user", "content": content}], "max_tokens": max_tokens, "temperature": 0})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_answered_with_what_the_model_says_after_the_rendered_prompt() {
    let server = TestServer::start().await;
    let (tokens, text) = expected("hello", 20);

    let answer = server.post("/v1/chat/completions", &greedy("hello", 20)).await;

    let body = answer.json();
    assert_eq!(answer.status, 200, "{body}");
    assert_eq!(body["choices"][0]["message"], json!({"role": "assistant", "content": text, "refusal": null}));
    assert_eq!(body["usage"]["completion_tokens"], tokens.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_carries_the_same_text_with_the_role_first_and_the_usage_last() {
    let server = TestServer::start().await;
    let (tokens, text) = expected("hello", 20);
    let mut body = greedy("hello", 20);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});

    let answer = server.post("/v1/chat/completions", &body).await;

    let chunks = answer.chunks();
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let streamed: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(streamed, text);
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert!(!last["choices"][0]["finish_reason"].is_null() && others.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
    assert!(chunks.iter().all(|chunk| chunk["id"] == usage["id"] && chunk["created"] == usage["created"] && chunk["usage"].is_null()));
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(tokens.len())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_probabilities_name_every_token_by_its_bytes() {
    let server = TestServer::start().await;
    let mut body = greedy("logs", 12);
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(2);
    body["ignore_eos"] = json!(true);

    let answer = server.post("/v1/chat/completions", &body).await;

    let logprobs = answer.json()["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!(logprobs.len(), 12);
    for token in &logprobs {
        assert_eq!(token["top_logprobs"][0]["bytes"], token["bytes"], "greedy takes the likeliest");
        assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_stream_frees_its_place() {
    let server = TestServer::start().await;
    server.gate().hold_after(5);
    let mut body = greedy("gone", 3000);
    body["stream"] = json!(true);
    body["ignore_eos"] = json!(true);
    let mut stream = server.stream("/v1/chat/completions", &body).await;
    assert!(frame(&mut stream).await.contains("\"role\":\"assistant\""));

    drop(stream);

    server
        .until(|stats| {
            server.gate().hold_after(1);
            stats.gauges.running == 0
        })
        .await;
    assert!(server.engine.stats().totals.steps < 2000, "{:?}", server.engine.stats());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_goes_on_after_the_engine_died_as_if_nothing_had_happened() {
    let server = TestServer::start().await;
    server.gate().hold_after(6);
    let mut body = greedy("die", 30);
    body["stream"] = json!(true);
    body["ignore_eos"] = json!(true);
    let undisturbed = {
        let server = TestServer::start().await;
        server.post("/v1/chat/completions", &body).await.chunks()
    };
    let mut stream = server.stream("/v1/chat/completions", &body).await;
    let first = frame(&mut stream).await;

    server.kill_engine();

    let text = first + &rest(stream).await;
    let chunks = text.split_terminator("\n\n").filter_map(|frame| frame.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let contents = chunks.map(|data| serde_json::from_str::<Value>(data).unwrap());
    let said = |chunk: &Value| chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned();
    assert_eq!(contents.map(|chunk| said(&chunk)).collect::<String>(), undisturbed.iter().map(said).collect::<String>());
}
