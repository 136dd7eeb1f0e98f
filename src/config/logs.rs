//! Options of log lines.

use super::{Kind, OptionSpec, values::SettingsReader};
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

const LOG_FORMAT: OptionSpec =
    OptionSpec::new("log_format", Kind::Choice(&["text", "json"]), "text", "Log lines for people, or one JSON object per line.");
const LOG_LEVEL: OptionSpec =
    OptionSpec::new("log_level", Kind::Text, "info", "error, warn, info, debug or trace; or a filter such as info,llamero::gateway=debug.")
        .also(&[], &["RUST_LOG"]);

pub(super) const OPTIONS: &[OptionSpec] = &[LOG_FORMAT, LOG_LEVEL];

/// Reads the format, and a filter that `tracing_subscriber` understands.
pub(super) fn read(values: &mut SettingsReader) -> (LogFormat, String) {
    let format = values.choice(&LOG_FORMAT, |word| match word {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let level = values.parsed(&LOG_LEVEL, |text| match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("a log level or filter ({error})")),
    });
    (format, level)
}
