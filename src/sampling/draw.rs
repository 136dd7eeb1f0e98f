//! The draw: it takes the candidate with the highest sum of logit and noise.
//!
//! Owns the search, which takes a logarithm only for a token that may win. `noise.rs` defines the noise of a token.

use super::noise::{BLOCK, Noise, NoiseBlock};
use super::row::LogitRow;
use super::truncate::WeightedEntry;
use crate::protocol::Token;

/// The best token so far.
#[derive(Debug, Clone, Copy)]
struct Leader {
    token: Option<u32>,
    /// The sum of the token's gap and noise, nats; −inf without a token.
    sum: f64,
}

impl Leader {
    const NOBODY: Self = Self { token: None, sum: f64::NEG_INFINITY };

    /// The bound that the gap of a token of this block must exceed for the token to win; NaN and −inf never do.
    fn bar(self, block: NoiseBlock) -> f32 {
        // `next_down`, since the nearest `f32` could be too high by a last digit and exclude a winner.
        ((self.sum - block.bound()) as f32).next_down()
    }

    /// Makes a token of this block the leader if its sum is higher.
    fn challenge(&mut self, token: u32, gap: f32, noise: Noise, block: NoiseBlock) {
        let sum = f64::from(gap) + noise.of(block, token);
        if sum > self.sum {
            *self = Self { token: Some(token), sum };
        }
    }
}

/// Draws from all candidates of the row.
pub(super) fn from_all(row: &LogitRow<'_>, noise: Noise) -> Option<Token> {
    let mut leader = Leader::NOBODY;
    // The likeliest token goes first: few blocks have a token that beats it.
    let best = u32::try_from(row.best).ok()?;
    leader.challenge(best, row.gap(*row.logits.get(row.best)?), noise, noise.block_of(best));
    for (index, logits) in (0..).zip(row.logits.chunks(BLOCK as usize)) {
        let block = noise.block(index);
        let bar = leader.bar(block);
        if logits.iter().fold(false, |any, &logit| any | (row.gap(logit) > bar)) {
            for (token, &logit) in (index * BLOCK..).zip(logits) {
                if row.gap(logit) > leader.bar(block) {
                    leader.challenge(token, row.gap(logit), noise, block);
                }
            }
        }
    }
    leader.token.map(Token)
}

/// Draws from the entries that truncation left, in order of id; at least one of them has a weight above 0.
pub(super) fn from_kept(row: &LogitRow<'_>, kept: &[WeightedEntry], noise: Noise) -> Option<Token> {
    let mut leader = Leader::NOBODY;
    for entries in kept.chunk_by(|a, b| a.id / BLOCK == b.id / BLOCK) {
        let block = noise.block_of(entries.first()?.id);
        let mut bar = leader.bar(block);
        for entry in entries {
            let gap = row.gap(entry.logit);
            if gap > bar {
                leader.challenge(entry.id, gap, noise, block);
                bar = leader.bar(block);
            }
        }
    }
    leader.token.map(Token)
}

/// The token with this index in a row of logits.
pub(super) fn token_at(index: usize) -> Option<Token> {
    u32::try_from(index).ok().map(Token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The token with the highest sum, found by looking at all of them; the first of equals.
    fn searched(row: &LogitRow<'_>, ids: impl DoubleEndedIterator<Item = u32>, noise: Noise) -> Option<Token> {
        let sum = |id: &u32| f64::from(row.gap(row.logits[*id as usize])) + noise.of(noise.block_of(*id), *id);
        let candidates = ids.filter(|id| row.gap(row.logits[*id as usize]) > f32::NEG_INFINITY);
        candidates.rev().max_by(|a, b| sum(a).total_cmp(&sum(b))).map(Token)
    }

    fn logit() -> impl Strategy<Value = f32> {
        prop_oneof![
            20 => -12.0_f32..12.0,
            1 => prop::sample::select(vec![f32::NAN, f32::NEG_INFINITY, f32::INFINITY, f32::MAX, f32::MIN, -200.0]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_that_is_left_out_would_have_won(
            logits in prop::collection::vec(logit(), 1..1000), temperature in 0.05_f32..50.0, seed in any::<u64>(), step in 1_usize..9,
        ) {
            let Some(row) = LogitRow::new(&logits, temperature) else { return Ok(()) };
            let noise = Noise::new(seed, 3);

            let kept: Vec<WeightedEntry> = (0..).zip(&logits).filter(|(_, logit)| **logit > f32::NEG_INFINITY).step_by(step)
                .map(|(id, &logit)| WeightedEntry { id, logit, weight: row.weight(logit) }).collect();

            prop_assert_eq!(from_all(&row, noise), searched(&row, 0..u32::try_from(logits.len()).unwrap(), noise));
            prop_assert_eq!(from_kept(&row, &kept, noise), searched(&row, kept.iter().map(|entry| entry.id), noise));
        }
    }

    #[test]
    fn a_single_candidate_is_drawn_whatever_its_noise() {
        for at in [0, 63, 64, 199] {
            let mut logits = [f32::NEG_INFINITY; 200];
            logits[at] = -3.0;
            let row = LogitRow::new(&logits, 1.0).unwrap();

            for seed in 0..500 {
                assert_eq!(from_all(&row, Noise::new(seed, 0)), token_at(at));
            }
        }
    }
}
