//! What every handler is given.

use super::templates::TemplateCache;
use crate::{
    config::ApiConfig,
    gateway::{handle::EngineHandle, keys::KeyRing, limits::RequestLimiter},
};
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
