//! OpenAI's routes: completions, chat, responses, embeddings and models; those of others that belong to them, rerank and score; and what
//! explains and renders requests.

pub(in crate::api) mod chat;
pub mod completions;
pub mod embeddings;
mod explain;
pub(super) mod models;
mod render;
pub mod rerank;
pub(in crate::api) mod responses;
pub mod shared;

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
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/responses", post(responses::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/v2/rerank", post(rerank::rerank))
        .route("/rerank", post(rerank::rerank))
        .route("/v1/score", post(rerank::score))
        .route("/score", post(rerank::score))
        .route("/v1/completions/render", post(render::of_completions))
        .route("/v1/chat/completions/render", post(render::of_chat))
        .route("/v1/explain", post(explain::explain))
        .route("/v1/models", get(move |state| models::list(state, created)))
        .route("/v1/models/{*id}", get(move |state, id| models::get(state, id, created)))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(in crate::api) use embeddings::tests::answers as embeddings_script;
