//! `/v1/completions`: the answers to requests, streamed and not.

use crate::support::{
    fake_runner::{BOS, FakeTokenizer, LONG, LONG_PIECE_BYTES, VOCABULARY_SIZE, continuation},
    server::{Answer, TestServer, frame},
};
use llamero::{
    engine::runner::Tokenizer,
    protocol::{MAX_FRAME_BYTES, SpecialText, Token},
};
use serde_json::{Value, json};

/// The greedy answer of the fake model after `prompt`.
fn expected(prompt: &str, max_tokens: u32) -> String {
    let tokens = FakeTokenizer::default().encode(prompt, true, &SpecialText::Recognised).unwrap();
    assert_eq!(tokens[0], BOS);
    text_of(&continuation(&tokens, max_tokens))
}

fn text_of(tokens: &[Token]) -> String {
    let tokenizer = FakeTokenizer::default();
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| tokenizer.piece(*token, false).to_vec()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn greedy(prompt: &Value, max_tokens: u32) -> Value {
    json!({"model": "fake", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0})
}

fn text(answer: &Answer, choice: usize) -> String {
    answer.json()["choices"][choice]["text"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greedy_completion_is_what_the_model_says() {
    let server = TestServer::start().await;

    let answer = server.post("/v1/completions", &greedy(&json!("hello"), 20)).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(text(&answer, 0), expected("hello", 20));
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 6, "five bytes and BOS");
    assert!(!answer.header("x-request-id").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_carries_the_same_text_one_id_and_the_usage_last() {
    let server = TestServer::start().await;
    let mut body = greedy(&json!("hello"), 20);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});

    let answer = server.post("/v1/completions", &body).await;

    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    let chunks = answer.chunks();
    let (usage, chunks) = chunks.split_last().unwrap();
    let streamed: String = chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(streamed, expected("hello", 20));
    assert!(chunks.iter().all(|chunk| chunk["id"] == usage["id"] && chunk["created"] == usage["created"] && chunk["usage"].is_null()));
    assert_eq!(usage["choices"], json!([]));
    let tokens = continuation(&FakeTokenizer::default().encode("hello", true, &SpecialText::Recognised).unwrap(), 20).len();
    assert_eq!(usage["usage"]["completion_tokens"], tokens);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choices_are_prompts_times_n_in_order_and_usage_counts_each_prompt_once() {
    let server = TestServer::start().await;
    let mut body = greedy(&json!(["one", "two2"]), 8);
    body["n"] = json!(2);
    body["ignore_eos"] = json!(true);

    let answer = server.post("/v1/completions", &body).await;

    let json = answer.json();
    let indices: Vec<u64> = json["choices"].as_array().unwrap().iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!((text(&answer, 0), text(&answer, 2)), (text(&answer, 1), text(&answer, 3)), "greedy choices of a prompt are equal");
    assert_ne!(text(&answer, 0), text(&answer, 2));
    assert_eq!((&json["usage"]["prompt_tokens"], &json["usage"]["completion_tokens"]), (&json!(4 + 5), &json!(32)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_prompts_get_no_bos_and_echo_writes_them_out() {
    let server = TestServer::start().await;
    let prompt = [104, 101, 121].map(Token);
    let mut body = greedy(&json!([104, 101, 121]), 6);
    body["echo"] = json!(true);

    let answer = server.post("/v1/completions", &body).await;

    assert_eq!(text(&answer, 0), format!("hey{}", text_of(&continuation(&prompt, 6))));
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_too_long_to_be_echoed_is_refused_and_the_engine_lives() {
    let server = TestServer::start().await;
    let tokens = MAX_FRAME_BYTES / LONG_PIECE_BYTES + 1;
    let mut body = greedy(&json!(vec![LONG.0; tokens]), 1);
    body["echo"] = json!(true);

    let answer = server.post("/v1/completions", &body).await;

    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["param"]), (400, &json!("prompt")), "{answer:?}");
    let next = server.post("/v1/completions", &greedy(&json!("hello"), 20)).await;
    assert_eq!(text(&next, 0), expected("hello", 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_string_ends_the_text_before_it_and_frees_the_place() {
    let server = TestServer::start().await;
    // The fake model ends some texts early.
    let prompt = ["stop here", "stop there", "stop it", "stop now"].into_iter().find(|prompt| expected(prompt, 40).len() > 30).unwrap();
    let whole = expected(prompt, 40);
    let cut: String = whole.chars().skip(10).take(3).collect();
    let mut body = greedy(&json!(prompt), 40);
    body["stop"] = json!([cut]);

    let answer = server.post("/v1/completions", &body).await;

    assert_eq!(text(&answer, 0), whole.split(&cut).next().unwrap());
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "stop");
    server.until(|stats| stats.gauges.running == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let server = TestServer::start().await;
    let sampled =
        |seed: i64| json!({"model": "fake", "prompt": "dice", "max_tokens": 40, "temperature": 1.5, "seed": seed, "ignore_eos": true});

    let first = server.post("/v1/completions", &sampled(-7)).await;
    let again = server.post("/v1/completions", &sampled(-7)).await;
    let other = server.post("/v1/completions", &sampled(8)).await;

    assert_eq!(text(&first, 0), text(&again, 0));
    assert_ne!(text(&first, 0), text(&other, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_probabilities_run_in_step_with_the_tokens() {
    let server = TestServer::start().await;
    let mut body = greedy(&json!("logs"), 12);
    body["logprobs"] = json!(2);
    body["ignore_eos"] = json!(true);

    let answer = server.post("/v1/completions", &body).await;

    let json = answer.json();
    let logprobs = &json["choices"][0]["logprobs"];
    let lengths = ["tokens", "token_logprobs", "top_logprobs", "text_offset"].map(|key| logprobs[key].as_array().unwrap().len());
    assert_eq!(lengths, [12; 4]);
    assert_eq!(logprobs["text_offset"][0], 4, "offsets begin behind the prompt");
    for (token, top) in logprobs["tokens"].as_array().unwrap().iter().zip(logprobs["top_logprobs"].as_array().unwrap()) {
        assert!(top.get(token.as_str().unwrap()).is_some(), "{token} is not in {top}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_stream_frees_its_place_within_a_step() {
    let server = TestServer::start().await;
    server.gate().hold_after(5);
    let mut body = greedy(&json!("gone"), 4000);
    body["stream"] = json!(true);
    body["ignore_eos"] = json!(true);
    let mut stream = server.stream("/v1/completions", &body).await;
    frame(&mut stream).await;

    drop(stream);
    // One step at a time until the cancellation arrives: far fewer than the 4,000 tokens that were requested.
    server
        .until(|stats| {
            server.gate().hold_after(1);
            stats.gauges.running == 0
        })
        .await;

    assert!(server.engine.stats().totals.steps < 2000, "{:?}", server.engine.stats());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_the_field_in_openais_shape() {
    let server = TestServer::start().await;
    let cases = [
        (json!({"model": "fake", "prompt": "a", "temperature": 9}), 400, "temperature", Value::Null),
        (json!({"model": "fake", "prompt": [97], "suffix": "b"}), 400, "suffix", json!("invalid_value")),
        (json!({"model": "fake", "prompt": "a", "max_tokens": -2}), 400, "max_tokens", Value::Null),
        (json!({"model": "fake", "prompt": [VOCABULARY_SIZE]}), 400, "prompt", Value::Null),
        (json!({"model": "fake", "prompt": vec![97; 5000]}), 400, "prompt", json!("context_length_exceeded")),
        (json!({"model": 5, "prompt": "a"}), 400, "model", Value::Null),
    ];
    for (body, status, param, code) in cases {
        let answer = server.post("/v1/completions", &body).await;

        let error = &answer.json()["error"];
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(error["param"] == param || (status == 404 && error["param"].is_null()), "{body}: {error}");
        assert!(code.is_null() || error["code"] == code, "{body}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_fields_are_served_and_named_in_a_header() {
    let server = TestServer::start().await;
    let mut body = greedy(&json!("a"), 1);
    body["no_stop_trim"] = json!(true);

    let answer = server.post("/v1/completions", &body).await;

    assert_eq!(answer.status, 200);
    assert!(answer.header("x-llamero-warnings").contains("no_stop_trim"), "{:?}", answer.headers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dry_keeps_a_repetition_from_going_on_unless_a_breaker_is_in_it() {
    let server = TestServer::start().await;
    // Every letter has followed "q#" already; at least one of these prompts is continued with a letter.
    let prompts = (0..20).map(|n| format!("{n}{}q#", ('a'..='z').map(|letter| format!("q#{letter}")).collect::<String>()));
    let is_letter = |text: &String| text.bytes().all(|byte| byte.is_ascii_lowercase()) && text.len() == 1;
    let prompt = prompts.into_iter().find(|prompt| is_letter(&expected(prompt, 1))).unwrap();
    let said = async |breakers: &[&str]| {
        let mut body = greedy(&json!(prompt), 1);
        body["dry_multiplier"] = json!(100);
        body["dry_sequence_breakers"] = json!(breakers);
        let answer = server.post("/v1/completions", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("x-llamero-warnings"), "");
        text(&answer, 0)
    };

    assert!(!is_letter(&said(&[]).await));
    assert_eq!(said(&["#"]).await, expected(&prompt, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirostat_is_reported_by_name() {
    let server = TestServer::start().await;
    let mut body = greedy(&json!("hello"), 1);
    body["mirostat"] = json!(2);

    let answer = server.post("/v1/completions", &body).await;

    assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, "ignored fields: mirostat"), "{answer:?}");
}
