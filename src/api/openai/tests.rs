//! The routes over a scripted engine: a byte is a token, and every completion is "ok" and an end.

use crate::{
    api::{
        routes::{Rules, serve},
        state::AppState,
    },
    config::{ApiConfig, KeyConfig},
    gateway::{
        keys::{KeyId, KeyRing, Principal},
        live_config::LiveConfig,
        models::Models,
        supervisor::Supervisor,
        templates::TemplateCache,
        testing::{ScriptedEngine, model_info, start_scripted, token},
    },
    protocol::{
        Detokenize, EngineCall, EngineReply, EngineStats, FimTokens, Finish, FromEngine, ModelInfo, SequenceRequest, Started, StepReport,
        ToEngine, Token, Tokenize,
    },
};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response},
    middleware::{Next, from_fn},
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tower::ServiceExt;

/// The routes, the task that supervises the engine, and the engine itself.
struct Bench {
    app: Router,
    engine: ScriptedEngine,
    _supervisor: Supervisor,
}

async fn bench() -> Bench {
    bench_of(model_info()).await
}

async fn bench_of(model: ModelInfo) -> Bench {
    let (engine, supervisor, mut engines) = start_scripted(4, 64);
    let mut states = engine.watch_state();
    let scripted = engines.next_ready_with(model).await;
    let config = ApiConfig {
        keep_alive: Duration::from_secs(3600),
        hold_status: Duration::from_secs(3600),
        ..ApiConfig::served_as(&["org/tiny:q4", "tiny"])
    };
    states.wait_for(|state| *state == crate::gateway::engine_state::EngineState::Ready).await.unwrap();
    let (keys, config) = (KeyRing::load(&KeyConfig::default()).unwrap(), LiveConfig::new(config));
    let models = Models::of_one(engine, TemplateCache::default(), config.clone());
    let admit = async |mut request: Request<Body>, next: Next| {
        let rules = Rules::of(request.method(), request.uri().path());
        request.extensions_mut().insert(rules.route.unwrap());
        request.extensions_mut().insert(Principal { id: KeyId::Key(9) });
        next.run(request).await
    };
    let app = serve().layer(from_fn(admit)).with_state(AppState::new(models, Arc::new(keys), config));
    Bench { app, engine: scripted, _supervisor: supervisor }
}

/// Answers tokenizing by bytes, and a submission with "ok" and an end at once.
fn obedient(message: ToEngine) -> Vec<FromEngine> {
    match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(Tokenize { text, add_special, .. }) } => {
            assert!(add_special, "a text prompt gets BOS where the vocabulary wants it");
            vec![FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(text.bytes().map(|byte| Token(byte.into())).collect())) }]
        }
        ToEngine::Call { id, call: EngineCall::Detokenize(Detokenize { tokens }) } => {
            let text = tokens.iter().map(|token| char::from(u8::try_from(token.0).unwrap())).collect();
            vec![FromEngine::Reply { id, reply: EngineReply::Detokenize(Ok(text)) }]
        }
        ToEngine::Submit(request) => vec![ok(&request)],
        _ => vec![],
    }
}

fn ok(request: &SequenceRequest) -> FromEngine {
    let mut output = token(request.id, 7, "ok");
    output.started = Some(Started { cached_tokens: 1, queue_us: 1 });
    output.finish = Some(Finish::EndOfGeneration);
    FromEngine::Step(StepReport { outputs: vec![output], stats: EngineStats::default() })
}

async fn post(app: &Router, body: impl Into<Body>) -> Response<Body> {
    app.clone().oneshot(Request::post("/v1/completions").body(body.into()).unwrap()).await.unwrap()
}

async fn get(app: &Router, path: &str) -> (u16, Value) {
    let response = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&text(response).await).unwrap())
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

/// Posts to a bench with an obedient engine.
async fn complete(body: Value) -> (u16, Value) {
    let Bench { app, engine, _supervisor } = bench().await;
    let engine = tokio::spawn(engine.run(obedient));
    let response = post(&app, body.to_string()).await;
    let answer = (response.status().as_u16(), serde_json::from_str(&text(response).await).unwrap());
    engine.abort();
    answer
}

#[tokio::test]
async fn a_completion_goes_through_tokenizing_and_the_engine_and_back() {
    let (status, body) = complete(json!({"model": "tiny", "prompt": ["abc", "d"], "n": 2, "seed": 5})).await;

    assert_eq!(status, 200, "{body}");
    assert_eq!((&body["model"], &body["seed"]), (&json!("tiny"), &json!(5)));
    let choices: Vec<_> =
        body["choices"].as_array().unwrap().iter().map(|choice| (choice["index"].clone(), choice["text"].clone())).collect();
    assert_eq!(choices, [0, 1, 2, 3].map(|index| (json!(index), json!("ok"))));
    assert_eq!((&body["usage"]["prompt_tokens"], &body["usage"]["completion_tokens"]), (&json!(4), &json!(4)));
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
}

#[tokio::test]
async fn an_echoed_token_prompt_is_shown_as_its_text() {
    let (_, body) = complete(json!({"model": "tiny", "prompt": [72, 105], "echo": true})).await;

    assert_eq!(body["choices"][0]["text"], "Hiok");
}

#[tokio::test]
async fn max_tokens_zero_finishes_without_the_engine() {
    let (status, body) = complete(json!({"model": "tiny", "prompt": "Hi", "max_tokens": 0, "echo": true})).await;

    assert_eq!(status, 200);
    assert_eq!((&body["choices"][0]["text"], &body["choices"][0]["finish_reason"]), (&json!("Hi"), &json!("length")));
    assert_eq!(body["usage"]["completion_tokens"], 0);
}

#[tokio::test]
async fn what_is_refused_says_why_and_where() {
    let room = usize::try_from(model_info().max_model_len).unwrap();
    let rows = [
        (json!({"model": 5, "prompt": "x"}), 400, "model", Some("invalid_type")),
        (json!({"model": "tiny"}), 400, "prompt", Some("missing_required_parameter")),
        (json!({"model": "tiny", "prompt": [256]}), 400, "prompt", Some("invalid_value")),
        (json!({"model": "tiny", "prompt": ""}), 400, "prompt", Some("invalid_value")),
        (json!({"model": "tiny", "prompt": "x", "n": 5}), 400, "n", Some("invalid_value")),
        (json!({"model": "tiny", "prompt": "x".repeat(room)}), 400, "prompt", Some("context_length_exceeded")),
        (json!({"model": "tiny", "prompt": "x", "suffix": "y"}), 400, "suffix", Some("unsupported_parameter")),
        (json!({"model": "tiny", "prompt": [1], "suffix": "y"}), 400, "suffix", Some("invalid_value")),
    ];
    for (request, status, param, code) in rows {
        let (got, body) = complete(request.clone()).await;
        let error = &body["error"];
        assert_eq!((got, error["param"].as_str(), error["code"].as_str()), (status, Some(param), code), "{request}: {body}");
        assert_eq!(error["type"], "invalid_request_error", "{request}");
    }
}

#[tokio::test]
async fn a_prompt_that_cannot_fit_with_its_suffix_is_refused_before_the_engine_sees_either() {
    let fim = FimTokens { prefix: Token(250), suffix: Token(251), middle: Token(252), repository: None, file: None };
    // The engine answers nothing, so that a text which reaches it waits for ever.
    let Bench { app, .. } = bench_of(ModelInfo { fim: Some(fim), ..model_info() }).await;
    // 128 tokens of at most 4 bytes.
    for (prompt, suffix) in [(1, 513), (513, 1), (257, 257)] {
        let body = json!({"model": "tiny", "prompt": "x".repeat(prompt), "suffix": "y".repeat(suffix)});
        let response = timeout(Duration::from_secs(60), post(&app, body.to_string())).await.expect("an answer");
        assert_eq!(response.status(), 400, "{prompt} + {suffix}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_a_400_and_not_a_500() {
    let Bench { app, .. } = bench().await;

    for body in ["", "{", "[]", "{\"model\":\"tiny\",\"prompt\":NaN}"] {
        let response = post(&app, body).await;
        assert_eq!(response.status(), 400, "{body}");
        let error: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!((&error["error"]["code"], &error["error"]["param"]), (&json!("invalid_json"), &Value::Null), "{body}");
    }
}

#[tokio::test]
async fn unknown_fields_are_named_in_a_header() {
    let Bench { app, engine, _supervisor } = bench().await;
    let engine = tokio::spawn(engine.run(obedient));

    let response = post(&app, json!({"model": "tiny", "prompt": "x", "min_token": 3}).to_string()).await;
    assert_eq!(response.headers()["x-llamero-warnings"], "ignored fields: min_token");

    let response = post(&app, json!({"model": "tiny", "prompt": "x", "user": "me"}).to_string()).await;
    assert!(!response.headers().contains_key("x-llamero-warnings"));
    engine.abort();
}

#[tokio::test]
async fn a_stream_that_the_client_drops_is_cancelled_in_the_engine() {
    let Bench { app, mut engine, _supervisor } = bench().await;
    let request = tokio::spawn(async move { post(&app, json!({"model": "tiny", "prompt": [1], "stream": true}).to_string()).await });
    let submitted = engine.receive_submit().await;
    assert_eq!((submitted.prompt, submitted.max_tokens, submitted.namespace), (vec![Token(1)], 16, 9));
    engine.step(vec![token(submitted.id, 7, "ok")]).await;
    let mut frames = request.await.unwrap().into_body().into_data_stream();
    let first = frames.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"data: {\"id\":\"cmpl-"), "{first:?}");

    drop(frames);

    assert_eq!(engine.receive().await, Some(ToEngine::Cancel(submitted.id)));
}

#[tokio::test]
async fn models_are_listed_and_found_by_names_with_slashes_and_colons() {
    let Bench { app, .. } = bench().await;

    let (status, list) = get(&app, "/v1/models").await;
    assert_eq!((status, &list["object"]), (200, &json!("list")));
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert_eq!(ids, ["org/tiny:q4", "tiny"]);
    let ModelInfo { max_model_len, .. } = model_info();
    assert_eq!(list["data"][0]["max_model_len"], max_model_len);

    for path in ["/v1/models/org/tiny:q4", "/v1/models/org%2Ftiny%3Aq4"] {
        assert_eq!(get(&app, path).await, (200, list["data"][0].clone()), "{path}");
    }
    for path in ["/v1/models/gpt", "/v1/models/%ff"] {
        let (status, body) = get(&app, path).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("model_not_found")), "{path}");
    }
}
