//! The time of steps that have only decode rows, by the number of these rows.

use std::collections::BTreeMap;

/// Weight of a new measurement of a pure decode step.
pub(super) const NEW_WEIGHT: f64 = 0.25;
/// Number of successive mixed steps after which one goes without prompt rows, and of successive steps with drafts after
/// which one goes without drafts. Otherwise the time of a pure decode step would never be seen under constant load.
/// Costs less than 1 % of the prefill speed.
pub(super) const PROBE_EVERY: u32 = 64;

/// The time of steps with only decode rows, by the number of rows, seconds; at most one entry for each slot.
#[derive(Debug, Default)]
pub(super) struct DecodeCost {
    seconds: BTreeMap<u32, f64>,
}

impl DecodeCost {
    /// True if nothing was measured yet.
    pub(super) fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// True if a step with `rows` rows was measured.
    pub(super) fn knows(&self, rows: u32) -> bool {
        self.seconds.contains_key(&rows)
    }

    /// Learns that a step with `rows` rows took `seconds`. `weight` is the share of the new measurement in the
    /// estimate, 0–1.
    pub(super) fn observe(&mut self, rows: u32, seconds: f64, weight: f64) {
        self.seconds.entry(rows).and_modify(|old| *old += weight * (seconds - *old)).or_insert(seconds);
    }

    /// The time of a step with `rows` rows, seconds: measured, or derived from the nearest numbers of rows that were
    /// measured. It is too low rather than too high.
    pub(super) fn expected(&self, rows: u32) -> Option<f64> {
        let below = self.seconds.range(..=rows).next_back();
        let above = self.seconds.range(rows..).next();
        match (below, above) {
            (Some((low, a)), Some((high, b))) if low < high => Some(a + (b - a) * f64::from(rows - low) / f64::from(high - low)),
            (Some((_, a)), _) => Some(*a),
            // A step's time grows slower than its rows, so fewer rows take at least this long.
            (None, Some((high, b))) => Some(b * f64::from(rows) / f64::from(*high)),
            (None, None) => None,
        }
    }

    /// As [`Self::expected`], but too high rather than too low: the time of the next larger number of rows that was
    /// measured. Infinite before any was measured.
    pub(super) fn at_most(&self, rows: u32) -> f64 {
        let above = self.seconds.range(rows..).next().or_else(|| self.seconds.last_key_value());
        above.map_or(f64::INFINITY, |(_, seconds)| *seconds)
    }

    /// The largest fixed time that one more graph in a step takes, seconds: a graph with hardly any rows takes about as
    /// long, whether they decode or not.
    pub(super) fn max_fixed(&self) -> f64 {
        self.expected(2).unwrap_or(f64::INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unseen_row_counts_are_interpolated_and_never_overestimated() {
        let mut cost = DecodeCost::default();
        assert_eq!(cost.expected(3), None);

        cost.observe(4, 0.020, 0.25);
        cost.observe(8, 0.030, 0.25);

        for (rows, expected) in [(4, 0.020), (6, 0.025), (16, 0.030), (1, 0.005)] {
            let seconds = cost.expected(rows).unwrap();
            assert!((seconds - expected).abs() < 1e-9, "{rows} rows: {seconds}");
        }
    }

    #[test]
    fn the_upper_bound_is_the_next_measured_row_count() {
        let mut cost = DecodeCost::default();
        assert_eq!(cost.at_most(3), f64::INFINITY);

        cost.observe(4, 0.020, 0.25);
        cost.observe(8, 0.030, 0.25);

        assert_eq!([1, 5, 9].map(|rows| cost.at_most(rows)), [0.020, 0.030, 0.030]);
    }
}
