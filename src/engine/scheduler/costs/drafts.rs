//! The time that rows of drafts add to a decode step.

use super::{decode::DecodeCost, line::CostLine};

/// Number of classes of steps, by their number of sequences: 1, 2–3, 4–7 … up to 256. Beside other sequences, draft
/// rows may be one graph more.
const CLASSES: usize = 9;

/// Number of steps without drafts after which their time is measured again; twice as many after each such measurement,
/// up to [`LONGEST_PATIENCE`]. Where drafts do not pay, measurements cost less than a thousandth in the long run.
const PATIENCE: u32 = 96;
const LONGEST_PATIENCE: u32 = 1536;
/// Weight of the earlier measurements when an old time is measured again: each may have been disturbed.
const OLD_WEIGHT: f64 = 0.1;

/// See the module.
#[derive(Debug)]
pub(super) struct DraftCost {
    classes: [Class; CLASSES],
}

/// The time of draft rows in steps of one class, and the age of that measurement.
#[derive(Debug)]
struct Class {
    /// The time that draft rows add.
    added: CostLine,
    /// Number of steps since it was measured.
    age: u32,
    /// The age at which it is measured again.
    patience: u32,
}

impl Default for DraftCost {
    fn default() -> Self {
        Self { classes: std::array::from_fn(|_| Class { added: CostLine::default(), age: PATIENCE, patience: PATIENCE }) }
    }
}

impl DraftCost {
    /// Learns that `draft_rows` draft rows, ≥ 1, added `added_seconds` to a step with `sequences` sequences.
    pub(super) fn observe(&mut self, sequences: u32, draft_rows: u32, added_seconds: f64) {
        let class = &mut self.classes[class(sequences)];
        if class.age < class.patience {
            class.patience = PATIENCE;
        } else {
            let is_first = class.added.fit(0.0).is_none();
            class.added.fade(OLD_WEIGHT);
            class.patience = if is_first { PATIENCE } else { (2 * class.patience).min(LONGEST_PATIENCE) };
        }
        class.age = 0;
        class.added.observe(draft_rows.into(), added_seconds);
    }

    /// Counts a step.
    pub(super) fn pass_step(&mut self) {
        for class in &mut self.classes {
            class.age = class.age.saturating_add(1);
        }
    }

    /// True if the time for steps with `sequences` sequences is unknown, or was measured long ago.
    pub(super) fn is_old(&self, sequences: u32) -> bool {
        let class = &self.classes[class(sequences)];
        class.age >= class.patience || class.added.fit(0.0).is_none()
    }

    /// The time that draft rows add to a step with `sequences` sequences, seconds: fixed, and per row. `None` until
    /// some were measured.
    pub(super) fn expected(&self, sequences: u32, decode: &DecodeCost) -> Option<(f64, f64)> {
        self.classes[class(sequences)].added.fit(decode.max_fixed())
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
        assert_eq!([1, 2, 4].map(|sequences| cost.is_old(sequences)), [true, false, true]);
    }

    #[test]
    fn an_old_measurement_gives_way_to_a_new_one_and_is_made_less_often_each_time_drafts_do_not_pay() {
        let mut cost = DraftCost::default();
        cost.observe(4, 3, 0.300);
        let intervals = [(); 6].map(|()| {
            let steps = (0..10_000).take_while(|_| {
                cost.pass_step();
                !cost.is_old(4)
            });
            let steps = steps.count();
            cost.observe(4, 3, 0.003);
            steps + 1
        });
        assert_eq!(intervals, [96, 192, 384, 768, 1536, 1536]);
        assert!(cost.expected(4, &DecodeCost::default()).is_some_and(|(_, per_row)| per_row < 0.0011));

        cost.observe(4, 3, 0.003);
        (0..96).for_each(|_| cost.pass_step());
        assert!(cost.is_old(4), "drafts paid in between");
    }

    #[test]
    fn one_new_measurement_outweighs_a_disturbed_one() {
        let mut cost = DraftCost::default();
        cost.observe(1, 3, 0.030);
        (0..PATIENCE).for_each(|_| cost.pass_step());
        cost.observe(1, 3, 0.003);

        let (_, per_row) = cost.expected(1, &DecodeCost::default()).unwrap();
        assert!((0.001..0.002).contains(&per_row), "{per_row}");
    }
}
