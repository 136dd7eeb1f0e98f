//! An [`ApiError`] in Anthropic's words: `{"type":"error","error":{type,message},"request_id"}`.
//!
//! Source of types and statuses: the `anthropic` package, `_error_classes.py` and `types/shared`. There is no `param`,
//! so messages name the field.
//!
//! A full queue is 529 and not 503, because Anthropic's SDKs have an error class for 529, which clients check. Nothing
//! is lost: the SDKs repeat every status from 500 on, after the same `retry-after-ms` and `Retry-After`. Other
//! temporary errors (loading, stopping) stay 503, which load balancers understand.

use crate::{
    api::{error::ApiError, fields::FieldError, request_id::RequestId},
    field_path::PathStyle,
};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// The body of a refusal, and the data of a stream's `error` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ErrorObject {
    r#type: &'static str,
    error: Inner,
    /// Absent outside of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Inner {
    r#type: &'static str,
    message: String,
}

impl ErrorObject {
    /// The object for `error`, with the id of the request if there is one.
    pub(super) fn new(error: &ApiError, request_id: Option<&RequestId>) -> Self {
        let inner = Inner { r#type: row(error).1, message: message(error) };
        Self { r#type: "error", error: inner, request_id: request_id.map(|id| id.as_str().to_owned()) }
    }
}

/// The message. Two sentences are Anthropic's own: Claude Code reads the numbers in them, and sends a shorter request.
fn message(error: &ApiError) -> String {
    match error {
        // A prompt that just fills the context leaves no room for an answer.
        ApiError::PromptTooLong { length, max_model_len, .. } => {
            let tokens = length.tokens();
            format!("prompt is too long: {tokens} tokens > {} maximum", (*max_model_len).min(tokens.saturating_sub(1)))
        }
        ApiError::ContextLength { prompt_tokens, max_tokens, max_model_len, .. } => format!(
            "input length and `max_tokens` exceed context limit: {prompt_tokens} + {max_tokens} > {max_model_len}, decrease input length or \
             `max_tokens` and try again"
        ),
        other => other.message(PathStyle::Dots),
    }
}

/// The table of errors: status and Anthropic's type.
fn row(error: &ApiError) -> (StatusCode, &'static str) {
    let kind = match error {
        ApiError::BadRequest { .. }
        | ApiError::Field(_)
        | ApiError::ContextLength { .. }
        | ApiError::PromptTooLong { .. }
        | ApiError::Quarantined
        | ApiError::MethodNotAllowed { .. }
        | ApiError::NoWebSocket { .. }
        | ApiError::UnsupportedCoding { .. } => "invalid_request_error",
        ApiError::MissingKey | ApiError::WrongKey => "authentication_error",
        ApiError::HostNotAllowed { .. } | ApiError::OriginNotAllowed { .. } => "permission_error",
        ApiError::ModelNotFound { .. } | ApiError::ResponseNotFound { .. } | ApiError::RouteNotFound { .. } => "not_found_error",
        ApiError::BodyTimeout => "timeout_error",
        ApiError::BodyTooLarge { .. } => "request_too_large",
        ApiError::RateLimited { .. } => "rate_limit_error",
        // The module's comment gives the reason for 529. The client of a stream gets only the type, which tells it that
        // a retry may succeed.
        ApiError::Overloaded { .. } | ApiError::ModelLoading { .. } | ApiError::ShuttingDown | ApiError::Preempted => "overloaded_error",
        ApiError::EngineDied | ApiError::ModelChanged | ApiError::EngineFailed { .. } | ApiError::Internal => "api_error",
    };
    let status = match error {
        ApiError::Overloaded { .. } => StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        _ => error.status(),
    };
    (status, kind)
}

/// The response, with the error's headers.
pub(in crate::api) fn refusal(error: &ApiError) -> Response {
    let body = ErrorObject::new(error, RequestId::present().as_ref());
    error.label((row(error).0, error.headers(), Json(body)).into_response())
}

/// An [`ApiError`] that a handler answers with in this shape.
#[derive(Debug)]
pub(in crate::api) struct AnthropicError(ApiError);

impl From<ApiError> for AnthropicError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<FieldError> for AnthropicError {
    fn from(error: FieldError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for AnthropicError {
    fn into_response(self) -> Response {
        refusal(&self.0)
    }
}

#[cfg(test)]
mod tests;
