//! Configuration: file < environment < flags, every problem reported at once.

use crate::protocol::EngineOptions;
use std::{net::IpAddr, path::PathBuf, time::Duration};

/// All that `llamero serve` needs, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeConfig {
    /// Path or catalog name of the model as the user gave it.
    pub model: String,
    /// Names and limits of the API.
    pub api: ApiConfig,
    /// Where to listen.
    pub listen: ListenConfig,
    /// Who may call.
    pub keys: KeyConfig,
    /// How the engine opens the model; `model_path` is filled in once the model was found.
    pub engine: EngineOptions,
    /// Supervision of the engine process.
    pub supervision: SupervisionConfig,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Names and limits of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiConfig {
    /// Names under which the model is served, the first one in answers; never empty.
    pub served_model_names: Vec<String>,
    /// Largest request body, bytes. Default 2 MiB (hazards.md 2.9).
    pub max_body_bytes: usize,
    /// Longest wait for a whole request body, from its head. Default 30 s.
    pub body_timeout: Duration,
    /// Stop strings accepted, at most 16. Default 4 (OpenAI).
    pub max_stop_strings: usize,
    /// Silence in a stream before a comment keeps the connection alive. Default 10 s (proxies cut after 30–60 s).
    pub keep_alive: Duration,
    /// Longest time that the status of a stream is held for its first token. Default 10 s.
    pub hold_status: Duration,
    /// Requests per minute and key; `None` is unlimited.
    pub requests_per_minute: Option<u32>,
    /// Origins that browsers may call from; empty allows none, `*` all.
    pub allowed_origins: Vec<String>,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenConfig {
    /// Default 127.0.0.1. Any other than loopback needs keys.
    pub host: IpAddr,
    /// Default 8000; 0 lets the system choose.
    pub port: u16,
    /// Serve beyond loopback without keys all the same.
    pub insecure_no_auth: bool,
    /// Longest wait for the head of a request. Default 10 s.
    pub header_timeout: Duration,
    /// After SIGTERM, the time that running streams get. Default 30 s.
    pub drain_timeout: Duration,
}

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyConfig {
    /// Keys themselves, from flags, environment and configuration.
    pub keys: Vec<String>,
    /// A file with one key per line.
    pub file: Option<PathBuf>,
}

/// Supervision of the engine process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisionConfig {
    /// Sequences that may wait for a slot before requests are refused. Default 512.
    pub max_waiting: usize,
    /// A busy engine that finishes no step for this long is killed. Default 120 s.
    pub stall_timeout: Duration,
    /// First pause before a restart; doubled on each death in a row, up to 30 s. Default 0: the first restart is at once.
    pub restart_backoff: Duration,
    /// Deaths in a row without a finished step after which the server gives up. Default 5.
    pub max_restarts: u32,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
