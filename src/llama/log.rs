//! Writes llama.cpp's log to `tracing`, and keeps the last errors, so that a failure to load can give the reason.
//!
//! Owns a list of at most eight lines. llama.cpp's details (hundreds of lines per load) are logged as `debug`; warnings
//! and errors keep their level. Prompts never get here: llama.cpp does not log them.

use std::{collections::VecDeque, sync::Mutex};

/// Maximum number of errors that are kept; a failed load logs two or three.
const KEPT_LINES: usize = 8;

static COMPLAINTS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The importance of a line of llama.cpp's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Information, debugging, and continued lines.
    Detail,
    /// A warning: something is degraded.
    Warning,
    /// An error: something failed.
    Error,
}

/// Takes one line from llama.cpp; called on any thread that runs its code.
pub(super) fn on_line(level: Level, line: &str) {
    let line = line.trim();
    // llama.cpp shows progress as a row of dots.
    if line.trim_matches('.').is_empty() {
        return;
    }
    match level {
        Level::Detail => tracing::debug!(target: "llama.cpp", "{line}"),
        Level::Warning => tracing::warn!(target: "llama.cpp", "{line}"),
        Level::Error => {
            tracing::error!(target: "llama.cpp", "{line}");
            keep(line);
        }
    }
}

fn keep(line: &str) {
    // The list is complete even if the lock is poisoned.
    let mut complaints = COMPLAINTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if complaints.len() == KEPT_LINES {
        complaints.pop_front();
    }
    complaints.push_back(line.to_owned());
}

/// The errors logged since the last call, oldest first, as one line; `None` if there were none.
pub(super) fn take_complaints() -> Option<String> {
    let mut complaints = COMPLAINTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let lines: Vec<String> = complaints.drain(..).collect();
    if lines.is_empty() { None } else { Some(lines.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_errors_are_kept_in_order_and_handed_out_once() {
        for number in 0..=KEPT_LINES {
            on_line(Level::Error, &format!("error {number}\n"));
        }
        on_line(Level::Warning, "a warning is not a reason");
        on_line(Level::Error, "....");

        let complaints = take_complaints().unwrap();

        assert!(complaints.starts_with("error 1; error 2"), "{complaints}");
        assert!(complaints.ends_with(&format!("error {KEPT_LINES}")), "{complaints}");
        assert_eq!(take_complaints(), None);
    }
}
