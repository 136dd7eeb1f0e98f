//! Counts the tokens of each step as the engine reports them, so that rates move while requests run and do not depend
//! on how fast clients read.

use super::metrics::name;
use crate::protocol::EngineTotals;
use metrics::{counter, histogram};

/// The part of an engine's reports that was counted. Owned by the run loop; one for all engines, one after the other.
#[derive(Debug, Default)]
pub struct StepMeter {
    /// Number of steps of the present engine.
    steps: u64,
    /// Number of prompt rows of the present engine.
    prefill_rows: u64,
    /// Tokens that were generated since the last finished step.
    generated: u64,
}

impl StepMeter {
    /// Takes in a report: the totals since the engine's start, and the tokens that the report brings. Returns the
    /// tokens of the steps that it finished, prompt tokens included; 0 if it finished none.
    pub fn on_report(&mut self, totals: &EngineTotals, generated: u64) -> u64 {
        if totals.steps < self.steps || totals.prefill_rows < self.prefill_rows {
            // Another engine counts from zero.
            *self = Self::default();
        }
        counter!(name::GENERATION_TOTAL).increment(generated);
        self.generated += generated;
        if totals.steps == self.steps {
            return 0;
        }
        let tokens = self.generated + (totals.prefill_rows - self.prefill_rows);
        *self = Self { steps: totals.steps, prefill_rows: totals.prefill_rows, generated: 0 };
        if tokens > 0 {
            // Exact below 2³², more than any step has.
            histogram!(name::STEP_TOKENS).record(f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)));
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_the_prompt_rows_since_the_last_one_and_the_tokens_it_brings() {
        let totals = |steps, prefill_rows| EngineTotals { steps, prefill_rows, ..EngineTotals::default() };
        let mut meter = StepMeter::default();

        // A report before the first step, the step, a report without a step, two steps more.
        let of_first_engine = [(totals(0, 0), 0), (totals(1, 30), 1), (totals(1, 30), 0), (totals(2, 30), 3), (totals(3, 35), 2)];
        assert_eq!(of_first_engine.map(|(totals, generated)| meter.on_report(&totals, generated)), [0, 31, 0, 3, 7]);
        assert_eq!(meter.on_report(&totals(1, 4), 1), 5, "the next engine");
    }
}
