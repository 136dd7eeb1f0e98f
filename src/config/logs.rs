//! Options of log lines and traces.

use super::{Kind, OptionSpec, values::SettingsReader};
use std::{path::PathBuf, time::Duration};
use tracing_subscriber::EnvFilter;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The log lines of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Their format. Default text.
    pub format: LogFormat,
    /// Their filter: a level, or a filter as for `RUST_LOG`. Default `info`.
    pub level: String,
    /// The file that they go to; `None` for standard error.
    pub file: Option<PathBuf>,
    /// Time between two lines on the load of a server that is not idle; `None` for no such lines. Default 10 s.
    pub status_interval: Option<Duration>,
    /// The collector that traces are sent to; `None` for no traces.
    pub otlp_endpoint: Option<String>,
}

const LOG_FORMAT: OptionSpec =
    OptionSpec::new("log_format", Kind::Choice(&["text", "json"]), "text", "Log lines for people, or one JSON object per line.");
const LOG_LEVEL: OptionSpec =
    OptionSpec::new("log_level", Kind::Text, "info", "error, warn, info, debug or trace; or a filter such as info,llamero::gateway=debug.")
        .also(&[], &["RUST_LOG"]);
const LOG_FILE: OptionSpec = OptionSpec::new(
    "log_file",
    Kind::Text,
    "",
    "Add log lines to this file instead of writing them to standard error. SIGUSR1 opens it again after logrotate has renamed it.",
)
.also(&[], &["LLAMA_ARG_LOG_FILE"]);
const STATUS_INTERVAL: OptionSpec = OptionSpec::new(
    "status_interval",
    Kind::Duration { min_s: 0, max_s: 86_400 },
    "10s",
    "Time between two log lines on throughput, running and waiting sequences and caches, while there is work; 0 for none.",
);

const OTLP_ENDPOINT: OptionSpec = OptionSpec::new(
    "otlp_endpoint",
    Kind::Text,
    "",
    "Send a trace of each request to this OpenTelemetry collector, OTLP over HTTP, such as http://127.0.0.1:4318. Other variables of OpenTelemetry (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_BSP_*) are read too. Traces never have texts.",
)
.also(&["--otlp-traces-endpoint"], &["OTEL_EXPORTER_OTLP_ENDPOINT"]);

pub(super) const OPTIONS: &[OptionSpec] = &[LOG_FORMAT, LOG_LEVEL, LOG_FILE, STATUS_INTERVAL, OTLP_ENDPOINT];

impl LogConfig {
    /// Reads the options; the filter is one that `tracing_subscriber` understands.
    pub(super) fn read(values: &mut SettingsReader) -> Self {
        let format = values.choice(&LOG_FORMAT, |word| match word {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        let level = values.parsed(&LOG_LEVEL, |text| match EnvFilter::try_new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(format!("a log level or filter ({error})")),
        });
        let file = values.optional_text(&LOG_FILE).map(PathBuf::from);
        let status_interval = Some(values.duration(&STATUS_INTERVAL)).filter(|interval| !interval.is_zero());
        let otlp_endpoint = values.optional_text(&OTLP_ENDPOINT);
        if otlp_endpoint.as_ref().is_some_and(|url| !(url.starts_with("http://") || url.starts_with("https://"))) {
            values.problem(&OTLP_ENDPOINT, "must be a URL such as http://127.0.0.1:4318");
        }
        Self { format, level, file, status_interval, otlp_endpoint }
    }
}
