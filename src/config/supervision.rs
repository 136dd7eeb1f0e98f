//! Options of the supervision of the engine process.

use super::{Kind, OptionSpec, values::SettingsReader};
use std::time::Duration;

/// Supervision of the engine process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisionConfig {
    /// Maximum number of sequences that wait for a slot; further requests are refused. Default 512.
    pub max_waiting: usize,
    /// Time after which a busy engine that finishes no step is killed. Default 120 s.
    pub stall_timeout: Duration,
    /// Time after which a load during which the engine reads nothing is given up; 0: never. Default 300 s, as Ollama.
    pub load_timeout: Duration,
    /// First pause before a restart, doubled on each consecutive death, up to 30 s. Default 0: the first restart is
    /// immediate.
    pub restart_backoff: Duration,
    /// Number of consecutive engines that die before any was ready, or ready and without any work, after which the
    /// server gives up. Default 5.
    pub max_restarts: u32,
}

const MAX_WAITING: OptionSpec = OptionSpec::new(
    "max_waiting",
    Kind::Integer { min: 0, max: 65_536, auto: &[] },
    "512",
    "Sequences that may wait for a place before requests are refused with 503.",
);
const STALL_TIMEOUT: OptionSpec = OptionSpec::new(
    "stall_timeout",
    Kind::Duration { min_s: 1, max_s: 86_400 },
    "120s",
    "A busy engine that finishes no step for this long is killed and started again.",
);
const LOAD_TIMEOUT: OptionSpec = OptionSpec::new(
    "load_timeout",
    Kind::Duration { min_s: 0, max_s: 604_800 },
    "300s",
    "Time after which an engine that reads nothing of the model is killed, however long the whole load takes; 0 never kills.",
);
const RESTART_BACKOFF: OptionSpec = OptionSpec::new(
    "restart_backoff",
    Kind::Duration { min_s: 0, max_s: 30 },
    "0s",
    "First pause before a dead engine is started again; doubled with each death in a row, up to 30 seconds, or 5 after work.",
);
const MAX_RESTARTS: OptionSpec = OptionSpec::new(
    "max_restarts",
    Kind::Integer { min: 0, max: 1000, auto: &[] },
    "5",
    "Number of engines in a row that die before they are ready, or ready but without any work, after which the server gives up.",
);

pub(super) const OPTIONS: &[OptionSpec] = &[MAX_WAITING, STALL_TIMEOUT, LOAD_TIMEOUT, RESTART_BACKOFF, MAX_RESTARTS];

impl SupervisionConfig {
    pub(super) fn read(values: &mut SettingsReader) -> Self {
        Self {
            max_waiting: values.integer(&MAX_WAITING),
            stall_timeout: values.duration(&STALL_TIMEOUT),
            load_timeout: values.duration(&LOAD_TIMEOUT),
            restart_backoff: values.duration(&RESTART_BACKOFF),
            max_restarts: values.integer(&MAX_RESTARTS),
        }
    }
}
