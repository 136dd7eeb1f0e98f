//! `GET /` and `GET /health`, with the keys that old clients read and a few more.

use crate::api::{health::Readiness, state::AppState};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

#[derive(Serialize)]
struct Root {
    message: &'static str,
    model: String,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    model_loaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_percent: Option<u8>,
}

/// Describes this server.
pub(in crate::api) async fn root(State(state): State<AppState>) -> Response {
    Json(Root { message: "llamero is running", model: state.models.first().name }).into_response()
}

/// 200 `healthy` when the model is loaded, else 503.
pub(in crate::api) async fn health(State(state): State<AppState>) -> Response {
    let readiness = Readiness::now(&state.models);
    let health = Health {
        status: if readiness.status_code() == StatusCode::OK { "healthy" } else { readiness.status },
        model_loaded: readiness.model_loaded,
        load_percent: readiness.load_percent,
    };
    (readiness.status_code(), readiness.headers(), Json(health)).into_response()
}
