//! The time for each byte that is moved between the tiers of the cache, seconds, learnt from the steps that moved some.
//!
//! Streams wait for moves as they wait for prompt rows, so a step that moves content beside streams has fewer prompt
//! rows.

/// The assumption before anything was moved: a gigabyte a second, mainly for fresh pages.
const FIRST_SECONDS_PER_BYTE: f64 = 1e-9;
/// The lower limit of the estimate: no memory is faster.
const MIN_SECONDS_PER_BYTE: f64 = 1e-11;
/// The weight of the first assumption, bytes.
const FIRST_BYTES: f64 = 16e6;
/// Factor of the earlier measurements when a new one is added.
const FADE: f64 = 0.75;
/// Largest measurement that counts, in multiples of the expected time: a step may be late for other reasons.
const MAX_OFF: f64 = 8.0;

/// Seconds and bytes of the latest moves, which fade. Rows that took more or less time than expected even out.
#[derive(Debug)]
pub(super) struct MoveCost {
    seconds: f64,
    bytes: f64,
}

impl Default for MoveCost {
    fn default() -> Self {
        Self { seconds: FIRST_SECONDS_PER_BYTE * FIRST_BYTES, bytes: FIRST_BYTES }
    }
}

impl MoveCost {
    /// Learns that a step that moved `bytes` bytes, ≥ 1, took `seconds` more than its rows were expected to.
    pub(super) fn observe(&mut self, bytes: u64, seconds: f64) {
        let max = MAX_OFF * self.seconds(bytes);
        self.seconds = FADE * self.seconds + seconds.clamp(-max, max);
        // Far below 2⁵³.
        self.bytes = FADE * self.bytes + bytes as f64;
    }

    /// The time that moving `bytes` bytes takes, seconds.
    pub(super) fn seconds(&self, bytes: u64) -> f64 {
        bytes as f64 * (self.seconds / self.bytes).max(MIN_SECONDS_PER_BYTE)
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

        for _ in 0..50 {
            cost.observe(1_000_000, -1.0);
        }
        assert!(cost.seconds(10_000_000) > 0.0, "no step is faster for it");
    }

    #[test]
    fn one_late_step_is_no_measure() {
        let mut cost = MoveCost::default();
        cost.observe(1_000_000, 5.0);

        assert!(cost.seconds(1_000_000) < 0.002, "{}", cost.seconds(1_000_000));
    }
}
