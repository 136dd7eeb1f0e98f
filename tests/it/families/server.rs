//! The families in a whole server: the spaces, BOS and ends that a client sees.

use crate::support::{
    gguf::{self, Toy},
    llama_server::LlamaServer,
};
use serde_json::{Value, json};

async fn complete(toy: Toy, prompt: &str) -> Value {
    let file = toy.write();
    let server = LlamaServer::start(&file).await;
    let request = json!({"model": "toy", "prompt": prompt, "max_tokens": 8, "temperature": 0, "logprobs": 1});
    let answer = server.post("/v1/completions", &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn completions_end_and_are_spaced_as_each_family_has_it() {
    // The toy's script, the prompt, the prompt's number of tokens, and the text.
    let cases: [(Toy, &[&str], u64, &str); 7] = [
        (gguf::llama2_like(), &["▁the", "▁quick", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "</s>"], 3, " the quick😀"),
        (gguf::codellama_like(), &["▁return", "▁x", "▁<EOT>"], 3, " return x"),
        (gguf::codellama_reachable(), &["▁return", "▁<EOT>"], 3, " return"),
        (gguf::mistral_v3_like(), &["▁the", "▁fox", "</s>"], 3, " the fox"),
        (gguf::gemma_like(), &["Hello", "▁world", "\n\n", "<end_of_turn>"], 3, "Hello world\n\n"),
        (gguf::llama3_like(), &["Hello", "Ġworld", "<|eom_id|>"], 3, "Hello world"),
        (gguf::qwen_like(), &["Hello", "Ġworld", "<|im_end|>"], 2, "Hello world"),
    ];
    for (mut toy, says, prompt_tokens, text) in cases {
        toy.vocabulary.add("▁x", gguf::Kind::Normal);

        let answer = complete(toy.saying(says), "lazy dog").await;

        assert_eq!(answer["choices"][0]["text"], text, "{answer}");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
        assert_eq!(answer["usage"]["prompt_tokens"], prompt_tokens, "{answer}");
    }
}

/// A model without a chat template, for which ChatML's marks are plain text.
fn without_template() -> Toy {
    let mut toy = gguf::gpt_oss_like();
    for text in ["Hello", "<|im_", "end|>", "Ġone", "Ġtwo", "Ġthree"] {
        toy.vocabulary.add(text, gguf::Kind::Normal);
    }
    toy.saying(&["Hello", "<|im_", "end|>", "Ġone", "Ġtwo", "Ġthree", "<|return|>"])
}

#[tokio::test]
async fn a_model_without_a_template_ends_its_turn_where_it_writes_the_mark_of_one_and_that_is_said() {
    let file = without_template().write();
    let server = LlamaServer::start(&file).await;
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let chat = json!({"model": "toy", "messages": messages, "max_tokens": 8, "temperature": 0});
    let shown =
        json!({"model": "toy", "messages": messages, "max_tokens": 8, "temperature": 0, "stop": ["x"], "include_stop_str_in_output": true});
    let response = json!({"model": "toy", "input": "Hi", "max_output_tokens": 16, "temperature": 0});
    let cases = [
        ("/v1/chat/completions", &chat, "/choices/0/message/content", "/choices/0/finish_reason", "stop"),
        ("/v1/chat/completions", &shown, "/choices/0/message/content", "/choices/0/finish_reason", "stop"),
        ("/v1/responses", &response, "/output/0/content/0/text", "/status", "completed"),
        ("/v1/messages", &chat, "/content/0/text", "/stop_reason", "end_turn"),
    ];
    for (path, body, text, end, ended) in cases {
        let answer = server.post(path, body).await;

        let json = answer.json();
        assert_eq!((json.pointer(text), json.pointer(end)), (Some(&json!("Hello")), Some(&json!(ended))), "{path} {json}");
        let warnings = answer.header("x-llamero-warnings");
        assert!(warnings.contains("no chat template") && warnings.contains("--chat-template"), "{path}: {warnings:?}");
        assert!(answer.json().pointer("/choices/0/stop_reason").is_none_or(Value::is_null), "{json}");
    }

    let mut past = chat.clone();
    past["ignore_eos"] = json!(true);
    let past = server.post("/v1/chat/completions", &past).await.json();
    assert_eq!(past["choices"][0]["finish_reason"], "length", "{past}");
}

#[tokio::test]
async fn bos_in_a_prompt_is_counted_once() {
    let answer = complete(gguf::llama3_like().saying(&["Hello", "<|eot_id|>"]), "<|begin_of_text|>lazy dog").await;

    assert_eq!(answer["usage"]["prompt_tokens"], 3, "{answer}");
}
