//! The reasons why a server is stopped from outside: signals, and a cloud that takes the machine back.

use super::super::{preemption::PreemptionNotice, signals::StopSignals};
use crate::{
    config::{Environment, Preemption},
    gateway::handle::EngineHandle,
};
use std::fmt;

/// A reason to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopCause {
    /// A signal of this name.
    Signal(&'static str),
    /// The cloud takes this machine back.
    Preempted,
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal(name) => name,
            Self::Preempted => "the cloud takes this machine back",
        })
    }
}

/// Waits for reasons to stop.
#[derive(Debug)]
pub(super) struct StopCauses {
    signals: StopSignals,
    notice: PreemptionNotice,
    engine: EngineHandle,
    has_signal: bool,
}

impl StopCauses {
    /// Asks the metadata server from now on, if this is a machine to ask on.
    pub(super) fn watch(signals: StopSignals, preemption: Preemption, environment: &Environment, engine: EngineHandle) -> Self {
        Self { signals, notice: PreemptionNotice::watch(preemption, environment), engine, has_signal: false }
    }

    /// Waits for the next reason. The notice of the cloud comes once; clients and probes are told of it from then on.
    /// The first signal after it is the system's own stop, which the notice announced: it is no further reason.
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> StopCause {
        tokio::select! {
            biased;
            () = self.notice.arrived() => {
                self.engine.set_preempted();
                if !self.has_signal {
                    self.signals.expect_one();
                }
                StopCause::Preempted
            }
            name = self.signals.next() => {
                self.has_signal = true;
                StopCause::Signal(name)
            }
        }
    }
}
