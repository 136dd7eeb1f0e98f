//! One sequence's timeline: its tokens, and the slot that it runs in.
//!
//! A sequence without a slot waits in the queue (`queue`). The length of its slot's content (`kv`) is the number of its
//! computed tokens, so the two cannot disagree. Prefill and decode differ only in the number of tokens that are left to
//! compute.

use super::{acceptance::Acceptance, lengths::count};
use crate::engine::runner::Slot;
use crate::protocol::Token;
use std::ops::Range;

/// Largest number of prompt rows of a short prompt.
const SHORT_PROMPT_ROWS: u32 = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct Sequence {
    /// The prompt and the tokens sampled since. Never empty.
    pub(super) tokens: Vec<Token>,
    /// The namespace within which sequences share cached tokens.
    pub(super) namespace: u64,
    /// The slot in which the sequence runs; it then takes part in every step that has room for it. `None` while it
    /// waits in the queue.
    slot: Option<Slot>,
    /// Rows below this position are prompt rows: the number of tokens when the sequence was last queued.
    pub(super) prompt_len: u32,
    /// True if the sequence was added to the list for `take_started`.
    pub(super) started: bool,
    /// Guesses of the tokens that follow `tokens`, for the next step.
    pub(super) draft: Vec<Token>,
    /// A guess of the token that follows `tokens`, which gets no row and is only compared with that token.
    pub(super) watched: Option<Token>,
    /// The rate of right guesses.
    pub(super) acceptance: Acceptance,
    /// Number of positions at which the sequence stops for a step and is saved (`stops`).
    pub(super) save_at: Option<u32>,
    /// Number of prompt rows that no cache supplied; all of them until the sequence runs.
    prompt_rows: u32,
    /// Positions whose logits are wanted in addition to the last token's.
    scored: Range<u32>,
    max_len: u32,
    /// True if the prompt's last row is computed without the rows before it (`NewSequence::repeatable`).
    repeatable: bool,
}

impl Sequence {
    pub(super) fn new(tokens: Vec<Token>, max_len: u32, scored: Range<u32>, namespace: u64, repeatable: bool) -> Self {
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
            watched: None,
            acceptance,
            save_at: None,
            prompt_rows: prompt_len,
            scored,
            max_len,
            repeatable,
        }
    }

    pub(super) fn len(&self) -> u32 {
        count(self.tokens.len())
    }

    pub(super) fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// Moves the sequence from the queue to a slot that already holds `cached` of its tokens.
    pub(super) fn run_in(&mut self, slot: Slot, cached: u32) {
        self.slot = Some(slot);
        self.prompt_rows = self.prompt_len - cached;
    }

    /// Notes that the content of the sequence's slot was moved to another one.
    pub(super) fn move_to(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// True if the sequence's prompt takes few rows in all, computed ones included.
    pub(super) fn is_short(&self) -> bool {
        self.prompt_rows <= SHORT_PROMPT_ROWS
    }

    /// The tokens that a cache may supply: all but the last one, which must be computed for its logits; none if any are
    /// scored.
    pub(super) fn reusable(&self) -> &[Token] {
        if self.scored.is_empty() { &self.tokens[..self.tokens.len() - 1] } else { &[] }
    }

    /// True if the logits of a position are wanted.
    pub(super) fn wants_logits(&self, pos: u32) -> bool {
        pos + 1 == self.len() || self.scored.contains(&pos)
    }

    /// Number of the next `rows` from `held` on that may be planned if the step has room for the logits of
    /// `scored_rows` rows.
    pub(super) fn rows_within(&self, held: u32, rows: u32, scored_rows: u32) -> u32 {
        if self.scored.is_empty() || held + rows <= self.scored.start {
            return rows;
        }
        rows.min(self.scored.start.saturating_sub(held) + scored_rows.max(1))
    }

    /// Number of the next `rows` from `held` on that are planned if those of a repeatable prompt stop before its last.
    /// Prompts with scored rows never come from a cache.
    pub(super) fn rows_before_last(&self, held: u32, rows: u32) -> u32 {
        let reaches_last = held + rows == self.prompt_len && self.len() == self.prompt_len;
        if self.repeatable && self.scored.is_empty() && reaches_last && rows > 1 { rows - 1 } else { rows }
    }

    /// Number of KV cells that the sequence needs to compute all its tokens and one more.
    pub(super) fn cells_wanted(&self) -> u64 {
        u64::from(self.max_len.min(self.len() + 1))
    }

    /// Largest number of tokens of a draft: the last token of a sequence at full length is never computed.
    pub(super) fn draft_room(&self) -> u32 {
        self.max_len.saturating_sub(self.len() + 1)
    }

    /// Appends a sampled token, to be computed next.
    pub(super) fn push(&mut self, token: Token) {
        debug_assert!(self.len() + 1 < self.max_len, "the caller finishes a sequence at max_len");
        self.tokens.push(token);
    }

    /// Moves the sequence back to the queue; all its tokens are to be computed again.
    pub(super) fn put_back(&mut self) {
        self.slot = None;
        self.draft.clear();
        self.watched = None;
        self.prompt_len = self.len();
        self.prompt_rows = self.prompt_len;
    }
}
