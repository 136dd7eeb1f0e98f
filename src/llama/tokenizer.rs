//! A model's vocabulary behind [`Tokenizer`]: text → tokens through llama.cpp, tokens → text from a table.
//!
//! Immutable, so shared by all threads. `encode` may recurse deeply inside llama.cpp: call it on a thread with a stack
//! of [`super::text_limits::STACK_BYTES`]. It logs no text.

use super::{
    pieces::Pieces,
    special::{Part, SpecialTokens},
    text_limits::RunLimit,
};
use crate::{
    engine::runner::Tokenizer,
    protocol::{TextError, Token},
};
use llama_cpp_2::{model::LlamaModel, token::LlamaToken};
use std::sync::Arc;

/// The vocabulary of a loaded model, which it keeps alive.
pub struct LlamaTokenizer {
    model: Arc<LlamaModel>,
    pieces: Pieces,
    special: SpecialTokens,
    run_limit: RunLimit,
    /// Beginning-of-sequence token, if there is one.
    bos: Option<Token>,
    /// Whether the vocabulary asks for it in front of a text.
    adds_bos: bool,
}

impl LlamaTokenizer {
    /// Reads all of the vocabulary that is needed later (some tens of milliseconds for 50,000 tokens).
    pub(super) fn new(model: Arc<LlamaModel>) -> Self {
        let vocab = model.vocab();
        let (pieces, special) = (Pieces::read(&vocab), SpecialTokens::read(&vocab));
        let metadata = |key| model.meta_val_str(key).unwrap_or_default();
        let run_limit = RunLimit::of_model(&metadata("tokenizer.ggml.model"), &metadata("tokenizer.ggml.pre"));
        // llama.cpp's null token is −1, so the conversion fails for it.
        let bos = u32::try_from(vocab.bos().0).ok().map(Token);
        let adds_bos = vocab.should_add_bos();
        Self { model, pieces, special, run_limit, bos, adds_bos }
    }

    /// The beginning-of-sequence token, if the vocabulary has one.
    #[must_use]
    pub fn bos(&self) -> Option<Token> {
        self.bos
    }
}

impl Tokenizer for LlamaTokenizer {
    fn encode(&self, text: &str, add_special: bool) -> Result<Vec<Token>, TextError> {
        self.run_limit.check(text)?;
        let vocab = self.model.vocab();
        let mut tokens: Vec<LlamaToken> = Vec::new();
        for part in self.special.split(text) {
            match part {
                Part::Special(token) => tokens.push(LlamaToken::new(token.0.cast_signed())),
                Part::Text(text) => {
                    // A token per byte at most, and SentencePiece's space in front; with less room it would be done twice.
                    tokens.reserve(text.len() + 4);
                    vocab.tokenize_into(text.as_bytes(), &mut tokens, false, false);
                }
            }
        }
        let tokens = tokens.into_iter().map(|token| Token(token.0.cast_unsigned()));
        // BOS is put in front here and not by llama.cpp, which would double one that the text spells out, and add EOS too.
        let bos = self.bos.filter(|_| add_special && self.adds_bos);
        let mut tokens = tokens.peekable();
        let bos = bos.filter(|bos| tokens.peek() != Some(bos));
        Ok(bos.into_iter().chain(tokens).collect())
    }

    fn piece(&self, token: Token, special: bool) -> &[u8] {
        self.pieces.get(token.0, special)
    }

    fn is_eog(&self, token: Token) -> bool {
        self.pieces.is_eog(token.0)
    }

    fn vocabulary_size(&self) -> u32 {
        self.pieces.len()
    }
}
