//! Tokens' bytes → released text: incremental UTF-8, stop strings with hold-back, and log-probabilities that are
//! released with their text.
//!
//! ```text
//! token bytes ─ utf8 ─▶ characters ─ stop ─▶ released text
//!      └─ log-probability ── waits for its bytes ──▶ released with them
//! ```
//!
//! Owns the text that is held back: at most three bytes of an unfinished character, less than one stop string of text,
//! and the log-probabilities of the tokens that these came from. Nothing is read twice. The state is a function of the
//! bytes pushed, so a replay that pushes a sequence's earlier tokens again reaches the state of the first run.

mod assembler;
mod stop;
#[cfg(test)]
mod tests;
mod utf8;

pub use assembler::TextAssembler;

use crate::protocol::TokenLogprob;

/// Text that may be shown after a token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Released {
    /// Text to append to the text that was released before.
    pub text: String,
    /// Log-probabilities of the tokens whose bytes are now wholly released, in order. If a stop string cuts the text,
    /// those of all tokens with a character before it: a token with the end of the text and the beginning of the stop
    /// string is reported, a token with parts of the stop string alone is not.
    pub logprobs: Vec<TokenLogprob>,
    /// Index of the stop string that ended the text; nothing may be pushed afterwards. A flush may set it too.
    pub stopped: Option<u32>,
}
