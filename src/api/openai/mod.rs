//! OpenAI's routes: completions and models.

pub mod completion_format;
pub mod completion_request;
mod completions;
pub mod logprobs;
mod models;
pub mod prompt;
pub mod sampling;
pub mod structured;

use crate::api::state::AppState;
use axum::{
    Router,
    routing::{get, post},
};
use std::time::{SystemTime, UNIX_EPOCH};

/// The routes of this folder, without fallbacks and layers.
pub fn routes() -> Router<AppState> {
    // Models appear when the server starts; the time must not differ from answer to answer.
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Router::new()
        .route("/v1/completions", post(completions::create))
        .route("/v1/models", get(move |state| models::list(state, created)))
        .route("/v1/models/{*id}", get(move |state, id| models::get(state, id, created)))
}

#[cfg(test)]
mod tests;
