//! Lengths and positions of token lists: conversions between the integers that count them, and the common beginning of
//! two lists.

use crate::protocol::Token;

/// A length as a `u32`. Lengths in the scheduler are bounded by `Limits`, whose fields are `u32`, or by the gateway's
/// queue.
pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).expect("every length in the scheduler is bounded by a u32 limit")
}

/// A position as an index.
pub(super) fn position(pos: u32) -> usize {
    usize::try_from(pos).expect("usize has at least 32 bits wherever this runs")
}

/// Number of tokens that both lists begin with.
pub(super) fn common_prefix(a: &[Token], b: &[Token]) -> u32 {
    count(a.iter().zip(b).take_while(|(a, b)| a == b).count())
}
