//! The noise of a draw: a number for each token, which depends on seed, position and token id alone.
//!
//! Token `i` is drawn if its logit (over the temperature) plus its noise is the highest. With noise −ln(E), E
//! exponentially distributed with mean 1, that token is drawn with exactly its softmax probability (Gumbel 1954;
//! "Gumbel-max"), whichever candidates are left. Since a token's noise depends on no other token, logits that move a
//! little change the draw only where two sums were that close: a request that is computed beside other requests, or
//! again after a restart, gets the same tokens nearly always. There is no generator state to save, to lose or to share.
//!
//! Tokens are cut into blocks of 64. The least E of a block is exponential with mean 1/64 and belongs to each of its
//! tokens equally often, and the others exceed it by exponentials of mean 1, because exponentials have no memory. So
//! one hash bounds the noise of 64 tokens, and nearly all blocks are skipped without looking at their tokens.

use std::f64::consts::LN_2;

/// Number of tokens whose noise is bounded together. A change here changes every seeded output, as any change in this
/// file does.
pub(super) const BLOCK: u32 = 64;
const LN_BLOCK: f64 = 6.0 * LN_2;
/// 2⁶⁴ divided by the golden ratio, odd: the step between positions, blocks and tokens (Steele, Lea, Flood 2014,
/// "SplitMix").
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The noise of all tokens at one position of a sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    blocks: u64,
    tokens: u64,
}

/// A block of tokens with the random bits that they share.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoiseBlock {
    bits: u64,
    /// The index of the block, from 0.
    index: u32,
}

impl Noise {
    /// The noise for the token after `position` generated ones.
    pub(super) fn new(seed: u64, position: u64) -> Self {
        let blocks = key(seed, position);
        // Mixed, so that the hashes of blocks and of tokens have nothing in common.
        Self { blocks, tokens: mix(!blocks) }
    }

    /// The block with this index: the tokens from `64 · index` on.
    pub(super) fn block(self, index: u32) -> NoiseBlock {
        NoiseBlock { bits: hash(self.blocks, index), index }
    }

    /// The block that a token is in.
    pub(super) fn block_of(self, token: u32) -> NoiseBlock {
        self.block(token / BLOCK)
    }

    /// The noise of a token of this block.
    pub(super) fn of(self, block: NoiseBlock, token: u32) -> f64 {
        let more = if block.holds_least(token) { 0.0 } else { exponential(hash(self.tokens, token)) };
        -(block.least() + more).ln()
    }
}

impl NoiseBlock {
    /// An upper bound of the noise of the block's tokens. Takes no logarithm.
    pub(super) fn bound(self) -> f64 {
        // With z leading zeros, v of `exponential` is at least 2^−(z + 1), and −ln(1 − v) is at least v.
        LN_BLOCK + f64::from(self.bits.leading_zeros() + 1) * LN_2
    }

    /// The least of the block's exponentials.
    fn least(self) -> f64 {
        exponential(self.bits) / f64::from(BLOCK)
    }

    /// True if the least exponential is this token's, by the low bits, which `exponential` does not read.
    fn holds_least(self, token: u32) -> bool {
        u64::from(token) == u64::from(self.index) * u64::from(BLOCK) + self.bits % u64::from(BLOCK)
    }
}

/// A number in `[0, 1)` for the token after `position` generated ones, independent of the token's noise. It decides
/// whether XTC acts on the draw.
pub(super) fn coin(seed: u64, position: u64) -> f64 {
    // The seed is mixed, so that no other seed of a request (they are neighbours) has this number in its noise. The
    // upper 53 bits are as many as a double holds exactly.
    (key(mix(!seed), position) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The 64 bits of a position. The seed is mixed first, so that neighbouring seeds (the choices of one request) start
/// far apart.
fn key(seed: u64, position: u64) -> u64 {
    mix(mix(seed.wrapping_add(STEP)).wrapping_add(position.wrapping_mul(STEP)))
}

/// Number `counter` of the SplitMix64 generator that starts at `key`.
fn hash(key: u64, counter: u32) -> u64 {
    mix(key.wrapping_add((u64::from(counter) + 1).wrapping_mul(STEP)))
}

/// SplitMix64's finalizer: every input bit changes half of the output bits.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// An exponentially distributed number with mean 1, from 2^−53 to 36.8. The logarithm's last bit may differ between C
/// libraries, which matters only for sums that are equal in 15 digits.
fn exponential(bits: u64) -> f64 {
    // The upper 52 bits plus a half, so that v is never 0 or 1.
    let v = ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    -(-v).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, position: u64, token: u32) -> f64 {
        let noise = Noise::new(seed, position);
        noise.of(noise.block_of(token), token)
    }

    #[test]
    fn the_noise_never_changes_between_releases() {
        // A user's seed must give the same tokens in every release. The numbers were computed by a script in another
        // language.
        let expected = [
            ((0, 0, 0), 2.046678991912476),
            ((0, 0, 1), 1.1119431772745978),
            ((1, 0, 0), -0.5255584536712272),
            ((0, 1, 0), 1.2784418809248361),
            ((u64::MAX, 12_345, 128_255), 1.7927497007372084),
            // The token with the highest noise of its block.
            ((42, 3, 148), 5.00174196503138),
        ];

        for ((seed, position, token), expected) in expected {
            let noise = noise(seed, position, token);

            assert!((noise - expected).abs() < 1e-12, "seed {seed}, position {position}, token {token}: {noise}");
        }
        assert_eq!([coin(0, 0), coin(5, 77)], [0.7724245628214448, 0.6601027612186575]);
    }

    /// Fails unless uniform numbers fill 64 bins evenly.
    fn assert_even(uniform: impl Iterator<Item = f64>, what: &str) {
        let mut bins = [0.0_f64; 64];
        let mut count = 0.0;
        for number in uniform {
            assert!((0.0..1.0).contains(&number), "{what}: {number}");
            bins[(number * 64.0) as usize] += 1.0;
            count += 1.0;
        }

        let mean = count / 64.0;
        let chi_square: f64 = bins.iter().map(|bin| (bin - mean).powi(2) / mean).sum();

        // 63 degrees of freedom: a fair generator exceeds 120 once in 50,000 times.
        assert!(chi_square < 120.0, "{what}: {chi_square}");
    }

    /// The number in `[0, 1)` from which Gumbel's distribution makes this noise.
    fn uniform(seed: u64, position: u64, token: u32) -> f64 {
        (-(-noise(seed, position, token)).exp()).exp()
    }

    #[test]
    fn the_noise_of_a_token_has_gumbels_distribution_over_seeds_positions_and_tokens() {
        assert_even((0..64_000).map(|n| uniform(n, 7, 7)), "seeds");
        assert_even((0..64_000).map(|n| uniform(7, n, 7)), "positions");
        assert_even((0..64_000).map(|n| uniform(7, 7, n)), "tokens");
        assert_even((0..64_000).map(|n| uniform(u64::from(n), u64::from(n), n)), "all three");
        assert_even((0..64_000).map(|n| coin(n, 7)), "coins over seeds");
        assert_even((0..64_000).map(|n| coin(7, n)), "coins over positions");
    }

    #[test]
    fn two_numbers_of_one_seed_are_independent() {
        let pair = |what: &str, of: &dyn Fn(u64) -> (f64, f64)| {
            // Each pair is a cell of an 8 × 8 grid.
            let cells = (0..64_000).map(of).map(|(first, second)| ((first * 8.0).floor() * 8.0 + second * 8.0) / 64.0);
            assert_even(cells, what);
        };

        for (a, b) in [(0, 1), (3, 63), (63, 64), (5, 5 + 64), (1, 40_000)] {
            pair(&format!("tokens {a} and {b}"), &|n| (uniform(n, 3, a), uniform(n, 3, b)));
        }
        pair("neighbouring positions", &|n| (uniform(9, n, 17), uniform(9, n + 1, 17)));
        pair("neighbouring seeds", &|n| (uniform(n, 0, 17), uniform(n + 1, 0, 17)));
        pair("a position and a token later", &|n| (uniform(4, n, 20), uniform(4, n + 1, 21)));
        pair("the noise and the coin", &|n| (uniform(n, 2, 30), coin(n, 2)));
    }

    #[test]
    fn no_token_exceeds_the_bound_of_its_block_and_one_of_them_comes_near() {
        for seed in 0..2_000 {
            let noise = Noise::new(seed, 1);
            let block = noise.block(5);

            let highest = (320..384).map(|token| noise.of(block, token)).fold(f64::NEG_INFINITY, f64::max);

            assert!(highest <= block.bound(), "seed {seed}: {highest} above {}", block.bound());
            // Half of all numbers are above a half, where the logarithm bends away from its bound.
            assert!(highest > block.bound() - 5.0, "seed {seed}: {highest} far below {}", block.bound());
        }
    }

    #[test]
    fn the_extremes_of_the_hash_give_finite_noise() {
        for bits in [0, 1, u64::MAX, u64::MAX - 1] {
            let block = NoiseBlock { bits, index: 0 };

            assert!(exponential(bits) > 0.0 && exponential(bits) < 37.0, "{bits}");
            assert!(-block.least().ln() <= block.bound(), "{bits}");
        }
    }
}
