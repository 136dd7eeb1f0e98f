//! SIGHUP: reads the configuration, the key file and the certificate again, and applies what a running server can
//! change. Streams, caches and the engine are not touched.
//!
//! A file that cannot be used changes nothing. An option that needs a restart is named and stays as it is.

use super::super::{
    logging,
    service_manager::{Phase, ServiceManager},
};
use crate::{
    api::{server::tls::Certificate, state::AppState},
    config::{Environment, Flags, GivenTexts, LoadedConfig, OptionSpec, load, options},
    gateway::{keys::KeyRing, limits::RequestLimiter, live_config::LiveConfig},
};
use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{signal::unix::Signal, task::spawn_blocking};

/// The options that a running server can change.
const LIVE: &[&str] = &[
    "served_model_name",
    "rpm",
    "max_body_bytes",
    "body_timeout",
    "max_stop_strings",
    "strict",
    "max_logprobs",
    "no_generic_tools",
    "keep_alive",
    "hold_status",
    "trusted_proxies",
    "log_level",
];

/// Everything that a reload reads or changes.
pub(super) struct Reload {
    flags: Flags,
    environment: Environment,
    certificate: Option<Certificate>,
    keys: Arc<KeyRing>,
    limiter: Arc<RequestLimiter>,
    api: LiveConfig,
    /// The texts of the options that the server runs with.
    applied: Mutex<GivenTexts>,
}

impl Reload {
    pub(super) fn new(
        flags: Flags,
        environment: Environment,
        given: GivenTexts,
        state: &AppState,
        certificate: Option<Certificate>,
    ) -> Self {
        let AppState { keys, limiter, config, .. } = state.clone();
        Self { flags, environment, certificate, keys, limiter, api: config, applied: Mutex::new(given) }
    }

    /// Reloads for each SIGHUP, for ever, and tells the service manager so.
    pub(super) async fn run(self, mut hangups: Signal, manager: ServiceManager) {
        let reload = Arc::new(self);
        while hangups.recv().await.is_some() {
            // Signals that come during a reload count as one.
            manager.tell(Phase::Reloading);
            let reload = Arc::clone(&reload);
            if let Err(error) = spawn_blocking(move || reload.read_all()).await {
                tracing::error!("SIGHUP: reading files again ended early: {error}");
            }
            manager.tell(Phase::Reloaded);
        }
    }

    fn read_all(&self) {
        let has_file = self.read_configuration();
        let has_keys = match self.keys.reload() {
            Ok(Some(number)) => {
                tracing::info!("SIGHUP: the key file was read again; {number} keys are accepted");
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!("SIGHUP: the keys stay as they are: {error}; mend the file and send SIGHUP again");
                true
            }
        };
        match self.certificate.as_ref().map(Certificate::reload) {
            None if !has_file && !has_keys => {
                tracing::info!("SIGHUP: there is no --config, --api-key-file or --tls-cert to read again; nothing changes");
            }
            None => {}
            Some(Ok(())) => tracing::info!("SIGHUP: the certificate was read again; new connections get it"),
            Some(Err(error)) => tracing::error!("SIGHUP: the certificate stays as it is: {error}; mend the file and send SIGHUP again"),
        }
    }

    /// Reads the configuration file again. False if there is none.
    fn read_configuration(&self) -> bool {
        let Some(path) = self.flags.config_file(&self.environment) else { return false };
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            // Opening a pipe waits for a writer, perhaps for ever.
            tracing::error!("SIGHUP: the configuration stays as it is: {} is a pipe, which cannot be read again", path.display());
            return true;
        }
        match load(&self.flags, &self.environment) {
            Ok(loaded) => self.apply(loaded),
            Err(errors) => {
                let problems = errors.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ").replace('\n', " ");
                tracing::error!("SIGHUP: the configuration stays as it is: {problems}; mend the file and send SIGHUP again");
            }
        }
        true
    }

    fn apply(&self, loaded: LoadedConfig) {
        // A panic while the lock is held leaves only texts behind that will be read as changed once more.
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut live, mut fixed) = changes(&applied, &loaded.given);
        let is_named = loaded.given.contains_key("served_model_name");
        if fixed.contains(&"model") && !is_named && live.contains(&"served_model_name") {
            // By default a model is served under its own name, and it is still the former model.
            live.retain(|key| *key != "served_model_name");
            fixed.push("served_model_name");
        }
        if !live.is_empty() {
            let mut api = loaded.config.api;
            if fixed.contains(&"model") && !is_named {
                api.served_model_names = self.api.now().served_model_names.clone();
            }
            if live.contains(&"rpm") {
                self.limiter.limit(api.requests_per_minute);
            }
            self.api.replace(api);
            if live.contains(&"log_level")
                && let Err(error) = logging::set_level(&loaded.config.logs.level)
            {
                tracing::error!("SIGHUP: the log level stays as it is: {error:#}");
            }
            for key in &live {
                match loaded.given.get(key) {
                    Some(texts) => applied.insert(key, texts.clone()),
                    None => applied.remove(key),
                };
            }
            tracing::info!("SIGHUP: the configuration was read again; changed: {}", live.join(", "));
        }
        if !fixed.is_empty() {
            tracing::warn!("SIGHUP: a restart is needed before these changes have an effect: {}", fixed.join(", "));
        }
        if live.is_empty() && fixed.is_empty() {
            tracing::info!("SIGHUP: the configuration was read again; nothing has changed");
        }
    }
}

/// The options whose texts differ: those that a running server can change, and the others.
fn changes(before: &GivenTexts, after: &GivenTexts) -> (Vec<&'static str>, Vec<&'static str>) {
    let differs = |spec: &&OptionSpec| {
        let default = [spec.default.to_owned()];
        let texts = |given: &GivenTexts| given.get(spec.key).cloned().unwrap_or_else(|| default.to_vec());
        texts(before) != texts(after)
    };
    options().filter(differs).map(|spec| spec.key).partition(|key| LIVE.contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{Setup, TestApp};
    use std::collections::BTreeMap;

    fn given(pairs: &[(&'static str, &str)]) -> GivenTexts {
        pairs.iter().map(|(key, text)| (*key, vec![(*text).to_owned()])).collect()
    }

    #[test]
    fn a_running_server_changes_only_the_options_that_are_listed() {
        let before = given(&[("rpm", "60"), ("port", "8000"), ("model", "a.gguf")]);
        let after = given(&[("rpm", "90"), ("port", "8001"), ("model", "a.gguf"), ("log_level", "debug"), ("threads", "2")]);

        assert_eq!(changes(&before, &after), (vec!["rpm", "log_level"], vec!["threads", "port"]));
        assert_eq!(changes(&BTreeMap::new(), &given(&[("log_level", "info"), ("port", "8000")])), (vec![], vec![]), "the defaults");
    }

    #[tokio::test]
    async fn a_changed_file_reaches_requests_and_a_broken_or_fixed_one_does_not() {
        let app = TestApp::start(Setup::default()).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("llamero.toml");
        let flags = Flags { config: Some(file.clone()), ..Flags::default() };
        let write = |text: &str| fs::write(&file, text).unwrap();
        write("served_model_name = \"one\"\nrpm = 60\n");
        let given = load(&flags, &Environment::default()).unwrap().given;
        let reload = Reload::new(flags, Environment::default(), given, &app.state, None);
        let now = || {
            let config = app.state.config.now();
            (config.served_model_names.clone(), config.max_body_bytes, config.requests_per_minute)
        };
        let started = now();

        write("served_model_name = \"one\"\nrpm = 0\n");
        assert!(reload.read_configuration());
        assert_eq!(now(), started, "a broken file");
        write("served_model_name = \"one\"\nrpm = 60\nport = 1\n");
        assert!(reload.read_configuration());
        assert_eq!(now(), started, "an option that needs a restart");
        write("served_model_name = \"two\"\nmax_body_bytes = 5000\nmodel = \"other.gguf\"\n");
        assert!(reload.read_configuration());
        assert_eq!(now(), (vec!["two".to_owned()], 5000, None));
        assert_eq!(app.get("/v1/models/two").await.status, 200);
        write("max_body_bytes = 5000\nmodel = \"other.gguf\"\n");
        assert!(reload.read_configuration());
        assert_eq!(now().0, ["two"], "the default name would be that of a model that is not loaded");
    }

    #[test]
    fn every_listed_option_exists() {
        for key in LIVE {
            assert!(options().any(|spec| spec.key == *key), "{key}");
        }
    }
}
