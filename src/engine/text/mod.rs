//! Tokens' bytes → released text: incremental UTF-8, stop strings with hold-back, log-probabilities kept in step.

use crate::protocol::TokenLogprob;

/// What may be shown after a token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Released {
    /// Text to append to what was released before.
    pub text: String,
    /// Log-probabilities of the tokens whose bytes are now wholly released.
    pub logprobs: Vec<TokenLogprob>,
    /// Index of the stop string that ended the text; nothing may be pushed afterwards.
    pub stopped: Option<u32>,
}

/// Assembles the text of one sequence. See the module.
#[derive(Debug)]
pub struct TextAssembler {}

#[expect(unused_variables, clippy::needless_pass_by_value, reason = "signatures first; the body follows")]
impl TextAssembler {
    /// For a sequence with these stop strings, none of them empty.
    #[must_use]
    pub fn new(stop: &[String]) -> Self {
        unimplemented!()
    }

    /// Adds a token's bytes (possibly none) and what is known about its probability.
    pub fn push(&mut self, piece: &[u8], logprob: Option<TokenLogprob>) -> Released {
        unimplemented!()
    }

    /// Releases what is held back, because generation ended for another reason than a stop string.
    pub fn flush(&mut self) -> Released {
        unimplemented!()
    }
}
