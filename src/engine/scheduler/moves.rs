//! What it costs to move content between the tiers of the cache, learnt from the steps that did.
//!
//! Streams wait for it as they wait for prompt rows, so a step that moves something beside streams has fewer of these.

/// Before anything was moved: a gigabyte a second, of which most is for fresh pages.
const FIRST_SECONDS_PER_BYTE: f64 = 1e-9;
/// Weight of a new measurement.
const NEW_WEIGHT: f64 = 0.25;

/// Seconds by bytes.
#[derive(Debug)]
pub(super) struct MoveCost {
    seconds_per_byte: f64,
}

impl Default for MoveCost {
    fn default() -> Self {
        Self { seconds_per_byte: FIRST_SECONDS_PER_BYTE }
    }
}

impl MoveCost {
    /// A step that moved so many bytes, ≥ 1, took so many seconds more than its rows were expected to.
    pub(super) fn observe(&mut self, bytes: u64, seconds: f64) {
        // Far below 2⁵³.
        let measured = seconds.max(0.0) / bytes as f64;
        self.seconds_per_byte += NEW_WEIGHT * (measured - self.seconds_per_byte);
    }

    /// What moving so many takes, seconds.
    pub(super) fn seconds(&self, bytes: u64) -> f64 {
        bytes as f64 * self.seconds_per_byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_byte_costs_follows_what_was_measured() {
        let mut cost = MoveCost::default();
        assert_eq!(cost.seconds(2_000_000_000), 2.0);
        for _ in 0..50 {
            cost.observe(1_000_000, 0.004);
        }
        assert!((cost.seconds(10_000_000) - 0.04).abs() < 1e-6);

        cost.observe(1_000_000, -1.0);
        assert!((cost.seconds(10_000_000) - 0.03).abs() < 1e-6, "no step is faster for it");
    }
}
