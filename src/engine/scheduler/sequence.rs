//! One sequence's timeline: its tokens and where it stands.
//!
//! Two phases only. How far it is computed is what its slot holds (`cache`), so the two cannot disagree; prefill and
//! decode differ only in how many tokens are left to compute.

use super::drafts::Acceptance;
use crate::engine::runner::Slot;
use crate::protocol::{SequenceId, Token};
use std::ops::Range;

/// Prompt rows of a short prompt, at most.
const SHORT_PROMPT_ROWS: u32 = 128;

/// Where a sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// In the queue. With a hold it lets others pass.
    Waiting { hold: Option<Hold> },
    /// In a slot, part of every step that has room for it.
    Running { slot: Slot },
}

/// Waiting for another sequence to compute a prefix that both share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    /// Who computes it.
    pub(super) leader: SequenceId,
    /// Its length, tokens.
    pub(super) common: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sequence {
    /// Prompt and what was sampled since. Never empty.
    pub(super) tokens: Vec<Token>,
    /// Prefix-cache isolation.
    pub(super) namespace: u64,
    /// Where it stands.
    pub(super) phase: Phase,
    /// Rows below this position are prompt rows: the tokens it had when it was last queued.
    pub(super) prompt_len: u32,
    /// Whether `take_started` has told of it.
    pub(super) started: bool,
    /// Guesses of what follows `tokens`, for the next step.
    pub(super) draft: Vec<Token>,
    /// How often such guesses came true.
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
        let phase = Phase::Waiting { hold: None };
        let acceptance = Acceptance::default();
        let draft = Vec::new();
        Self {
            tokens,
            namespace,
            phase,
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
        match self.phase {
            Phase::Running { slot } => Some(slot),
            Phase::Waiting { .. } => None,
        }
    }

    /// From the queue to a slot that already holds `cached` of its tokens.
    pub(super) fn run_in(&mut self, slot: Slot, cached: u32) {
        self.phase = Phase::Running { slot };
        self.prompt_rows = self.prompt_len - cached;
    }

    /// Whether its prompt takes few rows in all, computed ones included.
    pub(super) fn is_short(&self) -> bool {
        self.prompt_rows <= SHORT_PROMPT_ROWS
    }

    /// The tokens that a cache may supply: the last one must be computed, for its logits, and so must scored ones.
    pub(super) fn reusable(&self) -> &[Token] {
        if self.scored.is_empty() { &self.tokens[..self.tokens.len() - 1] } else { &[] }
    }

    /// Whether the logits of a position are wanted.
    pub(super) fn wants_logits(&self, pos: u32) -> bool {
        pos + 1 == self.len() || self.scored.contains(&pos)
    }

    /// How many of the next `rows` from `held` on may be planned if the logits of `most` fit into the step.
    pub(super) fn rows_within(&self, held: u32, rows: u32, most: u32) -> u32 {
        if self.scored.is_empty() || held + rows <= self.scored.start {
            return rows;
        }
        rows.min(self.scored.start.saturating_sub(held) + most.max(1))
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
        self.phase = Phase::Waiting { hold: None };
        self.draft.clear();
        self.prompt_len = self.len();
        self.prompt_rows = self.prompt_len;
    }
}

/// Lengths here are bounded by `Limits`, whose fields are `u32`, or by the gateway's queue.
pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).expect("every length in the scheduler is bounded by a u32 limit")
}

/// Tokens that both begin with.
pub(super) fn common_prefix(a: &[Token], b: &[Token]) -> u32 {
    count(a.iter().zip(b).take_while(|(a, b)| a == b).count())
}
