//! The latest proof that an engine makes progress: written by the run loop at each tick, read by others.
//!
//! `heartbeat` decides when an engine is given up; this file only publishes what it counts.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// The published counts. The two need not belong to the same tick.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    ticks: AtomicU64,
    still_seconds: AtomicU32,
}

/// The pulse at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PulseReading {
    /// Number of ticks of the run loop, one a second while there is an engine process.
    pub ticks: u64,
    /// Time since the engine last did what it has to: finish steps while it has work, answer pings and questions. 0
    /// while it loads.
    pub still: Duration,
}

impl Pulse {
    /// Publishes a tick at which the engine has made no progress for so many seconds.
    pub(super) fn on_tick(&self, still_seconds: u32) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.still_seconds.store(still_seconds, Ordering::Relaxed);
    }

    /// Publishes that there is no engine to wait for.
    pub(super) fn on_exit(&self) {
        self.still_seconds.store(0, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> PulseReading {
        let still = Duration::from_secs(self.still_seconds.load(Ordering::Relaxed).into());
        PulseReading { ticks: self.ticks.load(Ordering::Relaxed), still }
    }
}
