//! `/infill` as editors send it, over the fake model.

use crate::support::{
    fake_runner::{BOS, FakeTokenizer, MARKS, continuation},
    server::{TestServer, frame},
};
use llamero::{
    engine::runner::Tokenizer,
    protocol::{SpecialText, Token},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// llama.vim's request, except for the sampling parameters.
fn request() -> Value {
    json!({
        "input_prefix": "fn main() {\n",
        "input_suffix": "\n}\n",
        "input_extra": [{"filename": "a.rs", "text": "struct A;"}],
        "prompt": "    let x",
        "n_predict": 12,
        "temperature": 0,
        "stream": false,
        "cache_prompt": true,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 100_000,
    })
}

fn plain(text: &str) -> Vec<Token> {
    FakeTokenizer::default().encode(text, false, &SpecialText::Plain).unwrap()
}

/// The prompt of the request above.
fn prompt() -> Vec<Token> {
    let [prefix, suffix, middle] = MARKS;
    let extra = plain("\n\n--- snippet ---\n\nstruct A;");
    [&[BOS][..], &extra, &[prefix], &plain("fn main() {\n    let x"), &[suffix], &plain("\n}\n"), &[middle]].concat()
}

fn text_of(tokens: &[Token]) -> String {
    let tokenizer = FakeTokenizer::default();
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| tokenizer.piece(*token, false).to_vec()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_editor_gets_llama_servers_answer() {
    let server = TestServer::start().await;
    let expected = continuation(&prompt(), 12);

    let answer = server.post("/infill", &request()).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-llamero-warnings"), "ignored fields: t_max_prompt_ms");
    let json = answer.json();
    assert_eq!(json["content"], text_of(&expected));
    assert_eq!(json["prompt"], "<s>\n\n--- snippet ---\n\nstruct A;<PRE>fn main() {\n    let x<SUF>\n}\n<MID>");
    assert_eq!((&json["stop"], &json["index"], &json["model"]), (&json!(true), &json!(0), &json!("fake")));
    assert_eq!((&json["tokens_predicted"], &json["tokens_evaluated"]), (&json!(expected.len()), &json!(prompt().len())));
    assert_eq!((&json["truncated"], &json["tokens"], &json["stopping_word"]), (&json!(false), &json!([]), &json!("")));
    assert_eq!(json["generation_settings"]["n_predict"], 12);
    let timings = json["timings"].as_object().unwrap();
    assert_eq!((&timings["prompt_n"], &timings["predicted_n"]), (&json!(prompt().len()), &json!(expected.len())));
    assert!(timings["prompt_ms"].as_f64().unwrap() >= 0.0 && timings["predicted_per_second"].is_number(), "{timings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_the_same_text_and_ends_with_everything_else_and_without_done() {
    let server = TestServer::start().await;
    let whole = server.post("/infill", &request()).await.json();
    let mut body = request();
    body["stream"] = json!(true);

    let answer = server.post("/infill", &body).await;

    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    assert!(!answer.text.contains("[DONE]"));
    let frames: Vec<Value> = answer
        .text
        .split_terminator("\n\n")
        .filter(|frame| !frame.starts_with(':'))
        .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    let (last, chunks) = frames.split_last().unwrap();
    let streamed: String = chunks.iter().map(|chunk| chunk["content"].as_str().unwrap()).collect();
    assert_eq!(json!(streamed), whole["content"]);
    assert!(chunks.iter().all(|chunk| chunk["stop"] == json!(false) && chunk["tokens_evaluated"] == whole["tokens_evaluated"]));
    assert_eq!((&last["stop"], &last["content"]), (&json!(true), &json!("")));
    for key in ["tokens_predicted", "tokens_evaluated", "stop_type", "truncated", "model", "prompt", "has_new_line"] {
        assert_eq!(last[key], whole[key], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_fields_choose_keys_and_reach_into_objects() {
    let server = TestServer::start().await;
    let mut body = request();
    body["response_fields"] = json!(["content", "timings/prompt_n", "nothing/there", "tokens_cached"]);

    let json = server.post("/infill", &body).await.json();

    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["content", "timings/prompt_n", "tokens_cached"]);
    assert_eq!(json["timings/prompt_n"], prompt().len());
}

/// llama.vim warms the cache in this way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_predict_zero_computes_the_prompt_for_the_next_request() {
    let server = TestServer::start().await;
    let mut warm = request();
    warm["n_predict"] = json!(0);
    warm["return_tokens"] = json!(true);

    let first = server.post("/infill", &warm).await.json();
    let second = server.post("/infill", &request()).await.json();

    assert_eq!((&first["content"], &first["tokens"], &first["tokens_predicted"]), (&json!(""), &json!([]), &json!(0)));
    assert_eq!(first["stop_type"], "limit");
    assert_eq!(second["tokens_cached"], prompt().len() - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_strings_and_returned_tokens_are_told() {
    let server = TestServer::start().await;
    let all = text_of(&continuation(&prompt(), 12));
    let word: String = all.chars().skip(3).take(2).collect();
    let mut body = request();
    body["stop"] = json!([word]);
    body["return_tokens"] = json!(true);

    let json = server.post("/infill", &body).await.json();

    assert_eq!((&json["stop_type"], &json["stopping_word"]), (&json!("word"), &json!(word)));
    assert_eq!(json["content"], all.split(&word).next().unwrap());
    assert!(!json["tokens"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_text_than_the_context_holds_is_cut_and_told() {
    let server = TestServer::start().await;
    let body = json!({
        "input_prefix": "p".repeat(5000),
        "input_suffix": "s".repeat(5000),
        "input_extra": [{"text": "e".repeat(50)}],
        "n_predict": 96,
        "temperature": 0,
        "ignore_eos": true,
    });

    let answer = server.post("/infill", &body).await;

    assert_eq!(
        answer.header("x-llamero-warnings"),
        "input_prefix was cut to its last 2997 tokens; input_suffix was cut to its first 999 tokens; \
         the first 1 entries of input_extra were left out"
    );
    let json = answer.json();
    assert_eq!((&json["tokens_evaluated"], &json["tokens_predicted"], &json["truncated"]), (&json!(4000), &json!(96), &json!(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_fault_is_named() {
    let server = TestServer::start().await;
    for (field, value) in [
        ("input_prefix", Value::Null),
        ("input_suffix", json!(5)),
        ("input_extra", json!("a")),
        ("input_extra", json!(["a"])),
        ("grammar", json!(5)),
        ("n_probs", json!("3")),
        ("n_predict", json!("many")),
        ("samplers", json!(5)),
        ("stop", json!([5])),
        ("model", json!(5)),
    ] {
        let mut body = request();
        body[field] = value;
        let answer = server.post("/infill", &body).await;
        assert_eq!((answer.status.as_u16() / 100, &answer.json()["error"]["param"]), (4, &json!(field)), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_limit_ends_the_answer_after_a_line() {
    let server = TestServer::start().await;
    let mut body = request();
    body["n_predict"] = json!(2000);
    body["ignore_eos"] = json!(true);
    body["t_max_predict_ms"] = json!(1);
    body["logit_bias"] = json!({"10": 100});
    body["stream"] = json!(true);
    server.gate().hold_after(3);

    let mut stream = server.stream("/infill", &body).await;
    frame(&mut stream).await;
    // The time runs from the first token at the latest.
    let first = Instant::now();
    while first.elapsed() < Duration::from_millis(2) {
        tokio::task::yield_now().await;
    }
    server.gate().open();
    let json: Value = loop {
        let frame = frame(&mut stream).await;
        let json: Value = serde_json::from_str(frame.trim().strip_prefix("data: ").unwrap()).unwrap();
        if json["stop"] == json!(true) {
            break json;
        }
    };

    assert_eq!((&json["stop_type"], &json["has_new_line"], &json["truncated"]), (&json!("limit"), &json!(true), &json!(false)));
    assert!(json["tokens_predicted"].as_u64().unwrap() < 2000, "{json}");
    server.until(|stats| stats.gauges.running == 0).await;
}
