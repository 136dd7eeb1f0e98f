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
        // POST /v1/completions, /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/rerank (/v2/rerank, /rerank), /v1/score
        // (/score), GET /v1/models, GET /v1/models/{id}
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
