//! The `multipleOf`s of a schema. llguidance computes remainders and least common multiples in 32 bits and does not
//! notice an overflow, so only values that cannot overflow pass.

use super::place;
use crate::protocol::{ConstraintError, ConstraintErrorKind::Invalid};
use serde_json::Value;

/// Largest number of decimals of a step: a digit's weight must fit into 32 bits.
const MAX_DECIMALS: u32 = 8;

/// The steps of a schema, each as an integer and its number of decimals: the integer times 10^-`decimals`.
#[derive(Debug, Default)]
pub(super) struct Steps {
    steps: Vec<(u64, u32)>,
}

impl Steps {
    /// Takes in a `multipleOf`.
    ///
    /// # Errors
    /// If the value is no positive number, or has too many digits.
    pub(super) fn add(&mut self, value: &Value, at: &str) -> Result<(), ConstraintError> {
        let invalid = || place(at).predicate(Invalid, "must be a number greater than 0");
        let step = value.as_f64().filter(|step| *step > 0.0).ok_or_else(invalid)?;
        // Computed as llguidance does it, so that both find the same digits.
        let (mut scaled, mut decimals) = (step, 0);
        while scaled.fract() != 0.0 && decimals <= MAX_DECIMALS {
            scaled *= 10.0;
            decimals += 1;
        }
        if decimals > MAX_DECIMALS || scaled > f64::from(u32::MAX) {
            return Err(place(at).sentence(Invalid, format!("{value} has too many digits")));
        }
        // The cast is exact: a whole number below 2^32.
        self.steps.push((scaled as u64, decimals));
        Ok(())
    }

    /// Checks that no least common multiple of any of the steps overflows.
    ///
    /// # Errors
    /// If a least common multiple might overflow.
    pub(super) fn check(&self) -> Result<(), ConstraintError> {
        let decimals = self.steps.iter().map(|(_, decimals)| *decimals).max().unwrap_or(0);
        let scaled = || self.steps.iter().map(|(step, own)| step.checked_mul(10_u64.pow(decimals - own)));
        let common = scaled().try_fold(1_u64, |all, step| {
            let step = step?;
            (all / greatest_common_divisor(all, step)).checked_mul(step)
        });
        let largest = scaled().try_fold(1_u64, |largest, step| step.map(|step| step.max(largest)));
        match common.zip(largest).and_then(|(common, largest)| common.checked_mul(largest)) {
            Some(product) if product <= u64::from(u32::MAX) => Ok(()),
            _ => Err(ConstraintError::new(
                Invalid,
                "'multipleOf' is supported up to 65535 without a decimal point, and several in one schema only if their least common \
                 multiple is small",
            )),
        }
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(values: &[f64]) -> Result<(), ConstraintError> {
        let mut steps = Steps::default();
        values.iter().try_for_each(|value| steps.add(&json!(value), "#/multipleOf"))?;
        steps.check()
    }

    #[test]
    fn steps_whose_arithmetic_fits_32_bits_are_accepted() {
        for steps in [&[][..], &[1.0], &[0.01], &[65_535.0], &[0.25, 0.5, 5.0], &[0.01, 100.0], &[7.0, 3.0, 10.0]] {
            assert_eq!(check(steps), Ok(()), "{steps:?}");
        }
    }

    #[test]
    fn steps_that_would_overflow_are_refused() {
        for steps in [
            &[65_536.0][..],
            &[4_294_967_291.0],
            &[1e300],
            &[1e-300],
            &[0.1 + 0.2],
            &[0.0],
            &[-1.0],
            &[65_521.0, 65_519.0],
            &[0.000_1, 1e4],
        ] {
            assert!(check(steps).is_err(), "{steps:?}");
        }
    }
}
