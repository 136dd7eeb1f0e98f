//! Writes log lines, including panics, to standard error or to a file: for people or as JSON.
//!
//! Everything that this process writes to standard error goes through one writer that never waits for its reader
//! (`telemetry/log_writer.rs`). With a log file, lines go there from [`start`] on.

use crate::{
    config::{LogConfig, LogFormat},
    telemetry::log_writer,
};
use anyhow::Context as _;
use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::Write as _,
    io::IsTerminal,
    panic::{self, PanicHookInfo},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tracing::Level;
use tracing_subscriber::{EnvFilter, reload, util::SubscriberInitExt};

/// Maximum time that the end of the process waits for its last lines to be read.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Maximum time that a panic in an engine waits for its lines to be read: an abort may follow, and the gateway reads at
/// once.
const PANIC_LINES: Duration = Duration::from_millis(200);

/// True if what is written to standard error is JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Sets the format of everything that [`write_text`] writes from now on.
pub(super) fn expect(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Replaces the filter of log lines.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Sets up logging for the whole process.
///
/// # Errors
/// The filter cannot be understood, the file cannot be opened, or logging was set up before.
pub(super) fn start(config: &LogConfig) -> anyhow::Result<()> {
    if let Some(path) = &config.file {
        write_text(Level::INFO, &format!("llamero: log lines go to {}\n", path.display()));
        finish();
        log_writer::write_to_file(path).with_context(|| format!("--log-file {} cannot be opened", path.display()))?;
    }
    let writer = log_writer::process_log()?;
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(&config.level)?).with_writer(move || writer.clone());
    let lines = lines.log_internal_errors(false);
    match config.format {
        LogFormat::Text => {
            // No colour codes in a file or a log collector; tracing-subscriber respects NO_COLOR.
            let has_colours = config.file.is_none() && is_terminal();
            let lines = lines.with_target(false).with_ansi(has_colours && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()));
            let lines = lines.with_filter_reloading();
            keep(lines.reload_handle());
            lines.finish().try_init()?;
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false).with_filter_reloading();
            keep(lines.reload_handle());
            lines.finish().try_init()?;
        }
    }
    expect(config.format);
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn keep<S: 'static>(handle: reload::Handle<EnvFilter, S>) {
    // Only a second start in one process finds one here, and that fails.
    let _ = SET_FILTER.set(Box::new(move |filter| handle.reload(filter)));
}

/// Changes the lines that are written from now on; `level` is a level or a filter.
///
/// # Errors
/// The filter cannot be understood, or logging was not set up.
pub(super) fn set_level(level: &str) -> anyhow::Result<()> {
    let set = SET_FILTER.get().context("logging was not set up")?;
    Ok(set(EnvFilter::try_new(level)?)?)
}

/// Sets up logging of an engine process. Its lines go to the gateway, which keeps the last ones and logs them as its
/// own (`gateway/stderr_tail.rs` reads level and target from them).
///
/// # Errors
/// Logging was set up before.
pub(super) fn start_plain() -> anyhow::Result<()> {
    let writer = log_writer::process_log()?;
    let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).log_internal_errors(false).with_ansi(false).without_time();
    lines.finish().try_init()?;
    panic::set_hook(Box::new(move |panicked| {
        log_panic(panicked);
        writer.flush(PANIC_LINES);
    }));
    Ok(())
}

/// Writes a text that is no log line of a module to the place of log lines: as it is, or as a JSON object if that is
/// expected. Like a log line, it is lost if it cannot be written.
pub(super) fn write_text(level: Level, text: &str) {
    let is_json = IS_JSON.load(Ordering::Relaxed);
    match log_writer::process_log() {
        Ok(writer) => writer.push(if is_json { json_line(level, text) } else { text.to_owned() }.into_bytes()),
        Err(_no_thread) => write_directly(level, text),
    }
}

/// Writes the reason why the process ends, to standard error even if log lines go to a file.
pub(super) fn write_failure(text: &str) {
    write_text(Level::ERROR, text);
    if log_writer::writes_to_file() {
        write_directly(Level::ERROR, text);
    }
}

/// Writes to standard error at once, unless its reader stalls for [`LAST_LINES`]: then the text is lost.
fn write_directly(level: Level, text: &str) {
    let is_json = IS_JSON.load(Ordering::Relaxed);
    let text = if is_json { json_line(level, text) } else { text.to_owned() };
    if log_writer::is_writable_within(LAST_LINES) {
        // A failure here cannot be reported; the exit code is still right.
        let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
    }
}

/// The object that `tracing-subscriber` writes for an event with this message.
fn json_line(level: Level, text: &str) -> String {
    let now = jiff::Timestamp::now();
    let line = serde_json::json!({"timestamp": format!("{now:.6}"), "level": level.as_str(), "message": text.trim_end()});
    format!("{line}\n")
}

/// True if standard error is a terminal.
pub(super) fn is_terminal() -> bool {
    rustix::stdio::stderr().is_terminal()
}

/// Waits, for at most [`LAST_LINES`], until everything is written.
pub(super) fn finish() {
    // Without a thread nothing was queued. If the reader stalls, the remaining lines are lost and this process ends.
    if let Ok(writer) = log_writer::process_log() {
        writer.flush(LAST_LINES);
    }
}

/// Calls [`finish`] when it is dropped, also after a panic.
pub(super) struct FinishOnDrop;

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        finish();
    }
}

/// Logs a panic in the words of the standard hook. That hook would write to standard error itself and wait for its
/// reader.
fn log_panic(panicked: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let mut text = format!("thread '{}' panicked", thread.name().unwrap_or("<unnamed>"));
    if let Some(place) = panicked.location() {
        // Writing to a String cannot fail.
        let _ = write!(text, " at {place}");
    }
    let payload = panicked.payload();
    let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    // Writing to a String cannot fail.
    let _ = write!(text, ": {}", message.unwrap_or("no message"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{backtrace}");
    }
    if tracing::enabled!(Level::ERROR) {
        tracing::error!("{text}");
    } else {
        // A `--log-level` for some modules only would hide the panic.
        write_text(Level::ERROR, &format!("{text}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_several_lines_is_one_line_of_json() {
        let line = json_line(Level::ERROR, "llamero: one\n  \"two\"\n");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();

        assert_eq!((line.matches('\n').count(), &read["level"], &read["message"]), (1, &"ERROR".into(), &"llamero: one\n  \"two\"".into()));
        assert!(read["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}
