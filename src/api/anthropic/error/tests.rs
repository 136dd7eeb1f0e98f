//! The table of errors, row by row, and the shape of refusals in every layer.

use super::*;
use crate::api::{
    error::PromptLength,
    testing::{Setup, TestApp},
};
use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn every_variant_has_its_status_and_type() {
    let wait = Duration::from_secs(1);
    let text = || "m".to_owned();
    let rows = [
        (ApiError::invalid("stop_sequences", "m"), 400, "invalid_request_error"),
        (ApiError::Quarantined, 422, "invalid_request_error"),
        (ApiError::MissingKey, 401, "authentication_error"),
        (ApiError::WrongKey, 401, "authentication_error"),
        (ApiError::HostNotAllowed { host: "h".to_owned() }, 403, "permission_error"),
        (ApiError::ModelNotFound { model: text() }, 404, "not_found_error"),
        (ApiError::RouteNotFound { method: text(), path: text() }, 404, "not_found_error"),
        (ApiError::MethodNotAllowed { method: text(), path: text() }, 405, "invalid_request_error"),
        (ApiError::BodyTimeout, 408, "timeout_error"),
        (ApiError::BodyTooLarge { limit_bytes: 1 }, 413, "request_too_large"),
        (ApiError::RateLimited { requests_per_minute: 1, retry_after: wait }, 429, "rate_limit_error"),
        (ApiError::Overloaded { message: text(), retry_after: wait }, 529, "overloaded_error"),
        (ApiError::ModelLoading { message: text(), retry_after: wait }, 503, "overloaded_error"),
        (ApiError::ShuttingDown, 503, "overloaded_error"),
        (ApiError::EngineDied, 503, "api_error"),
        (ApiError::ModelChanged, 503, "api_error"),
        (ApiError::EngineFailed { message: text() }, 500, "api_error"),
        (ApiError::Internal, 500, "api_error"),
    ];

    for (error, status, kind) in rows {
        let body = serde_json::to_value(ErrorObject::new(&error, None)).unwrap();

        assert_eq!(body, json!({"type": "error", "error": {"type": kind, "message": error.to_string()}}), "{error:?}");
        let response = refusal(&error);
        assert_eq!(response.status(), status, "{error:?}");
        assert_eq!(response.headers().get("retry-after-ms"), error.headers().get("retry-after-ms"), "{error:?}");
    }
}

/// Claude Code finds the numbers in these sentences; of another sentence it makes nothing.
#[test]
fn what_is_too_long_is_said_in_the_sentences_that_anthropics_clients_parse() {
    let message = |error: ApiError| {
        assert_eq!(row(&error), (StatusCode::BAD_REQUEST, "invalid_request_error"));
        serde_json::to_value(ErrorObject::new(&error, None)).unwrap()["error"]["message"].as_str().unwrap().to_owned()
    };
    let prompt = |length| ApiError::PromptTooLong { length, max_model_len: 8192, param: "messages" };
    let both = ApiError::ContextLength { prompt_tokens: 7000, max_tokens: 32_000, max_model_len: 8192, param: "max_tokens" };

    assert_eq!(message(prompt(PromptLength::Exactly(20_400))), "prompt is too long: 20400 tokens > 8192 maximum");
    assert_eq!(message(prompt(PromptLength::AtLeast(9000))), "prompt is too long: 9000 tokens > 8192 maximum");
    assert_eq!(message(prompt(PromptLength::Exactly(8192))), "prompt is too long: 8192 tokens > 8191 maximum");
    let sentence =
        "input length and `max_tokens` exceed context limit: 7000 + 32000 > 8192, decrease input length or `max_tokens` and try again";
    assert_eq!(message(both), sentence);
}

#[tokio::test]
async fn layers_and_fallbacks_refuse_in_this_shape_and_with_the_id_that_the_sdks_read() {
    let app = TestApp::start(Setup { keys: &["key"], ..Setup::default() }).await;
    let long = "x".repeat(5000);
    let rows = [
        ("POST", "/v1/messages", "wrong", "{}", 401, "authentication_error"),
        ("POST", "/v1/messages/count_tokens", "", "{}", 401, "authentication_error"),
        ("POST", "/v1/messages", "key", "{", 400, "invalid_request_error"),
        ("POST", "/v1/messages", "key", long.as_str(), 413, "request_too_large"),
        ("GET", "/v1/messages", "key", "", 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", "key", "{}", 404, "not_found_error"),
    ];
    for (method, path, key, body, status, kind) in rows {
        let request = Request::builder().method(method).uri(path).header("x-api-key", key).header("anthropic-version", "2023-06-01");

        let answer = app.send(request.body(Body::from(body.to_owned())).unwrap()).await;

        let said: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{method} {path}: {error}: {}", answer.body));
        assert_eq!((answer.status.as_u16(), &said["type"], &said["error"]["type"]), (status, &json!("error"), &json!(kind)), "{said}");
        assert_eq!(said["request_id"], answer.header("request-id"), "{method} {path}");
        assert_eq!((answer.header("request-id").len(), answer.header("openai-version")), (32, ""), "{method} {path}");
    }
}
