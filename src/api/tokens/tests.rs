//! The layers around these routes; their answers are tested with an engine, in `tests/it/http/tokens.rs`.

use crate::api::testing::{Setup, TestApp};
use serde_json::Value;

fn error(body: &str) -> Value {
    serde_json::from_str::<Value>(body).expect("JSON")["error"].clone()
}

#[tokio::test]
async fn refusals_have_openais_shape() {
    let app = TestApp::start(Setup::default()).await;

    let not_json = app.post("/tokenize", "{").await;
    let wrong_method = app.get("/tokenize").await;

    assert_eq!((not_json.status.as_u16(), &error(&not_json.body)["code"]), (400, &Value::from("invalid_json")));
    assert_eq!((wrong_method.status.as_u16(), &error(&wrong_method.body)["type"]), (405, &Value::from("invalid_request_error")));
}

#[tokio::test]
async fn a_model_that_loads_is_a_503_with_a_wait() {
    let app = TestApp::start(Setup { loads: false, ..Setup::default() }).await;

    for (path, body) in [("/tokenize", r#"{"content":"a"}"#), ("/detokenize", r#"{"tokens":[1]}"#)] {
        let answer = app.post(path, body).await;
        assert_eq!((answer.status.as_u16(), &error(&answer.body)["code"]), (503, &Value::from("model_loading")), "{path}");
        assert!(!answer.header("retry-after").is_empty(), "{path}");
    }
    assert_eq!(app.get("/tokenizer_info").await.status, 503);
}
