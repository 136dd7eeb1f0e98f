//! The state of one text under its constraint: the tokens that may come next, and whether it is complete.

use super::message::readable;
use crate::protocol::{ConstraintError, Token};
use llguidance::{earley::ParserStats, toktrie::SimpleVob};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Numbers of parser items and of lexer fuel from which on a mask is much work: about 2 ms.
const MUCH: (usize, u64) = (2_000, 20_000);

/// The state of one constrained text. Every error is final: the text must end then.
pub struct Matcher {
    inner: llguidance::Matcher,
    mask: SimpleVob,
    /// True if `mask` belongs to the present state.
    is_current: bool,
    /// True if some mask of this constraint was much work. Shared by all texts under the constraint.
    is_costly: Arc<AtomicBool>,
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matcher").field("stopped", &self.inner.stop_reason()).finish_non_exhaustive()
    }
}

impl Matcher {
    pub(super) fn new(inner: llguidance::Matcher, is_costly: Arc<AtomicBool>) -> Self {
        Self { inner, mask: SimpleVob::new(), is_current: false, is_costly }
    }

    /// True if the result of [`Self::allowed`] is known already, so that the call takes no time.
    #[must_use]
    pub fn is_prepared(&self) -> bool {
        self.is_current || self.inner.is_error()
    }

    /// True if a mask under this constraint was much work: milliseconds, so a text with it waits while others go on.
    #[must_use]
    pub fn is_costly(&self) -> bool {
        self.is_costly.load(Ordering::Relaxed)
    }

    /// The tokens that may come next: bit `id % 32` of word `id / 32`. Tokens that end a text are among them exactly
    /// where the constraint is fulfilled. A call takes microseconds mostly and some 50 ms at worst, bounded by work
    /// (`limits::apply`) and not by the clock; a repeated call before the next token takes no time.
    ///
    /// # Errors
    /// If nothing may come next, or the constraint turns out too complex.
    pub fn allowed(&mut self) -> Result<&[u32], ConstraintError> {
        if !self.is_current {
            self.mask = self.inner.compute_mask_or_eos().map_err(|error| readable(&error.to_string()))?;
            self.is_current = true;
            if self.inner.last_step_stats().is_ok_and(is_much) {
                self.is_costly.store(true, Ordering::Relaxed);
            }
        }
        Ok(self.mask.as_slice())
    }

    /// Takes in the token that came next.
    ///
    /// # Errors
    /// If it was not allowed.
    pub fn advance(&mut self, token: Token) -> Result<(), ConstraintError> {
        self.is_current = false;
        self.inner.consume_token(token.0).map_err(|error| readable(&error.to_string()))
    }

    /// Takes in the tokens that must come next, up to the next choice, and returns them; mostly there are none.
    ///
    /// They are spelled as the model's tokenizer would write them together with the token before. A last token that
    /// could be the beginning of a longer one is left to the model.
    pub fn forced(&mut self) -> Vec<Token> {
        self.is_current = false;
        // An error shows in the next call of `allowed`.
        self.inner.consume_ff_tokens().into_iter().map(Token).collect()
    }

    /// True if the text is complete and nothing but its end may follow.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.inner.is_stopped() && !self.inner.is_error()
    }
}

fn is_much(stats: &ParserStats) -> bool {
    stats.all_items >= MUCH.0 || stats.lexer_cost >= MUCH.1
}
