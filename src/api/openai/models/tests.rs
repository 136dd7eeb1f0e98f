//! Names of models, and the answers while no model is loaded.

use super::*;
use crate::{
    api::{
        call::tests::call_of,
        testing::{Setup, TestApp},
        warnings::WarningPolicy,
    },
    gateway::{
        models::{Models, tests::served_as},
        testing::{embedding_info, model_info, start_scripted},
    },
    protocol::{FimTokens, ModelKind, Token},
};
use axum::http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

/// The model and the warnings, or the error, for a request with this body, where the model has two names.
async fn requested_by(body: Value, headers: &[(HeaderName, &'static str)]) -> Result<(String, Vec<String>), ApiError> {
    let mut setup = Setup::default();
    setup.config.served_model_names = vec!["org/tiny:q4".to_owned(), "default".to_owned()];
    let app = TestApp::start(Setup { loads: false, ..setup }).await;
    let Value::Object(map) = body else { panic!("{body} is no object") };
    let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
    let call = Call { policy: WarningPolicy::of(&headers, &app.state.config.now()), ..call_of(&app.state) };
    let mut warnings = Warnings::default();
    let model = requested(&call, &mut Fields::new(map), &mut warnings)?;
    Ok((model.name, warnings.enforce(WarningPolicy::default())?.all().to_vec()))
}

#[tokio::test]
async fn a_served_name_is_answered_as_it_is_and_any_other_or_none_by_the_one_model_and_said() {
    let answered = async |body| requested_by(body, &[]).await.unwrap();
    let by_first = |warning: &str| ("org/tiny:q4".to_owned(), vec![warning.to_owned()]);

    assert_eq!(answered(json!({"model": "default"})).await, ("default".to_owned(), vec![]));
    assert_eq!(answered(json!({"model": "org/tiny:q4"})).await, ("org/tiny:q4".to_owned(), vec![]));
    assert_eq!(answered(json!({})).await, by_first("no model was named, so org/tiny:q4 answered"));
    assert_eq!(answered(json!({"model": null})).await, by_first("no model was named, so org/tiny:q4 answered"));
    assert_eq!(answered(json!({"model": "gpt"})).await, by_first("model gpt is not served here, so org/tiny:q4 answered"));
    assert_eq!(answered(json!({"model": "ü"})).await, by_first("the model that was named is not served here, so org/tiny:q4 answered"));
    let (_, warnings) = answered(json!({"model": "x".repeat(100_000)})).await;
    assert!(warnings[0].len() < 150, "a long name is cut");
    let error = requested_by(json!({"model": 5}), &[]).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.param()), (400, Some("model")));
}

#[tokio::test]
async fn a_strict_request_must_name_a_model_that_is_served() {
    let strict = [(HeaderName::from_static("x-llamero-strict"), "1")];

    for (name, refused) in [("gpt", "gpt".to_owned()), ("Default", "Default".to_owned())] {
        assert_eq!(requested_by(json!({"model": name}), &strict).await, Err(ApiError::ModelNotFound { model: refused }));
    }
    let long = requested_by(json!({"model": "ü".repeat(100_000)}), &strict).await;
    assert_eq!(long, Err(ApiError::ModelNotFound { model: "ü".repeat(128) }));
    let error = requested_by(json!({}), &strict).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.param()), (400, Some("model")));
    assert_eq!(requested_by(json!({"model": "default"}), &strict).await, Ok(("default".to_owned(), vec![])));
}

#[tokio::test]
async fn a_model_is_openais_object_and_once_it_is_known_has_its_context_under_the_names_that_clients_read() {
    let (handle, _supervisor, _engines) = start_scripted(1, 1);
    let models: Models = served_as(&["org/tiny:q4", "m"], handle);
    let text = serde_json::to_string(&object(&models.first(), 7).await).unwrap();
    assert_eq!(text, r#"{"id":"org/tiny:q4","object":"model","created":7,"owned_by":"llamero"}"#);

    let loaded = Model { info: Some(Arc::new(ModelInfo { n_ctx_train: 2048, ..model_info() })), ..models.get("m").unwrap() };
    let list = serde_json::to_value(ModelList { object: "list", data: vec![object(&loaded, 7).await] }).unwrap();
    let expected = json!({
        "id": "m", "object": "model", "created": 7, "owned_by": "llamero",
        "max_model_len": 128, "context_length": 128, "context_window": 128, "n_ctx": 128,
        "meta": {"n_ctx_train": 2048, "n_vocab": 256, "n_params": 1000, "size": 1000},
        "capabilities": ["completion", "tools", "generic_tools"],
    });
    assert_eq!(list, json!({"object": "list", "data": [expected]}));
}

#[tokio::test]
async fn capabilities_are_those_of_the_template_the_vocabulary_and_the_kind_of_model() {
    let (handle, _supervisor, _engines) = start_scripted(1, 1);
    let models: Models = served_as(&["m"], handle);
    let of = async |info: ModelInfo| capabilities(&models.first(), &Arc::new(info)).await;
    let template = "{% for tool in tools %}{{ tool }}{% endfor %}<think>".to_owned();
    let fim = FimTokens { prefix: Token(1), suffix: Token(2), middle: Token(3), repository: None, file: None };

    assert_eq!(of(model_info()).await, ["completion", "tools", "generic_tools"]);
    let rich = ModelInfo { chat_templates: vec![("default".to_owned(), template)], fim: Some(fim), ..model_info() };
    assert_eq!(of(rich).await, ["completion", "tools", "insert", "thinking"]);
    assert_eq!(of(ModelInfo { kind: ModelKind::Embeds(embedding_info()), ..model_info() }).await, ["embedding"]);
}

#[tokio::test]
async fn capabilities_say_how_tools_reach_the_model() {
    let capabilities = async |template: &str, generic_tools: bool| {
        let mut setup = Setup::default();
        setup.config.generic_tools = generic_tools;
        let app = TestApp::with_template(setup, template).await;
        let list: Value = serde_json::from_str(&app.get("/v1/models").await.body).unwrap();
        list["data"][0]["capabilities"].clone()
    };
    let plain = "{% for message in messages %}{{ message.content }}{% endfor %}";
    let with_tools = &[plain, "{{ tools }}"].concat();

    assert_eq!(capabilities(with_tools, true).await, json!(["completion", "tools"]));
    assert_eq!(capabilities(plain, true).await, json!(["completion", "tools", "generic_tools"]));
    assert_eq!(capabilities(plain, false).await, json!(["completion"]));
}

#[test]
fn without_a_model_the_answer_is_503_and_says_whether_to_come_back() {
    let rows = [
        (ModelState::Unloaded, "model_loading", "fetched or checked", None),
        (ModelState::Loading(0.404), "model_loading", "40 % done", None),
        (ModelState::Restarting(None), "model_loading", "being loaded", None),
        (ModelState::Failed, "model_loading", "could not be loaded", Some("false")),
        (ModelState::Evicting, "shutting_down", "shutting down", None),
    ];
    for (state, code, words, should_retry) in rows {
        let error = not_loaded(state);
        assert_eq!((error.status().as_u16(), error.code()), (503, Some(code)), "{state:?}");
        let message = error.detail();
        assert!(message.contains(words), "{state:?}: {message}");
        assert!(error.retry_after().is_some(), "{state:?}");
        assert_eq!(error.headers().get("x-should-retry").map(|value| value.to_str().unwrap()), should_retry, "{state:?}");
    }
}
