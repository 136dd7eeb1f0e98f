//! One row of logits under a temperature: its best entry, and each entry's weight relative to that.
//!
//! These are the loops that touch the whole vocabulary. They are written over fixed lanes and without branches, so that
//! the compiler makes vector code of them, and so that they give the same bits on every machine.

/// Number of entries that are summed or compared side by side.
const LANES: usize = 16;
/// Number of entries whose weights are made before they are added up; a multiple of `LANES`.
const RUN: usize = 128;
/// Number of entries that are searched again once the best one is known to be among them.
const SEARCHED: usize = 256;
/// Below this gap a weight counts as zero: e^−87 is about the smallest normal `f32`.
pub(super) const SMALLEST_GAP: f32 = -87.0;

/// Logits with a candidate among them, their maximum and the temperature.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogitRow<'a> {
    /// The logits; NaN and −inf are no candidates.
    pub(super) logits: &'a [f32],
    /// Index of the highest logit, the lowest of equals.
    pub(super) best: usize,
    /// The largest logit of the row, finite.
    max: f32,
    inverse_temperature: f32,
}

impl<'a> LogitRow<'a> {
    /// A view of `logits` under a temperature ≥ 0, 0 being as cold as can be; `None` if no logit is a candidate.
    pub(super) fn new(logits: &'a [f32], temperature: f32) -> Option<Self> {
        let (best, max) = best(logits)?;
        // Both bounds keep `gap` from becoming NaN: 0 · inf and inf − inf.
        Some(Self { logits, best, max: max.min(f32::MAX), inverse_temperature: temperature.recip().min(f32::MAX) })
    }

    /// The distance of a logit from the best one, in nats at this temperature: ≤ 0, −inf for −inf, NaN for NaN.
    pub(super) fn gap(&self, logit: f32) -> f32 {
        let gap = (logit - self.max) * self.inverse_temperature;
        if gap > 0.0 { 0.0 } else { gap }
    }

    /// A logit's probability as a share of the best one's, 0–1.
    pub(super) fn weight(&self, logit: f32) -> f32 {
        exp(self.gap(logit))
    }

    /// The weights of `part` added up, in double precision.
    pub(super) fn mass(&self, part: &[f32]) -> f64 {
        sum(part, |logit| self.weight(logit))
    }

    /// The expected gap, ≤ 0, of a draw from the whole row, whose mass is `mass`. The entropy is `ln(mass)` less this.
    pub(super) fn mean_gap(&self, mass: f64) -> f64 {
        let weighted = |logit: f32| {
            let gap = self.gap(logit);
            let weight = exp(gap);
            // The gap of an entry without weight may be infinite or NaN.
            if weight > 0.0 { weight * gap } else { 0.0 }
        };
        sum(self.logits, weighted) / mass
    }

    /// The row's entropy as a share of the entropy of equally many equal candidates, 0–1; 0 for a single candidate.
    pub(super) fn uncertainty(&self) -> f64 {
        let candidates = self.logits.iter().filter(|logit| **logit > f32::NEG_INFINITY).count();
        let mass = self.mass(self.logits);
        let entropy = mass.ln() - self.mean_gap(mass);
        if candidates < 2 { 0.0 } else { (entropy / (candidates as f64).ln()).clamp(0.0, 1.0) }
    }

    /// The standard deviation of the candidates' gaps, ≥ 0.
    pub(super) fn deviation(&self) -> f64 {
        let count = self.sum_of_candidates(|_| 1.0);
        let mean = (self.sum_of_candidates(|gap| gap) / count) as f32;
        (self.sum_of_candidates(|gap| (gap - mean) * (gap - mean)) / count).sqrt()
    }

    fn sum_of_candidates(&self, term: impl Fn(f32) -> f32) -> f64 {
        // The lowest gap that is used: its square is finite in `f32`.
        const LOWEST_GAP: f32 = -1e18;
        sum(self.logits, |logit| if logit > f32::NEG_INFINITY { term(self.gap(logit).max(LOWEST_GAP)) } else { 0.0 })
    }

    /// Natural log of a logit's share of `mass`, the mass of the row; as exact as the logits, in double precision.
    pub(super) fn log_share(&self, logit: f32, mass: f64) -> f64 {
        let gap = (f64::from(logit.min(f32::MAX)) - f64::from(self.max)) * f64::from(self.inverse_temperature);
        gap - mass.ln()
    }
}

/// `term` of every entry added up, in double precision.
fn sum(part: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let mut terms = [0.0_f32; RUN];
    for run in part.chunks(RUN) {
        // There are two loops, because in a single one the doubles would halve the width of the vectors that make the
        // terms.
        for (made, &logit) in terms.iter_mut().zip(run) {
            *made = term(logit);
        }
        terms[run.len()..].fill(0.0);
        for lane in terms.as_chunks::<LANES>().0 {
            for (sum, &term) in sums.iter_mut().zip(lane) {
                *sum += f64::from(term);
            }
        }
    }
    sums.iter().sum()
}

/// Index and value of the highest logit, the lowest index of equals; `None` if all are NaN or −inf.
pub(super) fn best(logits: &[f32]) -> Option<(usize, f32)> {
    let mut start = 0;
    let mut best = f32::NEG_INFINITY;
    for (index, part) in logits.chunks(SEARCHED).enumerate() {
        let highest = highest(part);
        if highest > best {
            best = highest;
            start = index * SEARCHED;
        }
    }
    let offset = logits.get(start..)?.iter().position(|&logit| logit == best && logit > f32::NEG_INFINITY)?;
    Some((start + offset, best))
}

/// The highest entry, −inf if there is none; NaN never wins a comparison.
fn highest(part: &[f32]) -> f32 {
    let higher = |a: f32, b: f32| if b > a { b } else { a };
    let (lanes, rest) = part.as_chunks::<LANES>();
    let mut highest = [f32::NEG_INFINITY; LANES];
    for lane in lanes {
        for (best, &logit) in highest.iter_mut().zip(lane) {
            *best = higher(*best, logit);
        }
    }
    highest.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| higher(a, b))
}

/// Visits the entries for which `wanted` holds, in order of id; a stretch without one costs a vector comparison.
/// `wanted` is asked twice about an entry, and may become stricter from one visit to the next.
pub(super) fn visit(logits: &[f32], wanted: impl Fn(f32) -> bool, mut found: impl FnMut(u32, f32)) {
    for (first, part) in (0_u32..).step_by(LANES).zip(logits.chunks(LANES)) {
        if part.iter().fold(false, |any, &logit| any | wanted(logit)) {
            for (id, &logit) in (first..).zip(part) {
                if wanted(logit) {
                    found(id, logit);
                }
            }
        }
    }
}

/// e^x for x ≤ 0, relative error below 3e-7; 0 below [`SMALLEST_GAP`] and for NaN, exactly 1 for 0.
///
/// The library's `exp` is a call per entry; this is a dozen vector instructions for sixteen. Only `+` and `*` on
/// `f32` are used, never a fused multiply-add, hence the same result with every instruction set.
fn exp(x: f32) -> f32 {
    // ln 2 in two parts: the first has so few digits that its product with a small integer is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 · 2²³ rounds to the nearest integer and leaves that integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // 1/k! for k = 7 down to 0: with |r| ≤ ln 2 / 2 the rest of the series is below 6e-9.
    const SERIES: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let series = SERIES.iter().fold(0.0, |sum, &term| sum * r + term);
    // 2ⁿ: n + 127 in the exponent field; the bits of ROUND itself are shifted out.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x >= SMALLEST_GAP { series * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_seven_digits_over_its_whole_range() {
        for step in 0..=870_000_u32 {
            let x = -f64::from(step) / 10_000.0;
            let x = x as f32;
            let expected = f64::from(x).exp();

            let error = (f64::from(exp(x)) - expected).abs() / expected;

            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
    }

    #[test]
    fn the_exponential_is_exact_at_zero_and_zero_beyond_its_range() {
        assert_eq!(exp(0.0).to_bits(), 1.0_f32.to_bits());
        assert_eq!(exp(-0.0).to_bits(), 1.0_f32.to_bits());
        assert_eq!(exp(-87.1), 0.0);
        assert_eq!(exp(f32::MIN), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::NAN), 0.0);
    }

    #[test]
    fn the_best_entry_is_the_first_of_equals_wherever_it_lies() {
        for length in [1, 15, 16, 17, 255, 256, 257, 1000] {
            for at in [0, length / 2, length - 1] {
                let mut logits = vec![-3.0_f32; length];
                logits[at] = 2.0;
                logits[length - 1] = 2.0;

                assert_eq!(best(&logits), Some((at, 2.0)), "length {length}, at {at}");
            }
        }
    }

    #[test]
    fn nan_and_minus_infinity_are_never_best() {
        assert_eq!(best(&[f32::NAN, -5.0, f32::NEG_INFINITY]), Some((1, -5.0)));
        assert_eq!(best(&[f32::NAN; 40]), None);
        assert_eq!(best(&[f32::NEG_INFINITY; 40]), None);
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn a_visit_finds_exactly_the_wanted_entries_in_order() {
        let logits: Vec<f32> = (0..100_u8).map(|id| f32::from(id % 7)).collect();
        let mut found = Vec::new();

        visit(&logits, |logit| logit > 5.0, |id, _| found.push(id));

        let expected: Vec<u32> = (0..100).filter(|id| id % 7 == 6).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn mean_gap_and_deviation_are_those_of_the_textbook() {
        let logits = [2.0, 1.0, f32::NEG_INFINITY, -1.0, f32::NAN];
        let row = LogitRow::new(&logits, 0.5).unwrap();
        let weights = [0.0_f64, -2.0, -6.0].map(|gap| (gap, gap.exp()));
        let mass: f64 = weights.iter().map(|(_, weight)| weight).sum();

        let mean: f64 = weights.iter().map(|(gap, weight)| gap * weight / mass).sum();
        // The deviation of 2, 1 and −1: their mean is 2/3, the squared distances are 16/9, 1/9 and 25/9.
        let deviation = (14.0_f64 / 9.0).sqrt() / 0.5;

        assert!((row.mass(&logits) - mass).abs() < 1e-6);
        assert!((row.mean_gap(mass) - mean).abs() < 1e-6);
        assert!((row.deviation() - deviation).abs() < 1e-6);
    }

    #[test]
    fn extreme_logits_and_temperatures_give_weights_between_zero_and_one() {
        let logits = [f32::INFINITY, f32::MAX, 1.0, 0.0, f32::MIN, f32::NEG_INFINITY, f32::NAN];
        for temperature in [f32::MIN_POSITIVE, 1e-45, 0.5, 2.0, f32::MAX] {
            let row = LogitRow::new(&logits, temperature).unwrap();

            let weights = logits.map(|logit| row.weight(logit));

            assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)), "{temperature}: {weights:?}");
            assert_eq!((weights[0], weights[6]), (1.0, 0.0), "{temperature}");
            assert!(row.mean_gap(row.mass(&logits)).is_finite() && row.deviation() >= 0.0, "{temperature}");
        }
    }
}
