//! Follows a constraint for some tokens, as a model would that draws any token that may come. If the constraint's masks
//! are too much work, that is known before a text begins.

use super::matcher::Matcher;
use crate::protocol::{ConstraintError, ConstraintErrorKind, Token};

/// Number of texts that are begun.
const WALKS: u64 = 4;
/// Largest number of tokens that each text gets.
const TOKENS: u32 = 24;

/// Follows a constraint through [`WALKS`] texts, the same ones at every call. `copy` makes a matcher at the beginning
/// of a text.
///
/// # Errors
/// The constraint is too much work. A text that cannot continue is no error: it ends, and other texts may continue.
pub(super) fn through(copy: impl Fn() -> Matcher) -> Result<(), ConstraintError> {
    for seed in 0..WALKS {
        match follow(copy(), Dice(seed)) {
            Err(error) if error.kind == ConstraintErrorKind::TooCostly => return Err(error),
            Err(_) | Ok(()) => {}
        }
    }
    Ok(())
}

fn follow(mut matcher: Matcher, mut dice: Dice) -> Result<(), ConstraintError> {
    for _ in 0..TOKENS {
        let Some(token) = dice.pick(matcher.allowed()?) else { return Ok(()) };
        if matcher.is_finished() {
            return Ok(());
        }
        matcher.advance(token)?;
    }
    Ok(())
}

/// A seeded generator (Knuth's MMIX constants): nothing here has to be unpredictable.
struct Dice(u64);

impl Dice {
    /// One of the bits that are set, as a token; `None` if none is set.
    fn pick(&mut self, mask: &[u32]) -> Option<Token> {
        let set = mask.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut left = (self.0 >> 33).checked_rem(set)?;
        for (index, word) in mask.iter().enumerate() {
            let ones = u64::from(word.count_ones());
            if left >= ones {
                left -= ones;
                continue;
            }
            let bit = (0..u32::BITS).filter(|bit| word >> bit & 1 == 1).nth(usize::try_from(left).ok()?)?;
            return u32::try_from(index).ok().map(|index| Token(index * u32::BITS + bit));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn dice_pick_each_token_that_may_come_and_no_other() {
        let mask = [0b1001, 0, 1 << 31];
        let mut dice = Dice(1);

        let picked: BTreeSet<Token> = (0..100).filter_map(|_| dice.pick(&mask)).collect();

        assert_eq!(picked, BTreeSet::from([Token(0), Token(3), Token(95)]));
        assert_eq!(dice.pick(&[0, 0]), None);
    }
}
