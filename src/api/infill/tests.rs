//! The answer for a model without marks; the tests of other answers are in `tests/it/http/infill.rs`.

use crate::api::testing::{Setup, TestApp};
use serde_json::Value;

#[tokio::test]
async fn a_model_without_marks_refuses_clearly() {
    let app = TestApp::start(Setup::default()).await;

    let answer = app.post("/infill", r#"{"input_prefix":"a","input_suffix":"b"}"#).await;

    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!((answer.status.as_u16(), &body["error"]["code"]), (400, &Value::from("unsupported_model")));
    assert!(body["error"]["message"].as_str().expect("text").contains("no tokens that mark prefix, suffix and middle"), "{body}");
    assert!(app.submitted().is_empty());
}
