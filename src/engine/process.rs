//! The engine process: its life from start to end.

use std::process::ExitCode;

/// Runs an engine for the gateway with the process id `parent_pid`, whose socket is standard input.
#[must_use]
pub fn main(parent_pid: u32) -> ExitCode {
    tracing::error!(parent_pid, "this build has no engine");
    ExitCode::FAILURE
}
