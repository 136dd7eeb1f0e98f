//! A slot of the fake runner: its content, and the positions that its layers with a sliding window have released.

use llamero::engine::runner::ParkedState;
use llamero::protocol::Token;

/// One slot: its tokens and, for each, the hash of all tokens up to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) tokens: Vec<Token>,
    pub(crate) hashes: Vec<u64>,
    /// Some layers have released the positions before this one.
    pub(crate) oldest: usize,
    /// True after a failure that left an unknown number of positions; only a truncation makes the slot usable again.
    pub(crate) uncertain: bool,
}

impl Held {
    pub(crate) fn push(&mut self, token: Token) {
        let before = self.hashes.last().copied().unwrap_or(0);
        self.hashes.push(mix(before ^ (u64::from(token.0) + 1)));
        self.tokens.push(token);
    }

    pub(crate) fn state(&self) -> ParkedState {
        let bytes = self.tokens.iter().flat_map(|token| token.0.to_le_bytes()).collect();
        ParkedState { bytes, len: u32::try_from(self.tokens.len()).unwrap() }
    }

    pub(crate) fn truncate(&mut self, keep: usize) {
        self.tokens.truncate(keep);
        self.hashes.truncate(keep);
        if keep == 0 {
            self.oldest = 0;
        }
    }

    /// The minimum length of a truncated content, for layers that attend to `window` positions; 0 if any length will
    /// do.
    pub(crate) fn shortest(&self, window: usize) -> usize {
        if self.oldest == 0 { 0 } else { self.oldest + window - 1 }
    }

    /// Releases the positions to which a row at position `pos` does not attend.
    pub(crate) fn let_go(&mut self, window: usize, pos: usize) {
        self.oldest = self.oldest.max((pos + 1).saturating_sub(window));
    }
}

/// The finalizer of SplitMix64.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
