//! What every handler is given.

use super::{error::ApiError, templates::TemplateCache};
use crate::{
    config::ApiConfig,
    gateway::{
        handle::EngineHandle,
        keys::{KeyRing, Principal},
        limits::RequestLimiter,
    },
};
use axum::{extract::FromRequestParts, http::request::Parts};
use std::sync::Arc;

/// Shared by all handlers; cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// The served model.
    pub engine: EngineHandle,
    /// Keys that may call; empty means that no key is asked for.
    pub keys: Arc<KeyRing>,
    /// Requests per minute of each key.
    pub limiter: Arc<RequestLimiter>,
    /// Names and limits of the API.
    pub config: Arc<ApiConfig>,
    /// How the model wants conversations written.
    pub templates: Arc<TemplateCache>,
}

/// The same for a handler that asks the engine: its handle knows who asks, so that callers take turns there.
#[derive(Debug)]
pub struct OfCaller(pub AppState);

impl FromRequestParts<AppState> for OfCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Some(principal) = parts.extensions.get::<Principal>() else {
            tracing::error!("a route that asks the engine was reached without authentication");
            return Err(ApiError::Internal);
        };
        Ok(Self(AppState { engine: state.engine.of_caller(principal.id), ..state.clone() }))
    }
}
