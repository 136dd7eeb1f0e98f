//! The families through a whole server: what a client sees of spaces, BOS and ends.

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
    // What the toy says, the prompt, how many tokens that is, and the text.
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

#[tokio::test]
async fn bos_in_a_prompt_is_counted_once() {
    let answer = complete(gguf::llama3_like().saying(&["Hello", "<|eot_id|>"]), "<|begin_of_text|>lazy dog").await;

    assert_eq!(answer["usage"]["prompt_tokens"], 3, "{answer}");
}
