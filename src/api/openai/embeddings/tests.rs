//! The route over a scripted engine: a character is a token, and a vector is `[tokens, first, last, 0]` of its input.

use crate::{
    api::testing::{Answer, Setup, TestApp},
    gateway::testing::{embedding_info, model_info},
    protocol::{
        EmbedBatch, EmbedError, EmbeddingInfo, EngineCall, EngineReply, FromEngine, ModelInfo, Pooling, RankScore, SpecialText, ToEngine,
        Token, Tokenize,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

fn model(info: EmbeddingInfo) -> ModelInfo {
    ModelInfo { kind: crate::protocol::ModelKind::Embeds(info), vocabulary_size: 0x11_0000, ..model_info() }
}

/// An engine that embeds; letter `!` makes it fail.
pub(in crate::api) fn answers(message: ToEngine) -> Vec<FromEngine> {
    match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(Tokenize { text, add_special, .. }) } => {
            let letters = text.chars().map(|letter| Token(u32::from(letter)));
            let (before, after) = if add_special { (Some(Token(1)), Some(Token(2))) } else { (None, None) };
            vec![FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(before.into_iter().chain(letters).chain(after).collect())) }]
        }
        ToEngine::Call { id, call: EngineCall::Embed(EmbedBatch { inputs, .. }) } => {
            let number = |token: Option<&Token>| token.map_or(0.0, |token| token.0 as f32);
            let vector = |input: &Vec<Token>| vec![input.len() as f32, number(input.first()), number(input.last()), 0.0];
            let fails = inputs.iter().flatten().any(|token| token.0 == u32::from('!'));
            let result = if fails { Err(EmbedError::NotFinite) } else { Ok(inputs.iter().map(vector).collect()) };
            vec![FromEngine::Embedding(vec![id]), FromEngine::Reply { id, reply: EngineReply::Embed(result) }]
        }
        _ => Vec::new(),
    }
}

async fn app() -> TestApp {
    TestApp::start_with(Setup::default(), model(embedding_info()), answers).await
}

async fn post(app: &TestApp, body: Value) -> (u16, Value, Answer) {
    let answer = app.post("/v1/embeddings", &body.to_string()).await;
    (answer.status.as_u16(), serde_json::from_str(&answer.body).unwrap(), answer)
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[tokio::test]
async fn vectors_come_back_normalised_in_order_and_counted() {
    let app = app().await;

    let (status, body, _) = post(&app, json!({"model": "tiny", "input": ["ab", "c", "defg"]})).await;

    assert_eq!(status, 200, "{body}");
    assert_eq!((&body["object"], &body["model"]), (&json!("list"), &json!("tiny")));
    // Each text has a special token before and one after it.
    assert_eq!(body["usage"], json!({"prompt_tokens": 4 + 3 + 6, "total_tokens": 13}));
    for (index, tokens) in [4.0, 3.0, 6.0].into_iter().enumerate() {
        let embedding = &body["data"][index];
        let length = f64::sqrt(tokens * tokens + 1.0 + 4.0);
        assert_eq!((&embedding["object"], &embedding["index"]), (&json!("embedding"), &json!(index)));
        let expected = [tokens / length, 1.0 / length, 2.0 / length, 0.0];
        assert!(floats(&embedding["embedding"]).iter().zip(expected).all(|(left, right)| (left - right).abs() < 1e-6), "{embedding}");
    }
}

#[tokio::test]
async fn more_inputs_than_a_batch_holds_are_answered_in_order() {
    let app = app().await;
    let inputs: Vec<Vec<u32>> = (40..90).map(|id| vec![id; (id % 14 + 1) as usize]).collect();

    let (status, body, _) = post(&app, json!({"model": "tiny", "input": inputs, "dimensions": 2})).await;

    assert_eq!(status, 200, "{body}");
    for (data, input) in body["data"].as_array().unwrap().iter().zip(&inputs) {
        let [tokens, first] = floats(&data["embedding"])[..] else { panic!("{data}") };
        assert!((tokens / first - input.len() as f64 / f64::from(input[0])).abs() < 1e-5, "{data}");
    }
    assert_eq!(body["data"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn base64_is_what_the_sdk_unpacks_and_dimensions_are_cut_and_normalised_again() {
    let app = app().await;

    let (_, short, _) = post(&app, json!({"model": "tiny", "input": "ab", "dimensions": 2, "encoding_format": "base64"})).await;

    let bytes = STANDARD.decode(short["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let vector: Vec<f32> = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    let length = 17_f32.sqrt();
    let expected = [4.0 / length, 1.0 / length];
    assert_eq!(vector.len(), 2);
    assert!(vector.iter().zip(expected).all(|(left, right)| (left - right).abs() < 1e-6), "{vector:?}");
}

#[tokio::test]
async fn an_input_that_is_too_long_is_refused_by_its_place_with_the_limit_or_truncated_and_reported() {
    let app = app().await;
    let long = "abcdefghijklmnop";

    let (status, body, _) = post(&app, json!({"model": "tiny", "input": ["a", long]})).await;
    let truncated = json!({"model": "tiny", "input": ["a", long], "truncate_prompt_tokens": -1, "priority": 1});
    let (cut_status, cut, answer) = post(&app, truncated).await;

    assert_eq!((status, &body["error"]["param"]), (400, &json!("input[1]")));
    assert!(body["error"]["message"].as_str().unwrap().contains("18 tokens and this model takes 16 at most"), "{body}");
    assert_eq!((cut_status, &cut["usage"]["prompt_tokens"]), (200, &json!(3 + 16)));
    let last = floats(&cut["data"][1]["embedding"]);
    assert!((last[0] / last[2] - 8.0).abs() < 1e-5, "16 tokens, the last one still the closing one: {last:?}");
    assert_eq!(answer.header("x-llamero-warnings"), "ignored fields: priority; 1 inputs were truncated to 16 tokens");
}

#[tokio::test]
async fn too_many_tokens_in_all_are_refused_with_the_limit() {
    let app = app_with_room().await;
    // Each input has 16 tokens.
    let inputs = vec!["abcdefghijklmn"; 2048];
    let many = vec!["a".repeat(300); 1000];

    let (fits, ..) = post(&app, json!({"model": "tiny", "input": inputs})).await;
    let (status, body, _) = post(&app, json!({"model": "tiny", "input": many})).await;

    assert_eq!((fits, status), (200, 400), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("302000 tokens together; at most 300000"), "{body}");
}

async fn app_with_room() -> TestApp {
    let mut setup = Setup::default();
    setup.config.max_body_bytes = 1 << 20;
    TestApp::start_with(setup, model(EmbeddingInfo { max_input_tokens: 1000, ..embedding_info() }), answers).await
}

#[tokio::test]
async fn a_failure_of_the_model_is_an_error_that_clients_do_not_repeat() {
    let app = app().await;

    let (status, body, answer) = post(&app, json!({"model": "tiny", "input": "a!"})).await;

    assert_eq!((status, &body["error"]["code"]), (500, &json!("engine_error")));
    assert_eq!(answer.header("x-should-retry"), "false");
}

#[tokio::test]
async fn each_kind_of_model_refuses_the_requests_of_the_others_and_says_what_it_is() {
    let embedder = app().await;
    let generator = TestApp::start(Setup::default()).await;
    let ranker = EmbeddingInfo { pooling: Pooling::Rank(RankScore::Logit), dimensions: 1, ..embedding_info() };
    let ranker = TestApp::start_with(Setup::default(), model(ranker), answers).await;
    let refusal = async |app: &TestApp, path: &str, body: Value| {
        let answer = app.post(path, &body.to_string()).await;
        (answer.status.as_u16(), answer.body)
    };

    for (app, path, body, word) in [
        (&embedder, "/v1/completions", json!({"model": "tiny", "prompt": "a"}), "embeddings and does not generate"),
        (&embedder, "/generate", json!({"prompt": "a"}), "embeddings and does not generate"),
        (&generator, "/v1/embeddings", json!({"model": "tiny", "input": "a"}), "generates text and does not compute embeddings"),
        (&generator, "/v1/rerank", json!({"model": "tiny", "query": "a", "documents": ["b"]}), "generates text"),
        (&generator, "/score", json!({"model": "tiny", "text_1": "a", "text_2": "b"}), "generates text"),
        (&ranker, "/v1/embeddings", json!({"model": "tiny", "input": "a"}), "use /v1/rerank"),
    ] {
        let (status, text) = refusal(app, path, body).await;
        assert_eq!(status, 400, "{path}: {text}");
        assert!(text.contains(word), "{path}: {text}");
        if path != "/generate" {
            let error: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&error["error"]["param"], &error["error"]["code"]), (&json!("model"), &json!("model_not_supported")));
        }
    }
    assert!(embedder.submitted().is_empty());
}

#[tokio::test]
async fn the_model_must_be_named_and_keys_and_limits_hold() {
    let mut setup = Setup { keys: &["sk-0123456789abcdef"], ..Setup::default() };
    setup.config.requests_per_minute = Some(1);
    let locked = TestApp::start_with(setup, model(embedding_info()), answers).await;
    let open = app().await;

    for path in ["/v1/embeddings", "/v1/rerank", "/rerank", "/v2/rerank", "/v1/score", "/score"] {
        let answer = locked.post(path, "{}").await;
        assert_eq!(answer.status.as_u16(), 401, "{path}");
        assert!(answer.body.contains("\"error\""), "{path}: {}", answer.body);
        let strict = axum::http::Request::post(path).header("x-llamero-strict", "1").body(axum::body::Body::from("{}")).unwrap();
        assert!(open.send(strict).await.body.contains("Missing required parameter: 'model'"), "{path}");
    }
    let other = open.post("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"a"}"#).await;
    assert_eq!(other.status, 200, "{}", other.body);
    assert_eq!(other.header("x-llamero-warnings"), "model text-embedding-3-small is not served here, so tiny answered");
}

#[tokio::test]
async fn inputs_of_all_three_routes_are_a_users_words() {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&asked);
    let script = move |message: ToEngine| {
        if let ToEngine::Call { call: EngineCall::Tokenize(Tokenize { special, .. }), .. } = &message {
            seen.lock().unwrap().push(special.clone());
        }
        answers(message)
    };
    let app = TestApp::start_with(Setup::default(), model(embedding_info()), script).await;

    for (path, body) in [
        ("/v1/embeddings", json!({"model": "tiny", "input": ["<s>", "a"]})),
        ("/v1/rerank", json!({"model": "tiny", "query": "<s>", "documents": ["</s>", {"text": "a"}]})),
        ("/v1/score", json!({"model": "tiny", "text_1": "<s>", "text_2": ["</s>"]})),
    ] {
        assert_eq!(app.post(path, &body.to_string()).await.status, 200, "{path}");
    }

    assert_eq!(*asked.lock().unwrap(), vec![SpecialText::Plain; 2 + 3 + 2]);
}

#[tokio::test]
async fn a_text_that_cannot_fit_is_refused_before_the_engine_sees_it() {
    let script = |message| match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(_) } => {
            // An answer to another question is a 503: the test fails if this is asked.
            vec![FromEngine::Reply { id, reply: EngineReply::Detokenize(Ok("it was asked".to_owned())) }]
        }
        other => answers(other),
    };
    let app = TestApp::start_with(Setup::default(), model(embedding_info()), script).await;

    // The model takes 16 tokens of at most 4 bytes each.
    let (status, body, _) = post(&app, json!({"model": "tiny", "input": ["a", "x".repeat(65)]})).await;

    let reason = "it has at least 17 tokens and this model takes 16 at most; shorten it or send 'truncate_prompt_tokens': -1";
    assert_eq!((status, &body["error"]["message"]), (400, &json!(format!("Invalid 'input[1]': {reason}."))), "{body}");
}
