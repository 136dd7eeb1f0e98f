//! Options of the supervision of the engine process.

use super::{Kind, OptionSpec, values::SettingsReader};
use std::time::Duration;

/// The cloud that is asked whether it takes the machine back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preemption {
    /// Google Compute Engine, if this machine is one of its.
    Auto,
    /// Google Compute Engine.
    Gcp,
    /// None.
    None,
}

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
    /// Time between two tests of an idle engine; `None` for no tests. Default 60 s.
    pub canary_interval: Option<Duration>,
    /// The cloud that is asked whether it takes the machine back. Default `Auto`.
    pub preemption: Preemption,
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

const CANARY_INTERVAL: OptionSpec = OptionSpec::new(
    "canary_interval",
    Kind::Duration { min_s: 0, max_s: 86_400 },
    "60s",
    "Time between two tests of an idle engine by one token; while they fail, /readyz is 503. 0 for no tests.",
);

const PREEMPTION: OptionSpec = OptionSpec::new(
    "preemption",
    Kind::Choice(&["auto", "gcp", "none"]),
    "auto",
    "Cloud whose metadata server is asked whether it takes this (spot) machine back, 30 seconds before: the server then drains for up to 20, or 13 if it has a prefix cache to save. auto is gcp on a machine of Google's, else none.",
);

pub(super) const OPTIONS: &[OptionSpec] =
    &[MAX_WAITING, STALL_TIMEOUT, LOAD_TIMEOUT, RESTART_BACKOFF, MAX_RESTARTS, CANARY_INTERVAL, PREEMPTION];

impl SupervisionConfig {
    pub(super) fn read(values: &mut SettingsReader) -> Self {
        Self {
            max_waiting: values.integer(&MAX_WAITING),
            stall_timeout: values.duration(&STALL_TIMEOUT),
            load_timeout: values.duration(&LOAD_TIMEOUT),
            restart_backoff: values.duration(&RESTART_BACKOFF),
            max_restarts: values.integer(&MAX_RESTARTS),
            canary_interval: Some(values.duration(&CANARY_INTERVAL)).filter(|interval| !interval.is_zero()),
            preemption: values.choice(&PREEMPTION, |word| match word {
                "auto" => Some(Preemption::Auto),
                "gcp" => Some(Preemption::Gcp),
                "none" => Some(Preemption::None),
                _ => None,
            }),
        }
    }
}
