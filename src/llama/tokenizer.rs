//! A model's vocabulary as a [`Tokenizer`]: text → tokens through llama.cpp, tokens → text from a table.
//!
//! Immutable, so all threads share it. `encode` may recurse deeply inside llama.cpp: call it on a thread with a stack
//! of [`super::TOKENIZER_STACK_BYTES`]. Texts are never logged.

use super::{
    pieces::PieceTable,
    special::{SpecialTokens, TextPart},
    text_limits::TextLimit,
};
use crate::{
    engine::runner::Tokenizer,
    protocol::{SpecialText, TextError, Token},
};
use llama_cpp_2::{model::LlamaModel, token::LlamaToken, token_type::LlamaTokenAttr};
use std::{collections::HashMap, sync::Arc};

/// The vocabulary of a loaded model. Keeps the model alive.
pub struct LlamaTokenizer {
    model: Arc<LlamaModel>,
    pieces: PieceTable,
    special: SpecialTokens,
    limit: TextLimit,
    /// The beginning-of-sequence token, if there is one.
    bos: Option<Token>,
    /// True if the vocabulary asks for BOS in front of a text.
    adds_bos: bool,
    /// The token after a text to which special tokens are added; `None` for a model that is to continue the text.
    closing: Option<Token>,
    /// The token for text that the vocabulary can neither express nor spell in bytes.
    unknown: Option<Token>,
    /// True if a text gets a space in front, as with SentencePiece.
    adds_space: bool,
    /// The result of [`Self::piece_bytes`].
    piece_bytes: Option<(u32, Vec<u8>)>,
}

/// `tokenizer.ggml.model` of vocabularies that change and drop nothing in a text, except bytes that they lack. The
/// others fold case, join white space, or take a whole unknown word for one token.
const KEEPS_TEXT: [&str; 2] = ["gpt2", "llama"];

impl LlamaTokenizer {
    /// Reads everything about the vocabulary that is needed later (some tens of milliseconds for 50,000 tokens).
    pub(super) fn new(model: Arc<LlamaModel>) -> Self {
        let vocab = model.vocab();
        let (pieces, special) = (PieceTable::read(&vocab), SpecialTokens::read(&vocab));
        let metadata = |key| model.meta_val_str(key).unwrap_or_default();
        let texts = vocab.tokens().filter_map(|token| vocab.text(token)?.to_str().ok());
        let kind = metadata("tokenizer.ggml.model");
        let limit = TextLimit::of_model(&kind, &metadata("tokenizer.ggml.pre"), texts);
        // llama.cpp's null token is −1, so the conversion fails for it.
        let bos = u32::try_from(vocab.bos().0).ok().map(Token);
        let adds_bos = vocab.should_add_bos();
        // BERT's unknown token has the type of a control token, so the file's own statement goes first.
        let named = metadata("tokenizer.ggml.unknown_token_id").parse().ok().map(Token);
        let typed = || vocab.tokens().find(|token| vocab.attr(*token).contains(LlamaTokenAttr::Unknown));
        let unknown = named.or_else(|| typed().map(|token| Token(token.0.cast_unsigned())));
        let keeps_text = KEEPS_TEXT.contains(&kind.as_str()) && !special.drops_space();
        let missing = pieces.missing_bytes();
        // SentencePiece reads text for which it has no byte, together with the text around it, as the unknown token.
        let drops_bytes_alone = kind == "gpt2" || missing.is_empty();
        let piece_bytes = pieces.longest().filter(|_| keeps_text && drops_bytes_alone).map(|longest| (longest, missing));
        let mut tokenizer = Self { model, pieces, special, limit, bos, adds_bos, unknown, adds_space: false, closing: None, piece_bytes };
        // llama.cpp has no function that tells this, so a text is tried.
        tokenizer.adds_space = tokenizer.encode_piece("a").first().is_some_and(|token| tokenizer.piece(*token, true).starts_with(b" "));
        tokenizer
    }

    /// The same tokenizer for a model that embeds: a text gets `opening` before and `closing` after it, as in training.
    pub(super) fn around(self, opening: Option<Token>, closing: Option<Token>) -> Self {
        Self { bos: opening.or(self.bos), adds_bos: opening.is_some(), closing, ..self }
    }

    /// Tokenizes text between special tokens.
    ///
    /// SentencePiece merges characters into any token of the vocabulary, control tokens too
    /// (`llm_tokenizer_spm_session`), and byte-pair encoding takes a whole word for any token with that text. A control
    /// token that a user's words became in this way is replaced by other tokens that spell it. If all control tokens
    /// are recognised, llama.cpp's result stays as it is. The unknown token stays if no word spells it: it stands for
    /// text that the vocabulary cannot express.
    fn encode_text(&self, text: &str, continues: bool, special: &SpecialText) -> Vec<Token> {
        let tokens = if continues { self.encode_continuation(text) } else { self.encode_piece(text) };
        if *special == SpecialText::Recognised || !self.has_control(&tokens) {
            return tokens;
        }
        // Searched for once: a text may have as many unknown tokens as words.
        let unspelled = self.unknown.filter(|token| self.special.control().get(token).is_some_and(|spelling| !text.contains(spelling)));
        let mut spelled: HashMap<Token, Vec<Token>> = HashMap::new();
        let mut plain = Vec::with_capacity(tokens.len() + 16);
        for token in tokens {
            match self.special.control().get(&token) {
                Some(_) if unspelled == Some(token) => plain.push(token),
                Some(text) => plain.extend(spelled.entry(token).or_insert_with(|| self.spell(text)).iter()),
                None => plain.push(token),
            }
        }
        plain
    }

    fn has_control(&self, tokens: &[Token]) -> bool {
        tokens.iter().any(|token| self.special.is_control(*token))
    }

    /// The text of a control token in other tokens: cut in two where that takes the fewest tokens, or letter by letter.
    fn spell(&self, text: &str) -> Vec<Token> {
        let halves = |(at, _)| [self.encode_continuation(&text[..at]), self.encode_continuation(&text[at..])].concat();
        let spellings = text.char_indices().skip(1).map(halves).filter(|tokens| !self.has_control(tokens));
        spellings.min_by_key(Vec::len).unwrap_or_else(|| {
            let mut letter = [0; 4];
            text.chars().flat_map(|character| self.encode_continuation(character.encode_utf8(&mut letter))).collect()
        })
    }

    /// The tokens of text that follows other text, without the space that SentencePiece puts in front. The anchor, a
    /// byte that no vocabulary has in a longer token, takes that space and is dropped with it, as Meta's
    /// `encode_infilling` does with `☺`.
    fn encode_continuation(&self, text: &str) -> Vec<Token> {
        const ANCHOR: &str = "\u{1}";
        if !self.adds_space {
            // The anchor would be part of the first word.
            return self.encode_piece(text);
        }
        let mut tokens = self.encode_piece(&format!("{ANCHOR}{text}"));
        match tokens.iter().position(|token| self.piece(*token, true) == ANCHOR.as_bytes()) {
            Some(anchor) => tokens.split_off(anchor + 1),
            None => self.encode_piece(text),
        }
    }

    fn encode_piece(&self, text: &str) -> Vec<Token> {
        // At most a token per byte, and SentencePiece's space in front; with less room llama.cpp would tokenize twice.
        let mut tokens: Vec<LlamaToken> = Vec::with_capacity(text.len() + 4);
        self.model.vocab().tokenize_into(text.as_bytes(), &mut tokens, false, false);
        tokens.into_iter().map(|token| Token(token.0.cast_unsigned())).collect()
    }

    /// Spellings of control tokens, with their ids.
    pub(super) fn control_tokens(&self) -> Vec<(String, Token)> {
        self.special.control().iter().map(|(token, text)| (text.clone(), *token)).collect()
    }

    /// The maximum bytes of text per token, and the bytes that are left out of a text, sorted. `None` if a text may
    /// have fewer tokens than these numbers imply.
    pub(super) fn piece_bytes(&self) -> Option<(u32, &[u8])> {
        self.piece_bytes.as_ref().map(|(longest, dropped)| (*longest, dropped.as_slice()))
    }

    /// True if the vocabulary asks for BOS in front of a text.
    pub(super) fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The beginning-of-sequence token, if the vocabulary has one.
    #[must_use]
    pub fn bos(&self) -> Option<Token> {
        self.bos
    }
}

impl Tokenizer for LlamaTokenizer {
    fn encode(&self, text: &str, add_special: bool, special: &SpecialText) -> Result<Vec<Token>, TextError> {
        self.limit.check(text)?;
        let parts = self.special.split(text, special);
        self.limit.check_parts(parts.iter().filter(|part| !matches!(part, TextPart::Special(_))).count())?;
        let mut tokens: Vec<Token> = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            let goes_on = index == 0 && *special == SpecialText::Continuation;
            match part {
                TextPart::Special(token) => tokens.push(token),
                TextPart::Text(text) => tokens.append(&mut self.encode_text(text, goes_on, special)),
                TextPart::Continuation(text) => tokens.append(&mut self.encode_text(text, true, special)),
            }
        }
        // BOS is added here and not by llama.cpp, which would double a BOS that the text spells out, and add EOS too.
        let bos = self.bos.filter(|_| add_special && self.adds_bos);
        let mut tokens = tokens.into_iter().peekable();
        let bos = bos.filter(|bos| tokens.peek() != Some(bos));
        Ok(bos.into_iter().chain(tokens).chain(self.closing.filter(|_| add_special)).collect())
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

#[cfg(test)]
mod tests;
