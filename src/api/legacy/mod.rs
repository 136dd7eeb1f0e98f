//! The routes of the FastAPI script that users come from: `POST /generate`, `GET /`, `GET /health`.
//!
//! Answers are those of FastAPI 0.165 with pydantic 2.14, byte for byte where that is sensible; `tests/fixtures/fastapi.txt` is
//! what the real one answered. Where we differ, on purpose:
//!
//! * No content type at all is read as JSON, as FastAPI did for years.
//! * Values that vLLM refuses (negative temperature, `top_p` beyond 0–1, no tokens) are a 422 instead of a 500.
//! * `max_tokens` beyond the context is reduced, and `x-llamero-warnings` says so.
//! * A body in UTF-16 or UTF-32, which Python guesses, is malformed. Nesting is bounded at 64 levels instead of about 1000.
//! * What FastAPI answers with a 500 because it cannot echo it (NaN, lone surrogates, bytes that are no text) is a 4xx.

mod coerce;
mod fault;
mod generate;
mod json;
mod refusal;
pub(super) mod request;
mod status;

pub(super) use refusal::refusal;

use crate::{
    api::{family::method_not_allowed, state::AppState},
    config::ApiConfig,
};
use axum::{
    Router,
    extract::Request,
    http::header,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};

/// Paths of this family that are redirected to when called with a slash too many.
pub(super) const PATHS: [&str; 5] = ["/generate", "/health", "/livez", "/readyz", "/metrics"];

/// `/`, `/health` and `/generate`.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get_only(get(status::root)))
        .route("/health", get_only(get(status::health)))
        .route("/generate", post(generate::generate))
}

/// The name that answers carry.
fn model_name(config: &ApiConfig) -> &str {
    config.served_model_names.first().map_or("", String::as_str)
}

/// Unlike axum, FastAPI has no HEAD for a GET route and does not name it in `Allow`.
fn get_only(route: MethodRouter<AppState>) -> MethodRouter<AppState> {
    async fn refuse(request: Request) -> Response {
        ([(header::ALLOW, "GET")], method_not_allowed(request).await).into_response()
    }
    route.head(refuse).fallback(refuse)
}

#[cfg(test)]
mod tests;
