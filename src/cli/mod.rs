//! The command line: takes arguments and returns an exit code.
//!
//! Owns the process: arguments, environment, signals, logs, exit codes. Each command has a file, which also has the
//! helpers that only this command uses. Errors end here, as one sentence on standard error.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | all went well; for `serve`: stopped by a signal, and drained |
//! | 1 | it failed |
//! | 64 | the command line or the configuration is wrong (`EX_USAGE` of sysexits.h) |

mod args;
mod bench;
mod foreign;
mod logging;
mod models;
mod preemption;
mod pull;
mod rpc_worker;
mod serve;
mod service_manager;
mod signals;
mod spelling;
mod status_line;
mod summary;

use crate::config::{ConfigErrors, Environment};
use args::Invocation;
use std::{
    io::{self, Write},
    process::ExitCode,
};
use tracing::Level;

const USAGE: u8 = 64;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let _last_lines = logging::FinishOnDrop;
    crate::llama::return_freed_memory();
    let (arguments, notes) = spelling::canonical(std::env::args_os().skip(1).collect());
    let environment = Environment::of_process();
    logging::expect(spelling::log_format(&arguments, &environment));
    let invocation = match args::parse(arguments) {
        Ok(invocation) => invocation,
        Err(error) => {
            if error.use_stderr() {
                let text = error.render();
                let text = if logging::is_terminal() { text.ansi().to_string() } else { text.to_string() };
                logging::write_text(Level::ERROR, &(text + &foreign::advice(&error)));
                return ExitCode::from(USAGE);
            }
            // It is no failure that the reader has closed the pipe (`| head`).
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    let outcome = match invocation {
        Invocation::Serve { mut flags, mode } => {
            flags.notes = notes;
            serve::run(&flags, mode, &environment)
        }
        Invocation::Pull { name, models_dir } => pull::run(&name, models_dir.as_deref(), &environment),
        Invocation::Models { models_dir } => models::run(models_dir.as_deref(), &environment),
        Invocation::Bench(action) => bench::run(action),
        Invocation::RpcWorker(worker) => rpc_worker::run(&worker),
        Invocation::Engine { parent_pid } => return child(|| crate::engine::process::main(parent_pid)),
        Invocation::ConstraintTrial { parent_pid } => return child(|| crate::constrain::trial::main(parent_pid)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let in_configuration = error.downcast_ref::<ConfigErrors>();
            if let Some(format) = in_configuration.and_then(|errors| errors.log_format) {
                logging::expect(format);
            }
            logging::write_failure(&format!("llamero: {error:#}\n"));
            if in_configuration.is_some() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Runs the main function of a process that another process of this program started.
fn child(main: impl FnOnce() -> ExitCode) -> ExitCode {
    match logging::start_plain() {
        Ok(()) => main(),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes a command's result to standard output. A reader that closes the pipe early (`| head`) is no error.
#[expect(clippy::disallowed_methods, reason = "commands end with it; a server and an engine never write to standard output")]
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
