//! The tokens of a text that a constraint forces: the tokens that the model's own tokenizer would write.
//!
//! A model that is made to spell `"temperature":` letter by letter continues worse than one that reads the text as it
//! was trained to. A text that the tokenizer cannot write byte for byte (a part of a character) is written greedily,
//! the longest token first.

use crate::protocol::Token;
use llguidance::toktrie::{TokTrie, TokenId, TokenizerEnv};
use std::sync::Arc;

/// Turns a text that follows other text into tokens.
pub type SpellFn = Arc<dyn Fn(&str) -> Vec<Token> + Send + Sync>;

/// Largest number of bytes that are turned into tokens at a time. The engine thread does it, with an ordinary stack,
/// and some models' pre-tokenizers recurse for each character. Longer texts are cut, which may cost a token at each
/// cut.
const MAX_SPELLED: usize = 1 << 10;

/// llguidance's view of a tokenizer.
pub(super) struct Spelling {
    trie: TokTrie,
    spell: SpellFn,
}

impl Spelling {
    pub(super) fn new(trie: TokTrie, spell: SpellFn) -> Self {
        Self { trie, spell }
    }

    /// The tokenizer's own tokens for a text, if their bytes are exactly this text.
    fn canonical(&self, text: &str) -> Option<Vec<TokenId>> {
        let tokens: Vec<TokenId> = (self.spell)(text).into_iter().map(|Token(id)| id).collect();
        let is_known = tokens.iter().all(|&id| usize::try_from(id).is_ok_and(|id| id < self.trie.vocab_size()));
        (is_known && self.trie.decode_raw(&tokens) == text.as_bytes()).then_some(tokens)
    }
}

impl TokenizerEnv for Spelling {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let Ok(mut text) = std::str::from_utf8(bytes) else { return self.trie.greedy_tokenize(bytes) };
        let mut tokens = Vec::new();
        while !text.is_empty() {
            // A character has at most four bytes, so the cut is not at 0.
            let cut = (0..=MAX_SPELLED.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            let (now, later) = text.split_at(cut);
            tokens.extend(self.canonical(now).unwrap_or_else(|| self.trie.greedy_tokenize(now.as_bytes())));
            text = later;
        }
        tokens
    }
}
