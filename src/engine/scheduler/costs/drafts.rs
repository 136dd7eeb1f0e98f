//! The time that rows of drafts add to a decode step.

use super::{decode::DecodeCost, line::CostLine};

/// Number of classes of steps, by their number of sequences: 1, 2–3, 4–7 … up to 256. Beside other sequences, draft
/// rows may be one graph more.
const CLASSES: usize = 9;

/// See the module.
#[derive(Debug)]
pub(super) struct DraftCost {
    /// The added time for each class.
    added: [CostLine; CLASSES],
}

impl Default for DraftCost {
    fn default() -> Self {
        Self { added: std::array::from_fn(|_| CostLine::default()) }
    }
}

impl DraftCost {
    /// Learns that `draft_rows` draft rows, ≥ 1, added `added_seconds` to a step with `sequences` sequences.
    pub(super) fn observe(&mut self, sequences: u32, draft_rows: u32, added_seconds: f64) {
        self.added[class(sequences)].observe(draft_rows.into(), added_seconds);
    }

    /// The time that draft rows add to a step with `sequences` sequences, seconds: fixed, and per row. `None` until
    /// some were measured.
    pub(super) fn expected(&self, sequences: u32, decode: &DecodeCost) -> Option<(f64, f64)> {
        self.added[class(sequences)].fit(decode.max_fixed())
    }
}

/// The class of a step with `sequences` sequences, ≥ 1.
fn class(sequences: u32) -> usize {
    (sequences.max(1).ilog2() as usize).min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_of_few_sequences_teach_nothing_about_many() {
        let mut cost = DraftCost::default();
        cost.observe(3, 6, 0.006);

        let decode = DecodeCost::default();
        assert!(cost.expected(2, &decode).is_some() && cost.expected(3, &decode).is_some());
        assert_eq!([1, 4, 256].map(|sequences| cost.expected(sequences, &decode)), [None; 3]);
    }
}
