//! A line through observations that fade: the cost of rows as a fixed time and a time for each row.

/// Least squares of `y = fixed + x * slope` over observations that fade.
#[derive(Debug, Default)]
pub(super) struct CostLine {
    weight: f64,
    x: f64,
    xx: f64,
    y: f64,
    xy: f64,
}

impl CostLine {
    /// Factor of the earlier observations when a new one is added.
    const FADE: f64 = 0.99;
    /// Weight of the assumption that `fixed` is 0, in observations. It decides while all observations have about the
    /// same `x`.
    const PRIOR: f64 = 0.001;

    /// Adds an observation, `x` > 0. Its weight is 1 / `x`, so that the many small ones are not drowned by the few
    /// large ones.
    pub(super) fn observe(&mut self, x: f64, y: f64) {
        for (sum, new) in [(&mut self.weight, 1.0 / x), (&mut self.x, 1.0), (&mut self.xx, x), (&mut self.y, y / x), (&mut self.xy, y)] {
            *sum = Self::FADE * *sum + new;
        }
    }

    /// Multiplies the weight of all observations so far by `factor`, 0–1.
    pub(super) fn fade(&mut self, factor: f64) {
        for sum in [&mut self.weight, &mut self.x, &mut self.xx, &mut self.y, &mut self.xy] {
            *sum *= factor;
        }
    }

    /// The line: `fixed` from 0 to `max_fixed`, and `slope` > 0. `None` before the first observation that was not 0.
    pub(super) fn fit(&self, max_fixed: f64) -> Option<(f64, f64)> {
        if self.xy <= 0.0 {
            return None;
        }
        let through_origin = self.xy / self.xx;
        let weight = self.weight + Self::PRIOR;
        let fixed = (self.y * self.xx - self.x * self.xy) / (weight * self.xx - self.x * self.x);
        let fixed = fixed.clamp(0.0, max_fixed);
        let slope = (self.xy - fixed * self.x) / self.xx;
        // A flat line would allow any number of rows.
        Some((fixed, slope.max(0.1 * through_origin)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_from_points_on_it_and_never_a_flat_one() {
        let mut line = CostLine::default();
        assert_eq!(line.fit(1.0), None);
        for x in [4.0, 40.0, 400.0] {
            line.observe(x, 0.01 + 0.001 * x);
        }
        let (fixed, slope) = line.fit(1.0).unwrap();
        assert!((fixed - 0.01).abs() < 1e-4 && (slope - 0.001).abs() < 1e-5, "{fixed} + {slope} x");

        let mut flat = CostLine::default();
        for x in [4.0, 400.0] {
            flat.observe(x, 0.01);
        }
        assert!(flat.fit(1.0).unwrap().1 > 0.0);
    }
}
