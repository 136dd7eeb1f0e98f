//! `/tokenize`, `/detokenize`, `/tokenizer_info`: both dialects, in both directions.

use crate::support::server::TestServer;
use llamero::chat::FALLBACK;
use proptest::prelude::*;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_dialects_get_the_keys_of_both() {
    let server = TestServer::start().await;

    let vllm = server.post("/tokenize", &json!({"model": "fake", "prompt": "hé"})).await;
    let llama = server.post("/tokenize", &json!({"content": "hé"})).await;

    let expected = json!({"tokens": [256, 104, 195, 169], "count": 4, "max_model_len": 4096, "token_strs": null});
    assert_eq!((vllm.status.as_u16(), vllm.json()), (200, expected));
    assert_eq!(llama.json()["tokens"], json!([104, 195, 169]), "a content gets no BOS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_are_strings_or_else_bytes() {
    let server = TestServer::start().await;
    let body = json!({"content": "a é<s>", "with_pieces": true, "return_token_strs": true});

    let answer = server.post("/tokenize", &body).await.json();

    let expected = json!([
        {"id": 97, "piece": "a"},
        {"id": 32, "piece": " "},
        {"id": 195, "piece": [195]},
        {"id": 169, "piece": [169]},
        {"id": 256, "piece": "<s>"},
    ]);
    assert_eq!(answer["tokens"], expected);
    assert_eq!(answer["token_strs"], json!(["a", " ", "\u{FFFD}", "\u{FFFD}", "<s>"]));
    assert_eq!(answer["count"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_tokens_can_be_left_as_text() {
    let server = TestServer::start().await;

    let answer = server.post("/tokenize", &json!({"content": "<s>", "parse_special": false})).await;

    assert_eq!(answer.json()["tokens"], json!([60, 115, 62]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_outside_the_vocabulary_and_other_faults_are_named() {
    let server = TestServer::start().await;

    for (path, body, param) in [
        ("/detokenize", json!({"tokens": [268]}), "tokens"),
        ("/detokenize", json!({"tokens": ["a"]}), "tokens"),
        ("/detokenize", json!({"tokens": "a"}), "tokens"),
        ("/detokenize", json!({}), "tokens"),
        ("/tokenize", json!({}), "prompt"),
        ("/tokenize", json!({"prompt": 5}), "prompt"),
        ("/tokenize", json!({"prompt": "a", "model": 5}), "model"),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!((answer.status.as_u16() / 100, &answer.json()["error"]["param"]), (4, &json!(param)), "{path} {body}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_fields_are_reported_and_refused_when_strict() {
    let server = TestServer::with(&[("strict", "true")]).await;
    let relaxed = TestServer::start().await;
    let body = json!({"content": "a", "foo": 1});

    assert_eq!(relaxed.post("/tokenize", &body).await.header("x-llamero-warnings"), "ignored fields: foo");
    assert_eq!(server.post("/tokenize", &body).await.json()["error"]["param"], "foo");
    assert_eq!(server.post("/detokenize", &json!({"tokens": [97], "bar": 1})).await.json()["error"]["param"], "bar");
}

/// lm-eval's remote tokenizer needs names whose first token is the named token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_names_of_begin_and_end_tokenize_to_these_tokens() {
    let server = TestServer::start().await;

    let info = server.get("/tokenizer_info").await.json();

    assert_eq!((&info["bos_token"], &info["eos_token"], &info["pad_token"]), (&json!("<s>"), &json!("</s>"), &Value::Null));
    assert_eq!((&info["chat_template"], &info["model_max_length"], &info["vocab_size"]), (&json!(FALLBACK), &json!(4096), &json!(268)));
    for (name, id) in [("bos_token", 256), ("eos_token", 257)] {
        let answer = server.post("/tokenize", &json!({"prompt": info[name], "add_special_tokens": false})).await;
        assert_eq!(answer.json()["tokens"], json!([id]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokenizing_needs_a_key_and_counts_against_the_limit() {
    let server = TestServer::with(&[("api_key", "sk-right"), ("rpm", "1")]).await;
    let body = json!({"content": "a"});

    let without = server.post("/tokenize", &body).await;
    let first = server.post_as("sk-right", "/tokenize", &body).await;
    let second = server.post_as("sk-right", "/detokenize", &json!({"tokens": [97]})).await;

    assert_eq!((without.status.as_u16(), &without.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!((first.status.as_u16(), first.header("x-ratelimit-remaining-requests")), (200, "0"));
    assert_eq!((second.status.as_u16(), &second.json()["error"]["code"]), (429, &json!("rate_limit_exceeded")));
    assert_eq!(server.get("/tokenizer_info").await.status, 401);
}

#[test]
fn what_was_tokenized_comes_back_as_it_was() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(TestServer::start());
    let text = prop_oneof![any::<String>(), "[<s>/ a-z\\n\\t😀é]{0,40}"];
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() });

    let result = runner.run(&(text, any::<bool>()), |(text, parse_special)| {
        let (back, count) = runtime.block_on(async {
            let body = json!({"content": text, "parse_special": parse_special});
            let tokens = server.post("/tokenize", &body).await.json();
            let back = server.post("/detokenize", &json!({"tokens": tokens["tokens"]})).await.json();
            (back, tokens["count"].as_u64().unwrap())
        });
        prop_assert_eq!(&back["content"], &json!(text));
        prop_assert_eq!(&back["prompt"], &json!(text));
        prop_assert!(count <= u64::try_from(text.len()).unwrap());
        Ok(())
    });

    result.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_has_the_tokens_that_its_request_would_compute() {
    let server = TestServer::start().await;
    let messages = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hé <s>"}]);

    let answer = server.post("/tokenize", &json!({"messages": messages, "return_token_strs": true, "foo": 1})).await;
    let rendered = server.post("/v1/chat/completions/render", &json!({"model": "fake", "messages": messages})).await;
    let both = server.post("/tokenize", &json!({"messages": messages, "content": "a"})).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["tokens"], rendered.json()["token_ids"]);
    assert_eq!(answer.json()["count"], answer.json()["token_strs"].as_array().unwrap().len());
    assert_eq!(answer.header("x-llamero-warnings"), "ignored fields: foo");
    assert_eq!((both.status, &both.json()["error"]["param"]), (400.try_into().unwrap(), &json!("content")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_cannot_fit_the_context_is_refused_by_its_bytes_where_it_would_be_generated_from() {
    let server = TestServer::start().await;
    // A token of the fake vocabulary has at most four bytes, and the context has 4096 tokens.
    let (fits, past) = ("</s>".repeat(4096), "</s>".repeat(4096) + "x");
    let messages = |text: &str| json!([{"role": "user", "content": text}]);

    for (path, body, field) in [
        ("/v1/completions", json!({"model": "fake", "prompt": past}), "prompt"),
        ("/v1/completions", json!({"model": "fake", "prompt": ["a", past]}), "prompt"),
        ("/v1/completions", json!({"model": "fake", "prompt": "a", "suffix": past}), "prompt"),
        ("/v1/chat/completions", json!({"model": "fake", "messages": messages(&past)}), "messages"),
    ] {
        let error = server.post(path, &body).await.json()["error"].clone();
        assert_eq!((&error["code"], &error["param"]), (&json!("context_length_exceeded"), &json!(field)), "{path} {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("This model's maximum context length is 4096 tokens") && message.contains("at least 4"), "{message}");
    }
    let anthropic = server.post("/v1/messages", &json!({"model": "fake", "max_tokens": 5, "messages": messages(&past)})).await;
    assert!(anthropic.status == 400 && anthropic.text.contains("prompt is too long: 4"), "{anthropic:?}");
    let legacy = server.post("/generate", &json!({"prompt": past})).await;
    assert!(legacy.status == 400 && legacy.text.contains("at least 4097 tokens"), "{legacy:?}");
    // A text that might fit is tokenized and counted, and a text that is only to be counted may have any length.
    let counted = server.post("/v1/completions", &json!({"model": "fake", "prompt": fits})).await.json();
    assert!(counted["error"]["message"].as_str().unwrap().contains("your prompt has 4097 tokens"), "{counted}");
    assert_eq!(server.post("/tokenize", &json!({"content": past})).await.json()["count"], 4097);
    let truncated = json!({"model": "fake", "prompt": past, "truncate_prompt_tokens": 10, "max_tokens": 1});
    assert_eq!(server.post("/v1/completions", &truncated).await.status, 200);
}
