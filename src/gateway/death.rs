//! Causes of an engine's death, in words for clients, for operators and for metrics.

use std::{fmt, process::ExitStatus};

/// The cause of an engine's death.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeathCause {
    /// Killed by this signal, which the gateway did not send.
    Signal(i32),
    /// The process ended by itself with this exit code.
    Exit(i32),
    /// The process was alive but stuck: killed by the gateway.
    Stalled,
    /// The engine sent bytes that are no message of the protocol, or closed the connection and lived on: killed by the
    /// gateway.
    Protocol,
    /// The model could not be loaded.
    LoadFailed,
    /// The model's file was changed since the server opened it.
    ModelChanged,
    /// The process could not be started.
    LaunchFailed,
    /// The process did not end even when killed (a hung device): a new one would not get its memory.
    Unkillable,
}

impl DeathCause {
    /// The cause of death that an exit status stands for.
    #[must_use]
    pub fn of_exit(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        status.signal().map_or_else(|| Self::Exit(status.code().unwrap_or(-1)), Self::Signal)
    }

    /// All label values of the death counter. They are closed, so that each exists at zero before the first death.
    pub const COUNTED: [&'static str; 23] = [
        "signal_1",
        "signal_2",
        "signal_3",
        "signal_4",
        "signal_5",
        "signal_6",
        "signal_7",
        "signal_8",
        "signal_9",
        "signal_11",
        "signal_15",
        "signal_31",
        "signal_other",
        "exit_0",
        "exit_1",
        "exit_101",
        "exit_other",
        "stalled",
        "protocol",
        "load_failed",
        "model_changed",
        "launch_failed",
        "unkillable",
    ];

    /// The label value of the death counter under which this cause counts. Rare signals and exit codes share one.
    #[must_use]
    pub fn counted_as(&self) -> &'static str {
        let label = self.label();
        let other = if matches!(self, Self::Signal(_)) { "signal_other" } else { "exit_other" };
        Self::COUNTED.into_iter().find(|counted| *counted == label).unwrap_or(other)
    }

    /// True if the engine may have died of its work.
    #[must_use]
    pub fn is_of_work(&self) -> bool {
        !matches!(self, Self::LoadFailed | Self::ModelChanged | Self::LaunchFailed)
    }

    /// True if a process outside may have ended the engine, by a signal that no fault of the engine's own raises: an
    /// operator, a service manager, the kernel where memory is short. Such a death says less about the work than
    /// others.
    #[must_use]
    pub fn is_from_outside(&self) -> bool {
        // SIGHUP, SIGINT, SIGKILL, SIGTERM.
        matches!(self, Self::Signal(1 | 2 | 9 | 15))
    }

    /// A word for logs, such as `signal_9` or `stalled`.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Signal(signal) => format!("signal_{signal}"),
            Self::Exit(code) => format!("exit_{code}"),
            Self::Stalled => "stalled".to_owned(),
            Self::Protocol => "protocol".to_owned(),
            Self::LoadFailed => "load_failed".to_owned(),
            Self::ModelChanged => "model_changed".to_owned(),
            Self::LaunchFailed => "launch_failed".to_owned(),
            Self::Unkillable => "unkillable".to_owned(),
        }
    }
}

impl fmt::Display for DeathCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal {signal}, {name}"),
                None => write!(f, "signal {signal}"),
            },
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Stalled => f.write_str("stalled"),
            Self::Protocol => f.write_str("broken connection"),
            Self::LoadFailed => f.write_str("the model could not be loaded"),
            Self::ModelChanged => f.write_str("the model file was changed since the server opened it"),
            Self::LaunchFailed => f.write_str("the process could not be started"),
            Self::Unkillable => f.write_str("does not end when killed"),
        }
    }
}

/// The name and meaning of a signal that ends engines, as an operator would look it up.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        4 => "SIGILL: an instruction that this processor lacks",
        6 => "SIGABRT: an assertion or an exception",
        7 => "SIGBUS: the model file was changed or truncated",
        9 => "SIGKILL: out of memory, or killed by hand",
        11 => "SIGSEGV: invalid memory access",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// The death of one engine, with all that is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The cause of the death.
    pub cause: DeathCause,
    /// Details beyond the cause, if there are any; may name files.
    pub detail: Option<String>,
    /// The engine's last lines on stderr, oldest first.
    pub last_lines: Vec<String>,
}

impl Death {
    /// A death without details.
    #[must_use]
    pub fn new(cause: DeathCause) -> Self {
        Self { cause, detail: None, last_lines: Vec::new() }
    }

    /// The whole report, over several lines, for operators.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.cause.to_string();
        if let Some(detail) = &self.detail {
            text.push_str(": ");
            text.push_str(detail);
        }
        let mut lines = self.last_lines.iter().filter(|line| !self.is_told(line)).peekable();
        if lines.peek().is_some() {
            text.push_str("\nits last lines were:");
        }
        for line in lines {
            text.push_str("\n  ");
            text.push_str(line);
        }
        text
    }

    /// True if the detail says what a line of the engine's log says.
    fn is_told(&self, line: &str) -> bool {
        let message = line.rsplit("llama.cpp: ").next().unwrap_or(line);
        self.detail.as_ref().is_some_and(|detail| detail.contains(message) || line.contains(detail.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_the_cause_the_detail_and_the_last_lines() {
        let death = Death {
            cause: DeathCause::Signal(6),
            detail: Some("while loading".to_owned()),
            last_lines: vec!["GGML_ASSERT(n > 0) failed".to_owned()],
        };

        let report = death.report();

        assert_eq!(
            report,
            "signal 6, SIGABRT: an assertion or an exception: while loading\nits last lines were:\n  GGML_ASSERT(n > 0) failed"
        );
    }

    #[test]
    fn a_line_that_repeats_the_detail_is_left_out() {
        let death = Death {
            cause: DeathCause::LoadFailed,
            detail: Some("llama.cpp could not load the model: unknown architecture: 'nope'; it failed".to_owned()),
            last_lines: vec![
                "ERROR load: llama.cpp: unknown architecture: 'nope'".to_owned(),
                "ERROR engine: ended error=llama.cpp could not load the model: unknown architecture: 'nope'; it failed".to_owned(),
                "WARN load: llama.cpp: something else".to_owned(),
            ],
        };

        let expected = "the model could not be loaded: llama.cpp could not load the model: unknown architecture: 'nope'; it failed\n\
                        its last lines were:\n  WARN load: llama.cpp: something else";
        assert_eq!(death.report(), expected);
    }

    #[test]
    fn signals_that_others_send_are_from_outside_and_those_of_faults_are_not() {
        assert!([1, 2, 9, 15].into_iter().all(|signal| DeathCause::Signal(signal).is_from_outside()));
        assert!(![4, 6, 7, 8, 11].into_iter().any(|signal| DeathCause::Signal(signal).is_from_outside()));
        assert!(!DeathCause::Exit(9).is_from_outside() && !DeathCause::Stalled.is_from_outside());
    }

    #[test]
    fn exit_statuses_become_signals_and_codes() {
        use std::os::unix::process::ExitStatusExt;

        assert_eq!(DeathCause::of_exit(ExitStatus::from_raw(9)), DeathCause::Signal(9));
        assert_eq!(DeathCause::of_exit(ExitStatus::from_raw(3 << 8)), DeathCause::Exit(3));
        assert_eq!(DeathCause::Signal(9).label(), "signal_9");
    }
}
