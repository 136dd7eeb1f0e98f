//! Remembers across engines how many died in a row, and computes from that the pause before the next start.
//!
//! Plain numbers without a clock; owned by the run loop, which decides as which kind a death counts.

use crate::{gateway::admission::Pace, protocol::EngineTotals, telemetry::steps::StepMeter};
use std::time::Duration;

/// Longest pause before a restart.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The same if the engine was given work: a request must not keep others waiting for longer.
const MAX_PAUSE_AFTER_WORK: Duration = Duration::from_secs(5);
/// Pause after a failed reload of a model, doubled each time up to [`MAX_PAUSE`]: a file system or a device that is
/// missing for a while comes back.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);
/// The pause that is doubled if the first restart has no pause.
const MIN_DOUBLED_PAUSE: Duration = Duration::from_millis(100);

/// Facts about the engines so far that matter for the next one.
#[derive(Debug, Default)]
pub(in crate::gateway) struct History {
    /// Number of deaths without a finished step between them.
    pub(super) deaths_in_a_row: u32,
    /// Number of the last consecutive deaths that no work can have caused.
    pub(super) failed_starts: u32,
    /// True if the present engine, or the last one, had loaded the model.
    pub(super) was_ready: bool,
    /// True if the present engine, or the last one, was given any work.
    pub(super) was_given_work: bool,
    /// True if other work has a turn before the next suspect (`blame::Gate`).
    pub(super) owes_others: bool,
    /// Engines that died before they were ready since the last one that was ready; they do not count in
    /// `deaths_in_a_row`.
    pub(super) failed_loads: u32,
    /// Totals of all engines that died.
    pub(super) totals: EngineTotals,
    pub(super) pace: Pace,
    /// Counts tokens for metrics as they are reported.
    pub(super) meter: StepMeter,
}

impl History {
    /// Forgets earlier deaths, because an engine works or has lived for a while.
    pub(super) fn forgive(&mut self) {
        self.deaths_in_a_row = 0;
        self.failed_starts = 0;
    }

    pub(super) fn on_death(&mut self, is_of_work: bool) {
        self.deaths_in_a_row += 1;
        self.failed_starts = if is_of_work { 0 } else { self.failed_starts + 1 };
    }

    /// The pause before the next start; `first` is the pause after the first death.
    pub(super) fn pause(&self, first: Duration) -> Duration {
        let longest = if self.was_given_work { MAX_PAUSE_AFTER_WORK } else { MAX_PAUSE };
        match self.failed_loads {
            0 => pause_after(self.deaths_in_a_row, first).min(longest),
            failed => pause_after_load(failed),
        }
    }
}

/// The pause after this many deaths in a row: `first`, then doubled each time up to [`MAX_PAUSE`].
fn pause_after(deaths_in_a_row: u32, first: Duration) -> Duration {
    let doublings = deaths_in_a_row.saturating_sub(1);
    if doublings == 0 {
        return first.min(MAX_PAUSE);
    }
    first.max(MIN_DOUBLED_PAUSE).saturating_mul(2_u32.saturating_pow(doublings)).min(MAX_PAUSE)
}

/// The pause after `failed` consecutive failed reloads, ≥ 1.
fn pause_after_load(failed: u32) -> Duration {
    RELOAD_PAUSE.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1))).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_the_second_death_on_and_stay_within_their_bound() {
        let pauses = |first: u64| (1..=12).map(|deaths| pause_after(deaths, Duration::from_millis(first)).as_millis()).collect::<Vec<_>>();

        assert_eq!(pauses(0)[..6], [0, 200, 400, 800, 1_600, 3_200]);
        assert_eq!(pauses(1_000)[..6], [1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
        assert_eq!(pauses(0)[11], 30_000);
        assert_eq!(pause_after(u32::MAX, Duration::MAX), MAX_PAUSE);
    }
}
