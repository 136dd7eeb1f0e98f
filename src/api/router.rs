//! Which URLs exist. Nothing else: layers are in `layers`, handlers in their own files.

use super::{
    anthropic, family, health, infill,
    layers::{self, HostPolicy},
    legacy, openai, openapi,
    state::AppState,
    tokens,
};
use axum::Router;

/// Every route, inside every layer.
pub fn router(state: AppState, hosts: HostPolicy) -> Router {
    let routes = Router::new()
        // What OpenAI has, what others put beside it, and what explains and renders requests. All paths: openapi/operations.rs
        .merge(openai::routes())
        // POST /v1/messages, POST /v1/messages/count_tokens
        .merge(anthropic::routes())
        // POST /tokenize, POST /detokenize, GET /tokenizer_info
        .merge(tokens::routes())
        // POST /infill
        .merge(infill::routes())
        // POST /generate, GET /, GET /health
        .merge(legacy::routes())
        // GET /livez, GET /readyz, GET /metrics
        .merge(health::routes())
        // GET /openapi.json, GET /docs
        .merge(openapi::routes())
        .fallback(family::route_not_found)
        .method_not_allowed_fallback(family::method_not_allowed);
    layers::wrap(routes, &state, hosts).with_state(state)
}
