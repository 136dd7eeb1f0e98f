//! State that all requests share.

use super::{renders::Renders, warning_log::WarningLog};
use crate::gateway::{keys::KeyRing, limits::RequestLimiter, live_config::LiveConfig, models::Models};
use std::sync::Arc;

/// Shared by all handlers and layers; cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// The models that are served.
    pub models: Arc<Models>,
    /// Keys that may call; empty means that no key is asked for.
    pub keys: Arc<KeyRing>,
    /// The limiter of each key's requests per minute.
    pub limiter: Arc<RequestLimiter>,
    /// Names and limits of the API; a reload may change them.
    pub config: LiveConfig,
    /// The turns of callers at rendering chat templates.
    pub(super) renders: Renders,
    /// The warnings that were logged lately.
    pub(super) warning_log: WarningLog,
}

impl AppState {
    /// The state of a server that serves these models to callers with one of these keys.
    #[must_use]
    pub fn new(models: Models, keys: Arc<KeyRing>, config: LiveConfig) -> Self {
        let limiter = Arc::new(RequestLimiter::new(config.now().requests_per_minute));
        Self { models: Arc::new(models), keys, limiter, config, renders: Renders::default(), warning_log: WarningLog::default() }
    }
}
