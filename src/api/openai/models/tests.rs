//! Names of models, and the answers while no model is loaded.

use super::*;
use crate::{
    api::{
        call::tests::call_of,
        testing::{Setup, TestApp},
    },
    gateway::{
        models::{Models, tests::served_as},
        testing::start_scripted,
    },
};
use serde_json::{Value, json};

/// The model or error for a request with this body, where the model has two names.
async fn requested_by(body: Value) -> Result<String, ApiError> {
    let mut setup = Setup::default();
    setup.config.served_model_names = vec!["org/tiny:q4".to_owned(), "default".to_owned()];
    let app = TestApp::start(Setup { loads: false, ..setup }).await;
    let Value::Object(map) = body else { panic!("{body} is no object") };
    requested(&call_of(&app.state), &mut Fields::new(map)).map(|model| model.name)
}

#[tokio::test]
async fn the_model_is_required_and_one_of_the_served_names() {
    assert_eq!(requested_by(json!({"model": "default"})).await, Ok("default".to_owned()));
    assert_eq!(requested_by(json!({"model": "org/tiny:q4"})).await, Ok("org/tiny:q4".to_owned()));
    assert_eq!(requested_by(json!({"model": "gpt"})).await, Err(ApiError::ModelNotFound { model: "gpt".to_owned() }));
    assert_eq!(requested_by(json!({"model": "Default"})).await.unwrap_err().status().as_u16(), 404);

    for body in [json!({}), json!({"model": null}), json!({"model": 5})] {
        let error = requested_by(body.clone()).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.param()), (400, Some("model")), "{body}");
    }
}

#[tokio::test]
async fn a_long_unknown_name_is_not_repeated_in_full() {
    let error = requested_by(json!({"model": "ü".repeat(100_000)})).await.unwrap_err();

    assert_eq!(error, ApiError::ModelNotFound { model: "ü".repeat(128) });
}

#[tokio::test]
async fn a_model_is_openais_object_with_vllms_max_model_len_once_it_is_known() {
    let (handle, _supervisor, _engines) = start_scripted(1, 1);
    let models: Models = served_as(&["org/tiny:q4", "m"], handle);
    let text = serde_json::to_string(&object(&models.first(), 7).await).unwrap();
    assert_eq!(text, r#"{"id":"org/tiny:q4","object":"model","created":7,"owned_by":"llamero"}"#);

    let loaded = ModelObject { max_model_len: Some(8192), ..object(&models.get("m").unwrap(), 7).await };
    let list = serde_json::to_string(&ModelList { object: "list", data: vec![loaded] }).unwrap();
    let expected = r#"{"object":"list","data":[{"id":"m","object":"model","created":7,"owned_by":"llamero","max_model_len":8192}]}"#;
    assert_eq!(list, expected);
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
