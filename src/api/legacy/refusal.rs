//! An [`ApiError`] in FastAPI's words: `{"detail":…}` with Starlette's text where Starlette has its own.

use super::json::quoted;
use crate::api::error::ApiError;
use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// The response, with the error's status and headers.
pub(in crate::api) fn refusal(error: &ApiError) -> Response {
    let detail = match error {
        ApiError::RouteNotFound { .. } => "Not Found".to_owned(),
        ApiError::MethodNotAllowed { .. } => "Method Not Allowed".to_owned(),
        ApiError::MissingKey => "Not authenticated".to_owned(),
        ApiError::ModelLoading { .. } => "Model not loaded".to_owned(),
        // Starlette's answer to an unhandled exception is no JSON.
        ApiError::Internal => return error.label((error.status(), error.headers(), "Internal Server Error").into_response()),
        other => other.detail(),
    };
    let body = format!("{{\"detail\":{}}}", quoted(&detail));
    error.label((error.status(), error.headers(), [(header::CONTENT_TYPE, "application/json")], body).into_response())
}
