//! The table of errors, row by row, and their headers.

use super::*;
use crate::{api::fields::FieldFault, protocol::TextError, telemetry::metrics::REFUSED_STATUSES};
use axum::body::to_bytes;
use serde_json::{Value, json};

fn wait(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn context(prompt_tokens: u64, max_tokens: u64) -> ApiError {
    ApiError::ContextLength { prompt_tokens, max_tokens, max_model_len: 100, param: "max_completion_tokens" }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn every_variant_has_its_status_type_code_and_param() {
    let bad = ApiError::BadRequest { message: "m".into(), param: Some("stop".into()), code: Some("invalid_type") };
    let method = ApiError::MethodNotAllowed { method: "GET".into(), path: "/x".into() };
    let rate = ApiError::RateLimited { requests_per_minute: 2, retry_after: wait(30_000) };
    let overloaded = ApiError::Overloaded { message: "m".into(), retry_after: wait(1) };
    let loading = ApiError::ModelLoading { message: "m".into(), retry_after: wait(1) };
    let rows = [
        (bad, 400, "invalid_request_error", Some("invalid_type"), Some("stop")),
        (context(60, 41), 400, "invalid_request_error", Some("context_length_exceeded"), Some("max_completion_tokens")),
        (
            ApiError::PromptTooLong { length: PromptLength::AtLeast(101), max_model_len: 100, param: "input" },
            400,
            "invalid_request_error",
            Some("context_length_exceeded"),
            Some("input"),
        ),
        (ApiError::MissingKey, 401, "invalid_request_error", Some("invalid_api_key"), None),
        (ApiError::WrongKey, 401, "invalid_request_error", Some("invalid_api_key"), None),
        (ApiError::HostNotAllowed { host: "h".to_owned() }, 403, "permission_error", Some("host_not_allowed"), None),
        (ApiError::OriginNotAllowed { origin: "o".to_owned() }, 403, "permission_error", Some("origin_not_allowed"), None),
        (ApiError::UnsupportedCoding { coding: "x".to_owned() }, 415, "invalid_request_error", Some("unsupported_content_encoding"), None),
        (ApiError::NoWebSocket { path: "/p".to_owned() }, 426, "invalid_request_error", None, None),
        (ApiError::ModelNotFound { model: "m".into() }, 404, "invalid_request_error", Some("model_not_found"), Some("model")),
        (ApiError::ResponseNotFound { id: "resp_1".into() }, 404, "invalid_request_error", None, None),
        (ApiError::RouteNotFound { method: "GET".into(), path: "/x".into() }, 404, "invalid_request_error", None, None),
        (method, 405, "invalid_request_error", None, None),
        (ApiError::BodyTimeout, 408, "timeout", Some("deadline_exceeded"), None),
        (ApiError::BodyTooLarge { limit_bytes: 9 }, 413, "invalid_request_error", Some("request_too_large"), None),
        (ApiError::Quarantined, 422, "invalid_request_error", Some("request_quarantined"), None),
        (rate, 429, "rate_limit_error", Some("rate_limit_exceeded"), None),
        (overloaded, 503, "server_error", Some("overloaded"), None),
        (loading, 503, "server_error", Some("model_loading"), None),
        (ApiError::ShuttingDown, 503, "server_error", Some("shutting_down"), None),
        (ApiError::EngineDied, 503, "server_error", Some("engine_error"), None),
        (ApiError::ModelChanged, 503, "server_error", Some("model_changed"), None),
        (ApiError::EngineFailed { message: "m".into() }, 500, "server_error", Some("engine_error"), None),
        (ApiError::Internal, 500, "server_error", Some("internal_error"), None),
    ];

    for (error, status, kind, code, param) in rows {
        assert_eq!((error.status().as_u16(), error.kind(), error.code(), error.param()), (status, kind, code, param), "{error:?}");
        assert!(REFUSED_STATUSES.contains(&status), "the counter of refusals does not begin at zero for {status}");
    }
}

#[test]
fn errors_of_the_gateway_and_the_engine_become_their_rows() {
    let not_ready = SubmitError::NotReady { reason: "loading".into(), retry_after: wait(2500) };
    let rows: Vec<(ApiError, ApiError)> = vec![
        (not_ready.into(), ApiError::ModelLoading { message: "the model is not ready: loading".into(), retry_after: wait(2500) }),
        (
            SubmitError::QueueFull { waiting: 3, retry_after: wait(9) }.into(),
            ApiError::Overloaded { message: "3 sequences are waiting already".into(), retry_after: wait(9) },
        ),
        (
            SubmitError::KeyFull { count: 2, held: 3, share: 4, retry_after: wait(9) }.into(),
            ApiError::Overloaded {
                message: "this key has 3 of the 4 sequences that it may have while others send requests, and 2 more do not fit".into(),
                retry_after: wait(9),
            },
        ),
        (SubmitError::ShuttingDown.into(), ApiError::ShuttingDown),
        (TokenizeError::Engine(SubmitError::ShuttingDown).into(), ApiError::ShuttingDown),
        (
            TokenizeError::Text(TextError::RunTooLong { len: 9, max: 5 }).into(),
            FieldError::invalid("prompt", "the text has a run of 9 characters without a break; at most 5 are accepted for this model")
                .into(),
        ),
        (
            SubmitError::TooMuchText { retry_after: wait(7) }.into(),
            ApiError::Overloaded {
                message: "too many texts of this key, or of all together, are being worked on already".into(),
                retry_after: wait(7),
            },
        ),
        (TokenizeError::EngineDied("/secret/path".into()).into(), ApiError::EngineDied),
        (EmbeddingError::EngineDied("/secret/path".into()).into(), ApiError::EngineDied),
        (SubmitError::Quarantined.into(), ApiError::Quarantined),
        (TokenizeError::Engine(SubmitError::Quarantined).into(), ApiError::Quarantined),
        (EmbeddingError::Engine(SubmitError::Quarantined).into(), ApiError::Quarantined),
        (GenerationError::Quarantined.into(), ApiError::Quarantined),
        (GenerationError::EngineDied("/secret/path".into()).into(), ApiError::EngineDied),
        (GenerationError::ModelChanged.into(), ApiError::ModelChanged),
        (GenerationError::ShuttingDown.into(), ApiError::ShuttingDown),
        (
            GenerationError::Decode { code: -3 }.into(),
            ApiError::EngineFailed { message: "the model could not be evaluated (code -3)".into() },
        ),
        (GenerationError::Invalid("x".into()).into(), ApiError::EngineFailed { message: "invalid request: x".into() }),
    ];

    for (made, expected) in rows {
        assert_eq!(made, expected);
    }
    assert_eq!(ApiError::from(GenerationError::KvExhausted).status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ApiError::from(GenerationError::NoCandidate).status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn every_fault_of_a_field_is_a_400_with_its_code_and_param() {
    let of_n = |fault| FieldError { path: "n".into(), fault };
    let range = FieldFault::OutOfRange { min: "1".into(), max: "8".into(), found: "9".into() };
    let rows = [
        (FieldError::body("it is empty"), "invalid_json", None),
        (FieldError::missing("n"), "missing_required_parameter", Some("n")),
        (of_n(FieldFault::WrongType { expected: "an integer", found: "a string" }), "invalid_type", Some("n")),
        (of_n(range), "invalid_value", Some("n")),
        (FieldError::invalid("n", "no"), "invalid_value", Some("n")),
        (FieldError::unsupported("n", "is not supported yet"), "unsupported_parameter", Some("n")),
    ];

    for (fault, code, param) in rows {
        let message = fault.to_string();
        let error = ApiError::from(fault);
        assert_eq!((error.status().as_u16(), error.kind(), error.code(), error.param()), (400, "invalid_request_error", Some(code), param));
        assert_eq!(error.detail(), message);
    }
}

#[tokio::test]
async fn the_body_is_openais_envelope_with_all_four_keys() {
    let response = ApiError::ModelNotFound { model: "gpt".into() }.into_response();

    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(response.headers(), "content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 4096).await.unwrap()).unwrap();
    let message = "The model `gpt` does not exist. GET /v1/models lists the models of this server.";
    assert_eq!(body, json!({"error": {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}));

    let response = ApiError::RouteNotFound { method: "POST".into(), path: "/v1/x".into() }.into_response();
    let body = to_bytes(response.into_body(), 4096).await.unwrap();
    let text = r#"{"error":{"message":"Invalid URL (POST /v1/x)","type":"invalid_request_error","param":null,"code":null}}"#;
    assert_eq!(body, text);
}

#[test]
fn the_message_of_a_too_long_request_has_the_numbers() {
    let message = "This model's maximum context length is 100 tokens, however you requested 101 tokens (60 in your prompt; 41 for the \
                   completion). Please reduce your prompt or completion length.";
    assert_eq!(context(60, 41).detail(), message);
}

#[test]
fn a_wait_is_told_in_whole_seconds_of_at_least_one_and_in_milliseconds() {
    let rows = [(0, "1", "0"), (20, "1", "20"), (1000, "1", "1000"), (1001, "2", "1001"), (60_000, "60", "60000")];

    for (milliseconds, seconds, exact) in rows {
        let headers = ApiError::RateLimited { requests_per_minute: 1, retry_after: wait(milliseconds) }.headers();
        assert_eq!(header(&headers, "retry-after"), Some(seconds), "{milliseconds}");
        assert_eq!(header(&headers, "retry-after-ms"), Some(exact), "{milliseconds}");
        assert_eq!(header(&headers, "x-should-retry"), None, "{milliseconds}");
    }
}

#[test]
fn retries_are_forbidden_when_the_wait_is_long_or_would_not_help() {
    let long = ApiError::RateLimited { requests_per_minute: 1, retry_after: wait(60_001) }.headers();
    assert_eq!(header(&long, "x-should-retry"), Some("false"));
    assert_eq!(header(&long, "retry-after"), Some("61"));

    for failed in [ApiError::EngineFailed { message: "m".into() }, ApiError::Quarantined] {
        let headers = failed.headers();
        assert_eq!(header(&headers, "x-should-retry"), Some("false"), "{failed:?}");
        assert_eq!(header(&headers, "retry-after"), None, "{failed:?}");
    }
}

#[test]
fn only_a_401_asks_for_credentials() {
    assert_eq!(header(&ApiError::MissingKey.headers(), "www-authenticate"), Some("Bearer"));
    assert_eq!(header(&ApiError::WrongKey.headers(), "www-authenticate"), Some("Bearer"));
    assert_eq!(header(&ApiError::HostNotAllowed { host: "h".to_owned() }.headers(), "www-authenticate"), None);
}

/// Any website can send `null`, from a sandboxed frame.
#[test]
fn pages_without_an_origin_are_never_told_to_be_allowed() {
    let told = ApiError::origin_not_allowed("null").to_string();

    assert!(told.starts_with("Pages without an origin (opened as a file, or sandboxed) are not allowed"), "{told}");
    assert!(!told.contains("--cors-origins"), "{told}");
    assert!(ApiError::origin_not_allowed("https://a.example").to_string().contains("--cors-origins https://a.example"));
}
