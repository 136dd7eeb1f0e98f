//! The worth of cached content, and the conditions under which moving it pays: the rules that both tiers and the
//! placement share.
//!
//! Pure functions and the numbers in them; owns nothing.

use crate::engine::scheduler::lengths::{common_prefix, count, position};
use crate::protocol::Token;

/// Number of tokens from which on a shared prefix is copied, loaded or waited for; a shorter one is computed as
/// quickly.
pub(in crate::engine::scheduler) const MIN_COPY: u32 = 32;
/// Number of cached tokens that no other slot holds from which on they are copied aside, or parked, before their slot
/// is used.
pub(in crate::engine::scheduler) const MIN_KEEP: u32 = 64;
/// Copied content must have at least one token in this many that no other content has. A content is moved as a whole,
/// even for the few tokens that only it has: a copy takes 11 µs a token, computing one takes 900 (default model, 2
/// cores), and perhaps no request will need it.
pub(in crate::engine::scheduler) const COPIED_PER_OWN: u32 = 16;
/// The same for parked contents. They take as long again to be loaded, fresh memory, and the place of other contents.
pub(in crate::engine::scheduler) const PARKED_PER_OWN: u32 = 4;

/// Number of tokens that extend the life of a content by one step, times (1 + hits).
const TOKENS_PER_STEP: u32 = 16;
/// Number of tokens beyond which further ones extend the life no more; with [`MAX_HITS`] nothing stays for more than
/// 2,048 steps longer.
const LONG: u32 = 4096;
/// Number of hits beyond which further ones extend the life no more.
const MAX_HITS: u32 = 7;

/// The worth of a cached content: the step until which its last use, its length and its hits keep it. The content of
/// least worth is dropped first.
///
/// This is least recently used first, but a content that is long and was used often counts as used later than it was.
pub(super) fn worth(last_use: u64, len: u32, hits: u32) -> u64 {
    last_use + u64::from(len.min(LONG) / TOKENS_PER_STEP) * u64::from(1 + hits.min(MAX_HITS))
}

/// True if `held` tokens, of which other contents hold the first `elsewhere`, are worth moving: at least one in
/// `per_own` of them is held nowhere else.
pub(super) fn is_worth_moving(held: u32, elsewhere: u32, per_own: u32) -> bool {
    let own = held.saturating_sub(elsewhere);
    own >= MIN_KEEP && own.saturating_mul(per_own) >= held
}

/// A cached content, of which a beginning may be wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct CachedPrefix<'a> {
    pub(super) tokens: &'a [Token],
    /// Length of the shortest usable beginning.
    pub(super) shortest: u32,
    pub(super) namespace: u64,
}

impl CachedPrefix<'_> {
    /// True if this content already holds enough of `content` that saving `content` would not pay: all but one in
    /// [`PARKED_PER_OWN`] of its tokens, or all but one in `per_more` if `content` continues all of this content.
    /// Content that cannot be cut must be equal.
    pub(super) fn covers(&self, content: &[Token], per_more: u32, can_cut: bool) -> bool {
        if !can_cut {
            return self.tokens == content;
        }
        let common = common_prefix(self.tokens, content);
        if common < self.shortest {
            return false;
        }
        let per_own = if position(common) == self.tokens.len() { per_more } else { PARKED_PER_OWN };
        !is_worth_moving(count(content.len()), common, per_own)
    }
}

/// The content with the longest usable beginning of `wanted`, and the length of that beginning; the first of equals.
pub(super) fn longest_prefix<'a, K>(
    wanted: &[Token],
    namespace: u64,
    contents: impl Iterator<Item = (K, CachedPrefix<'a>)>,
) -> Option<(K, u32)> {
    let mut best = None;
    let mut len = 0;
    for (key, prefix) in contents {
        // This comparison alone excludes nearly all contents: a longer match must agree at the first token after the
        // best match so far.
        let longer = prefix.tokens.get(len).is_some_and(|token| wanted.get(len) == Some(token));
        if longer && prefix.namespace == namespace {
            let common = common_prefix(prefix.tokens, wanted);
            if position(common) > len && common >= prefix.shortest {
                len = position(common);
                best = Some((key, common));
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worth_grows_with_length_and_hits_within_bounds() {
        assert!(worth(10, 640, 0) > worth(10, 64, 0));
        assert!(worth(10, 640, 3) > worth(10, 640, 2));
        assert!(worth(100, 640, 0) < worth(200, 64, 0), "it outweighs no long time");
        assert_eq!(worth(10, 4096, 7), 10 + 2048);
        assert_eq!(worth(10, u32::MAX, u32::MAX), 10 + 2048);
    }
}
