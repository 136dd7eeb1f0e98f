//! The configuration of the API as it is now: a reload replaces it while requests run.
//!
//! A request that has begun keeps the configuration that it began with.

use crate::config::ApiConfig;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The present configuration. Cheap to clone; clones change together.
#[derive(Debug, Clone)]
pub struct LiveConfig(Arc<ArcSwap<ApiConfig>>);

impl LiveConfig {
    /// Begins with this configuration.
    #[must_use]
    pub fn new(config: ApiConfig) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    /// The present configuration.
    #[must_use]
    pub fn now(&self) -> Arc<ApiConfig> {
        self.0.load_full()
    }

    /// Requests that begin from now on get this configuration.
    pub fn replace(&self, config: ApiConfig) {
        self.0.store(Arc::new(config));
    }
}
