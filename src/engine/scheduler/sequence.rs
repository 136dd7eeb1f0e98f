//! One sequence's timeline: its tokens, and the slot that it runs in.
//!
//! A sequence without a slot waits in the queue (`queue`). How far it is computed is the length of its slot's content
//! (`kv`), so the two cannot disagree; prefill and decode differ only in how many tokens are left to compute.

use super::{acceptance::Acceptance, lengths::count};
use crate::engine::runner::Slot;
use crate::protocol::Token;
use std::ops::Range;

/// Prompt rows of a short prompt, at most.
const SHORT_PROMPT_ROWS: u32 = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct Sequence {
    /// The prompt and the tokens sampled since. Never empty.
    pub(super) tokens: Vec<Token>,
    /// Prefix-cache isolation.
    pub(super) namespace: u64,
    /// The slot it runs in, part of every step that has room for it; `None` while it waits in the queue.
    slot: Option<Slot>,
    /// Rows below this position are prompt rows: the tokens it had when it was last queued.
    pub(super) prompt_len: u32,
    /// True if `take_started` has reported it.
    pub(super) started: bool,
    /// Guesses of the tokens that follow `tokens`, for the next step.
    pub(super) draft: Vec<Token>,
    /// How often such guesses were right.
    pub(super) acceptance: Acceptance,
    /// Computes no further within a step, and is saved, where it holds so many positions (`stops`).
    pub(super) save_at: Option<u32>,
    /// Prompt rows that no cache supplied; all of them until it runs.
    prompt_rows: u32,
    /// Positions whose logits are wanted besides those of the last token.
    scored: Range<u32>,
    max_len: u32,
}

impl Sequence {
    pub(super) fn new(tokens: Vec<Token>, max_len: u32, scored: Range<u32>, namespace: u64) -> Self {
        let prompt_len = count(tokens.len());
        let acceptance = Acceptance::default();
        let draft = Vec::new();
        Self {
            tokens,
            namespace,
            slot: None,
            prompt_len,
            started: false,
            draft,
            acceptance,
            save_at: None,
            prompt_rows: prompt_len,
            scored,
            max_len,
        }
    }

    pub(super) fn len(&self) -> u32 {
        count(self.tokens.len())
    }

    pub(super) fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// From the queue to a slot that already holds `cached` of its tokens.
    pub(super) fn run_in(&mut self, slot: Slot, cached: u32) {
        self.slot = Some(slot);
        self.prompt_rows = self.prompt_len - cached;
    }

    /// Its slot's content was moved to another one.
    pub(super) fn move_to(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// True if its prompt takes few rows in all, computed ones included.
    pub(super) fn is_short(&self) -> bool {
        self.prompt_rows <= SHORT_PROMPT_ROWS
    }

    /// The tokens that a cache may supply: the last one must be computed, for its logits, and so must scored ones.
    pub(super) fn reusable(&self) -> &[Token] {
        if self.scored.is_empty() { &self.tokens[..self.tokens.len() - 1] } else { &[] }
    }

    /// True if the logits of a position are wanted.
    pub(super) fn wants_logits(&self, pos: u32) -> bool {
        pos + 1 == self.len() || self.scored.contains(&pos)
    }

    /// How many of the next `rows` from `held` on may be planned if the step has room for the logits of `scored_rows`
    /// rows.
    pub(super) fn rows_within(&self, held: u32, rows: u32, scored_rows: u32) -> u32 {
        if self.scored.is_empty() || held + rows <= self.scored.start {
            return rows;
        }
        rows.min(self.scored.start.saturating_sub(held) + scored_rows.max(1))
    }

    /// KV cells it needs to compute every token it has and one more.
    pub(super) fn cells_wanted(&self) -> u64 {
        u64::from(self.max_len.min(self.len() + 1))
    }

    /// Tokens that a draft may have: the last token of a sequence at full length is never computed.
    pub(super) fn draft_room(&self) -> u32 {
        self.max_len.saturating_sub(self.len() + 1)
    }

    /// Appends a sampled token, to be computed next.
    pub(super) fn push(&mut self, token: Token) {
        debug_assert!(self.len() + 1 < self.max_len, "the caller finishes a sequence at max_len");
        self.tokens.push(token);
    }

    /// Back to the queue, everything to be computed again.
    pub(super) fn put_back(&mut self) {
        self.slot = None;
        self.draft.clear();
        self.prompt_len = self.len();
        self.prompt_rows = self.prompt_len;
    }
}
