//! The models of this server, by the names under which they are served: so far one model, with any number of names.
//!
//! The API asks here for a [`Model`] and works with that, so that a second model needs no change there. Owns no engine:
//! `supervisor` starts and watches the engine, and a model has a handle on it.

use super::{engine_state::EngineState, handle::EngineHandle, keys::KeyId, live_config::LiveConfig, templates::TemplateCache};
use crate::{config::ApiConfig, protocol::ModelInfo};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// The state of a model. Does not tell why an engine died: that may name files, and is for the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ModelState {
    /// No engine has the model: its file is being fetched or checked.
    Unloaded,
    /// An engine loads the model for the first time; the share that is done, 0–1.
    Loading(f32),
    /// The model's engine serves requests.
    Ready,
    /// The model's engine died and is being started again; the share of the model that the new engine has loaded, 0–1,
    /// or `None` while there is no new engine.
    Restarting(Option<f32>),
    /// No engine will be started for the model again.
    Failed,
    /// The server is stopping: running requests end, and no new one is accepted.
    Evicting,
}

/// A model under the name that a request gave, with the facts known when the request asked for it.
#[derive(Debug, Clone)]
pub struct Model {
    /// One of the model's names, as the client wrote it.
    pub name: String,
    /// The handle on the model's engine.
    pub handle: EngineHandle,
    /// Facts about the model; `None` until it was loaded once.
    pub info: Option<Arc<ModelInfo>>,
    /// The chat templates by which conversations with the model are written.
    pub templates: Arc<TemplateCache>,
    /// Limits of requests to the model. All models share one configuration.
    pub config: Arc<ApiConfig>,
}

impl Model {
    /// The same model for `caller`: callers take turns at its engine.
    #[must_use]
    pub fn of_caller(self, caller: KeyId) -> Self {
        Self { handle: self.handle.of_caller(caller), ..self }
    }

    /// The present state of the model.
    #[must_use]
    pub fn state(&self) -> ModelState {
        match self.handle.state() {
            EngineState::Preparing => ModelState::Unloaded,
            EngineState::Loading(share) => ModelState::Loading(share),
            EngineState::Ready => ModelState::Ready,
            EngineState::Restarting(_) => ModelState::Restarting(self.handle.load_share()),
            EngineState::Failed(_) => ModelState::Failed,
            EngineState::Draining => ModelState::Evicting,
        }
    }
}

/// All models that the server serves.
#[derive(Debug)]
pub struct Models {
    handle: EngineHandle,
    templates: Arc<TemplateCache>,
    config: LiveConfig,
    created: u64,
}

impl Models {
    /// Creates the table of one model, served under the names of the configuration.
    #[must_use]
    pub fn of_one(handle: EngineHandle, templates: TemplateCache, config: LiveConfig) -> Self {
        // The models appear when the server starts: the time must not differ from answer to answer. A clock before 1970
        // is no failure.
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { handle, templates: Arc::new(templates), config, created }
    }

    /// The model that is served under this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Model> {
        let config = self.config.now();
        config.served_model_names.iter().any(|served| served == name).then(|| self.named(name, &config))
    }

    /// The model for requests that name none, under its first name.
    #[must_use]
    pub fn first(&self) -> Model {
        // The configuration has at least one name.
        let config = self.config.now();
        self.named(config.served_model_names.first().map_or("", String::as_str), &config)
    }

    /// All names, in the order of the configuration, with the models that they stand for.
    #[must_use]
    pub fn all(&self) -> Vec<Model> {
        let config = self.config.now();
        config.served_model_names.iter().map(|name| self.named(name, &config)).collect()
    }

    /// Time at which the models appeared, Unix time in s.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.created
    }

    /// True if the server is about to stop but still serves, so that load balancers send their next requests elsewhere.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.handle.is_leaving()
    }

    /// True if the server stops because the cloud takes the machine back.
    #[must_use]
    pub fn is_preempted(&self) -> bool {
        self.handle.is_preempted()
    }

    /// True if the engine answers, but with failures.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.handle.is_failing()
    }

    fn named(&self, name: &str, config: &Arc<ApiConfig>) -> Model {
        Model {
            name: name.to_owned(),
            handle: self.handle.clone(),
            info: self.handle.model(),
            templates: Arc::clone(&self.templates),
            config: Arc::clone(config),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gateway::testing::{model_info, start_scripted};

    /// A model under these names, with no limits of interest.
    pub(crate) fn served_as(names: &[&str], handle: EngineHandle) -> Models {
        let config = ApiConfig::served_as(names);
        Models::of_one(handle, TemplateCache::default(), LiveConfig::new(config))
    }

    #[tokio::test]
    async fn a_model_is_found_by_each_of_its_names_and_by_no_other() {
        let (handle, _supervisor, _engines) = start_scripted(1, 1);
        let models = served_as(&["org/tiny:q4", "tiny"], handle);

        assert_eq!(models.get("tiny").map(|model| model.name).as_deref(), Some("tiny"));
        assert_eq!(models.first().name, "org/tiny:q4");
        assert_eq!(models.all().into_iter().map(|model| model.name).collect::<Vec<_>>(), ["org/tiny:q4", "tiny"]);
        for name in ["", "Tiny", "org/tiny", "gpt"] {
            assert!(models.get(name).is_none(), "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_model_has_facts_once_it_was_loaded() {
        let (handle, _supervisor, mut engines) = start_scripted(1, 1);
        let models = served_as(&["tiny"], handle.clone());
        let before = models.first();

        let _engine = engines.next_ready_with(model_info()).await;
        handle.watch_state().wait_for(|state| *state == EngineState::Ready).await.unwrap();

        let after = models.first();
        assert_eq!((before.info, after.info.as_deref(), after.state()), (None, Some(&model_info()), ModelState::Ready));
    }
}
