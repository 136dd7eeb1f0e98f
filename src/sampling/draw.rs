//! The draw: a uniform number from seed and position, and the candidate it falls on.
//!
//! Candidates are walked in order of id, not of probability: if the logits differ in their last bits, because the
//! sequence was replayed in other company, the same number still falls on the same token nearly always. There is no
//! generator state to save, to lose or to share.

use super::row::Row;
use crate::protocol::Token;

/// Entries whose weights are added up together when nothing is truncated.
const BLOCK: usize = 1024;
/// 2⁶⁴ divided by the golden ratio, odd: the step between positions (Steele, Lea, Flood 2014, "SplitMix").
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A number in `[0, 1)` for the token after `position` generated ones. A change here changes every seeded output.
pub(super) fn uniform(seed: u64, position: u64) -> f64 {
    // The seed is mixed first, so that neighbouring seeds (the choices of one request) start far apart.
    let bits = mix(mix(seed.wrapping_add(STEP)).wrapping_add(position.wrapping_mul(STEP)));
    // The upper 53 bits, as many as a double holds exactly.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Another number in `[0, 1)` for the same token, independent of [`uniform`]: whether XTC acts on it.
pub(super) fn second_uniform(seed: u64, position: u64) -> f64 {
    // Mixed, so that no other seed of a request, which are neighbours, has this for its first number.
    uniform(mix(!seed), position)
}

/// SplitMix64's finalizer: every input bit changes half of the output bits.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The item that `target` falls into when the weights are laid end to end, and how far into it.
/// Items without weight are never picked; rounding past the end picks the last with weight.
pub(super) fn pick<T>(weighted: impl Iterator<Item = (T, f64)>, target: f64) -> Option<(T, f64)> {
    let mut below = 0.0;
    let mut last = None;
    for (item, weight) in weighted {
        if weight > 0.0 {
            last = Some((item, target - below));
            below += weight;
            if below > target {
                break;
            }
        }
    }
    last
}

/// Draws from all candidates of the row: sums blocks, then walks through one of them.
pub(super) fn from_all(row: &Row<'_>, uniform: f64, blocks: &mut Vec<f64>) -> Option<Token> {
    blocks.clear();
    blocks.extend(row.logits.chunks(BLOCK).map(|block| row.mass(block)));
    let total: f64 = blocks.iter().sum();

    let (block, target) = pick(blocks.iter().copied().enumerate(), uniform * total)?;

    let first = block * BLOCK;
    let weights = row.logits.get(first..)?.iter().take(BLOCK).map(|&logit| f64::from(row.weight(logit)));
    let (offset, _) = pick(weights.enumerate(), target)?;
    token_at(first + offset)
}

/// The token with this index in a row of logits.
pub(super) fn token_at(index: usize) -> Option<Token> {
    u32::try_from(index).ok().map(Token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_numbers_never_change_between_releases() {
        // A user's seed must give tomorrow what it gave today.
        let drawn = [uniform(0, 0), uniform(0, 1), uniform(1, 0), uniform(u64::MAX, 12_345)];

        // Computed by a script in another language.
        assert_eq!(drawn, [0.28176129772258496, 0.6524484863740322, 0.8628561488610587, 0.31482353407721675]);
    }

    #[test]
    fn the_second_number_is_independent_of_the_first() {
        // Both of a pair in a 8 × 8 grid: 63 degrees of freedom, as below.
        let mut bins = [0.0_f64; 64];
        for n in 0..64_000 {
            let (first, second) = (uniform(n / 400, n % 400), second_uniform(n / 400, n % 400));
            bins[(first * 8.0) as usize * 8 + (second * 8.0) as usize] += 1.0;
        }

        let chi_square: f64 = bins.iter().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();

        assert!(chi_square < 120.0, "{chi_square}");
    }

    #[test]
    fn uniform_numbers_fill_the_unit_interval_evenly_over_positions_and_over_seeds() {
        for of in [|n| uniform(7, n), |n| uniform(n, 7), |n| uniform(n, n)] {
            let mut bins = [0.0_f64; 64];
            for n in 0..64_000 {
                let drawn: f64 = of(n);
                assert!((0.0..1.0).contains(&drawn));
                bins[(drawn * 64.0) as usize] += 1.0;
            }

            let chi_square: f64 = bins.iter().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();

            // 63 degrees of freedom: a fair generator exceeds 120 once in 50,000 times.
            assert!(chi_square < 120.0, "{chi_square}");
        }
    }

    #[test]
    fn a_pick_at_either_end_falls_on_an_item_with_weight() {
        let weighted = || [('a', 0.0), ('b', 1.0), ('c', 3.0), ('d', 0.0)].into_iter();

        assert_eq!(pick(weighted(), 0.0), Some(('b', 0.0)));
        assert_eq!(pick(weighted(), 0.99), Some(('b', 0.99)));
        assert_eq!(pick(weighted(), 1.0), Some(('c', 0.0)));
        assert_eq!(pick(weighted(), 4.5), Some(('c', 3.5)));
        assert_eq!(pick([('a', 0.0)].into_iter(), 0.0), None);
    }
}
