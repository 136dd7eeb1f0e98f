//! The vocabulary in the form that llguidance takes: a trie over the bytes of all tokens. Made once per model.

use super::spelling::{SpellFn, Spelling};
use crate::protocol::{ConstraintError, ConstraintErrorKind, Token};
use llguidance::{
    ParserFactory,
    earley::SlicedBiasComputer,
    toktrie::{INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Largest size of a token that can be drawn under a constraint, bytes: the trie's depth is bounded (1,024), and its
/// builder recurses.
const MAX_PIECE_BYTES: usize = 512;
/// Largest size of all tokens together, bytes: the trie has at most as many nodes, and an offset in it has 22 bits. The
/// largest vocabularies in use, of 262,144 tokens, take about half of it.
const MAX_BYTES: usize = (1 << 22) - 2;

/// The part that a token plays in a constrained text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The token adds these bytes to a text.
    Text(&'a [u8]),
    /// The token adds nothing to a text. A Lark grammar may name it as it is spelled, such as `<|im_start|>`.
    Special(&'a [u8]),
    /// The token ends a text: it is allowed where the constraint is fulfilled, and only there.
    End(&'a [u8]),
}

/// A model's vocabulary, ready for constraints.
pub struct Vocabulary {
    pub(super) factory: ParserFactory,
    /// For each byte value, true if some text token has it. Vocabularies lack bytes that no text they were made from
    /// has.
    pub(super) writes: [bool; 256],
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocabulary").finish_non_exhaustive()
    }
}

/// The tokens of a model in llguidance's spelling, in the order of their ids. A [`Vocabulary`] is made from them, in
/// this process or in another one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Words {
    words: Vec<Vec<u8>>,
    ends: Vec<u32>,
}

impl Words {
    /// The tokens with ids below `size`.
    ///
    /// # Errors
    /// If the tokens have more bytes than the trie can hold.
    pub fn new<'a>(size: u32, piece: impl Fn(Token) -> Piece<'a>) -> Result<Self, ConstraintError> {
        let mut ends = Vec::new();
        let words: Vec<Vec<u8>> = (0..size)
            .map(|id| match piece(Token(id)) {
                // The marker is no UTF-8, so that no text contains it; a text token that begins with it must not look
                // special.
                Piece::Text(bytes) if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) => Vec::new(),
                Piece::Text(bytes) => within(bytes).to_vec(),
                Piece::Special(spelled) => marked(spelled),
                Piece::End(spelled) => {
                    ends.push(id);
                    marked(spelled)
                }
            })
            .collect();
        let bytes: usize = words.iter().map(Vec::len).sum();
        if bytes > MAX_BYTES {
            return Err(unusable(format!("this model's tokens have {bytes} bytes, at most {MAX_BYTES} are possible")));
        }
        Ok(Self { words, ends })
    }
}

impl Vocabulary {
    /// The vocabulary of these tokens. `spell` turns a text that continues other text into tokens, as the model's
    /// tokenizer does. Takes some hundreds of milliseconds for 50,000 tokens.
    ///
    /// # Errors
    /// If llguidance cannot use the tokens.
    pub fn new(words: &Words, spell: SpellFn) -> Result<Self, ConstraintError> {
        let Words { words, ends } = words;
        let mut writes = [false; 256];
        for word in words.iter().filter(|word| word.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER)) {
            word.iter().for_each(|byte| writes[usize::from(*byte)] = true);
        }
        let size = u32::try_from(words.len()).map_err(|_| unusable("the model has too many tokens"))?;
        let first_end = ends.first().copied().unwrap_or(INVALID_TOKEN);
        let trie = TokTrie::from(&TokRxInfo::new(size, first_end), words);
        let trie = if ends.is_empty() { trie } else { trie.with_eos_tokens(ends) };
        let environment: TokEnv = Arc::new(Spelling::new(trie, spell));
        let slices = SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices).map_err(unusable)?;
        factory.quiet();
        super::limits::apply(factory.limits_mut());
        Ok(Self { factory, writes })
    }
}

fn unusable(reason: impl std::fmt::Display) -> ConstraintError {
    ConstraintError::new(ConstraintErrorKind::Vocabulary, format!("output cannot be constrained: {reason}"))
}

fn within(bytes: &[u8]) -> &[u8] {
    if bytes.len() <= MAX_PIECE_BYTES { bytes } else { b"" }
}

/// A special token in llguidance's convention. A token without a name stays empty and is never allowed.
fn marked(spelled: &[u8]) -> Vec<u8> {
    match within(spelled) {
        b"" => Vec::new(),
        spelled => [&[TokTrie::SPECIAL_TOKEN_MARKER], spelled].concat(),
    }
}
