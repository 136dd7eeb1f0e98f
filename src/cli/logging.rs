//! Where log lines go and how they look: standard error, for people or as JSON.

use crate::config::LogFormat;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

/// Sets up logging for the whole process; `level` is a level or a filter.
///
/// # Errors
/// If the filter cannot be understood, or logging was set up before.
pub(super) fn start(format: LogFormat, level: &str) -> anyhow::Result<()> {
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(level)?).with_writer(stderr);
    match format {
        LogFormat::Text => {
            // Colour codes in a file or a log collector help nobody; NO_COLOR is respected by tracing-subscriber.
            let lines = lines.with_target(false);
            if stderr().is_terminal() { lines.finish().try_init()? } else { lines.with_ansi(false).finish().try_init()? }
        }
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()?,
    }
    Ok(())
}

/// Sets up logging of an engine process: its lines go to the gateway, which keeps the last ones and logs them as its own
/// (`gateway/stderr_tail.rs` reads the level and whose words they are off them).
///
/// # Errors
/// If logging was set up before.
pub(super) fn start_plain() -> anyhow::Result<()> {
    let lines = tracing_subscriber::fmt().with_writer(stderr).with_ansi(false).without_time();
    Ok(lines.finish().try_init()?)
}
