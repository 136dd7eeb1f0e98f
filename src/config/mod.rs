//! Configuration of `llamero serve`: file < environment < flags. All problems are reported at once.
//!
//! Each concern has a file, with its options (key, range, default, other spellings) beside the struct that they fill.
//! Owns no process state: the environment is a value ([`Environment`]), and so is the command line ([`Flags`]). It
//! opens the configuration file and no other.

mod api;
mod environment;
mod keys;
mod layers;
mod listen;
mod logs;
#[cfg(test)]
mod markdown;
mod model;
mod option;
mod print;
mod problem;
pub(crate) mod prose;
mod proxies;
mod supervision;
#[cfg(test)]
mod tests;
mod tls;
mod values;

pub use api::ApiConfig;
pub use environment::Environment;
pub use keys::KeyConfig;
pub use layers::Flags;
pub use listen::{ListenConfig, UnixSocketConfig, allows_all_users};
pub use logs::{LogConfig, LogFormat};
pub use model::RpcConfig;
pub use option::{Kind, OptionSpec};
pub(crate) use problem::closest;
pub use problem::{ConfigErrors, Problem};
pub use proxies::{ProxyConfig, TrustedProxies};
pub use supervision::{Preemption, SupervisionConfig};
pub use tls::TlsConfig;

use crate::protocol::EngineOptions;
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};
use values::Setting;

/// All settings that `llamero serve` needs, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeConfig {
    /// Path or catalog name of the model, as the user gave it.
    pub model: String,
    /// Folder for downloads, in which models are looked up; `None` if the user named none.
    pub models_dir: Option<PathBuf>,
    /// Path or catalog name of a smaller model that makes guesses, which the model checks.
    pub draft_model: Option<String>,
    /// Workers on other machines whose memory holds layers of the model.
    pub rpc: RpcConfig,
    /// Folder in which cached prompts are kept for the next start.
    pub prefix_cache_dir: Option<PathBuf>,
    /// Names and limits of the API.
    pub api: ApiConfig,
    /// Address, port and time limits of the listening socket.
    pub listen: ListenConfig,
    /// Certificate and key; `None` if the server speaks plain HTTP.
    pub tls: Option<TlsConfig>,
    /// The keys that callers need.
    pub keys: KeyConfig,
    /// Options with which the engine opens the model; its paths are filled in once the model was found.
    pub engine: EngineOptions,
    /// Supervision of the engine process.
    pub supervision: SupervisionConfig,
    /// The log lines.
    pub logs: LogConfig,
}

/// A configuration, and notes on it for the user.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedConfig {
    /// The configuration.
    pub config: ServeConfig,
    /// Notes for the log: aliases that were used, variables that were ignored.
    pub notes: Vec<String>,
    /// The whole configuration as TOML, without keys (`--print-config`).
    pub toml: String,
    /// The texts of the options that were given.
    pub given: GivenTexts,
}

/// The texts that were given for options, by the option's key; of API keys only a hash, which shows a change.
pub type GivenTexts = BTreeMap<&'static str, Vec<String>>;

/// All options, in titled groups, in the order in which they are shown.
pub const GROUPS: &[(&str, &[OptionSpec])] = &[
    ("Model and engine", model::OPTIONS),
    ("Listening", listen::OPTIONS),
    ("TLS", tls::OPTIONS),
    ("Behind a proxy", proxies::OPTIONS),
    ("Keys", keys::OPTIONS),
    ("API", api::OPTIONS),
    ("Supervision", supervision::OPTIONS),
    ("Logs and traces", logs::OPTIONS),
];

/// All options, in the order of [`GROUPS`].
pub fn options() -> impl Iterator<Item = &'static OptionSpec> {
    GROUPS.iter().flat_map(|(_, options)| options.iter())
}

/// Builds the configuration from the command line, the environment and the file that either names.
///
/// # Errors
/// All problems, at once.
pub fn load(flags: &Flags, environment: &Environment) -> Result<LoadedConfig, ConfigErrors> {
    let (mut values, mut notes) = layers::gather(flags, environment);
    let model = values.text(&model::MODEL);
    if model.is_empty() {
        values.problem(&model::MODEL, "is empty; give the path of a GGUF file, or a name that `llamero models` lists");
    }
    let keys = KeyConfig::read(&mut values);
    let models_dir = values.optional_text(&model::MODELS_DIR).map(PathBuf::from);
    let draft_model = values.optional_text(&model::DRAFT_MODEL);
    let api = ApiConfig::read(&mut values, model_name(&model));
    let listen = ListenConfig::read(&mut values, &keys);
    let checks_hosts = listen.host.is_loopback() && listen.unix_socket.is_none() && keys.is_empty();
    if !api.allowed_hosts.is_empty() && !checks_hosts {
        notes.push(
            "--allowed-hosts has no effect: with keys, on a Unix socket and on addresses beyond loopback, requests may name any host"
                .to_owned(),
        );
    }
    if listen.unix_socket.is_some() && ["host", "port"].iter().any(|key| values.settings.contains_key(key)) {
        notes.push("--host and --port have no effect with --uds".to_owned());
    }
    let tls = TlsConfig::read(&mut values);
    let engine = model::read_engine(&mut values);
    let prefix_cache_dir = model::read_prefix_cache_dir(&mut values, &engine);
    let rpc = RpcConfig::read(&mut values, &engine);
    let supervision = SupervisionConfig::read(&mut values);
    let logs = LogConfig::read(&mut values);
    debug_assert!(options().all(|spec| values.read.contains(&spec.key)), "an option that nobody reads");
    if !values.problems.is_empty() {
        return Err(ConfigErrors { problems: values.problems, log_format: Some(logs.format) });
    }
    let toml = print::render(&values.settings);
    let given = given_texts(&values.settings);
    let config = ServeConfig { model, draft_model, models_dir, rpc, prefix_cache_dir, api, listen, tls, keys, engine, supervision, logs };
    Ok(LoadedConfig { config, notes, toml, given })
}

fn given_texts(settings: &BTreeMap<&'static str, Setting>) -> GivenTexts {
    let is_secret = |key: &str| options().any(|spec| spec.key == key && matches!(spec.kind, Kind::Secrets));
    let shown = |key: &str, texts: &Vec<String>| {
        if !is_secret(key) {
            return texts.clone();
        }
        let mut hasher = DefaultHasher::new();
        texts.hash(&mut hasher);
        vec![hasher.finish().to_string()]
    };
    settings.iter().map(|(key, setting)| (*key, shown(key, &setting.texts))).collect()
}

/// The served name of a model given as a path or as a catalog name: the file's name without folder and `.gguf`.
fn model_name(model: &str) -> String {
    let path = Path::new(model);
    let stem = if path.extension().is_some_and(|extension| extension == "gguf") { path.file_stem() } else { path.file_name() };
    stem.map_or_else(|| model.to_owned(), |stem| stem.to_string_lossy().into_owned())
}
