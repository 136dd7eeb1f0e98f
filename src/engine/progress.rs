//! Decides when the progress of a prompt is reported: not with each step, because steps can take a millisecond.

use std::time::{Duration, Instant};

/// The shortest time between two reports of one prompt.
const BETWEEN_REPORTS: Duration = Duration::from_millis(250);

/// The reports of one sequence's prompt.
#[derive(Debug)]
pub(super) struct ProgressReports {
    last: Instant,
}

impl ProgressReports {
    /// The reports of a sequence that arrived `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now }
    }

    /// True if a report is due `now`; it then counts as made.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.last) >= BETWEEN_REPORTS;
        if due {
            self.last = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_reported_four_times_a_second_at_most() {
        let begin = Instant::now();
        let mut reports = ProgressReports::new(begin);

        let due: Vec<u64> = (0..100).map(|step| step * 10).filter(|ms| reports.is_due(begin + Duration::from_millis(*ms))).collect();

        assert_eq!(due, [250, 500, 750]);
    }
}
