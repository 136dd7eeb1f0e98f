//! A model's vocabulary behind [`Tokenizer`]: text → tokens through llama.cpp, tokens → text from a table.
//!
//! Immutable, so shared by all threads. `encode` may recurse deeply inside llama.cpp: call it on a thread with a stack
//! of [`super::TOKENIZER_STACK_BYTES`]. It logs no text.

use super::{
    pieces::Pieces,
    special::{Part, SpecialTokens},
    text_limits::TextLimit,
};
use crate::{
    engine::runner::Tokenizer,
    protocol::{SpecialText, TextError, Token},
};
use llama_cpp_2::{model::LlamaModel, token::LlamaToken};
use std::{collections::HashMap, sync::Arc};

/// The vocabulary of a loaded model, which it keeps alive.
pub struct LlamaTokenizer {
    model: Arc<LlamaModel>,
    pieces: Pieces,
    special: SpecialTokens,
    limit: TextLimit,
    /// Beginning-of-sequence token, if there is one.
    bos: Option<Token>,
    /// Whether the vocabulary asks for it in front of a text.
    adds_bos: bool,
    /// What goes behind a text that special tokens are added to: nothing for a model that is to go on with it.
    closing: Option<Token>,
}

impl LlamaTokenizer {
    /// Reads all of the vocabulary that is needed later (some tens of milliseconds for 50,000 tokens).
    pub(super) fn new(model: Arc<LlamaModel>) -> Self {
        let vocab = model.vocab();
        let (pieces, special) = (Pieces::read(&vocab), SpecialTokens::read(&vocab));
        let metadata = |key| model.meta_val_str(key).unwrap_or_default();
        let texts = vocab.tokens().filter_map(|token| vocab.text(token)?.to_str().ok());
        let limit = TextLimit::of_model(&metadata("tokenizer.ggml.model"), &metadata("tokenizer.ggml.pre"), texts);
        // llama.cpp's null token is −1, so the conversion fails for it.
        let bos = u32::try_from(vocab.bos().0).ok().map(Token);
        let adds_bos = vocab.should_add_bos();
        Self { model, pieces, special, limit, bos, adds_bos, closing: None }
    }

    /// The same for a model that embeds: a text gets `opening` in front and `closing` behind, as it was trained.
    pub(super) fn around(self, opening: Option<Token>, closing: Option<Token>) -> Self {
        Self { bos: opening.or(self.bos), adds_bos: opening.is_some(), closing, ..self }
    }

    /// Text between special tokens.
    ///
    /// SentencePiece merges characters into whatever the vocabulary has, control tokens too (`llm_tokenizer_spm_session`), and
    /// byte-pair encoding takes a whole word for any token of that text: a user's words are then spelled in other tokens.
    /// Where all control tokens are recognised, the result is llama.cpp's as it is.
    fn encode_text(&self, text: &str, continues: bool, special: &SpecialText) -> Vec<Token> {
        let tokens = if continues { self.encode_continuation(text) } else { self.encode_piece(text) };
        if *special == SpecialText::Recognised || !self.has_control(&tokens) {
            return tokens;
        }
        let mut spelled: HashMap<Token, Vec<Token>> = HashMap::new();
        let mut plain = Vec::with_capacity(tokens.len() + 16);
        for token in tokens {
            match self.special.control().get(&token) {
                Some(text) => plain.extend(spelled.entry(token).or_insert_with(|| self.spell(text)).iter()),
                None => plain.push(token),
            }
        }
        plain
    }

    fn has_control(&self, tokens: &[Token]) -> bool {
        tokens.iter().any(|token| self.special.is_control(*token))
    }

    /// The text of a control token in other tokens: cut in two where that takes fewest, or letter by letter.
    fn spell(&self, text: &str) -> Vec<Token> {
        let halves = |(at, _)| [self.encode_continuation(&text[..at]), self.encode_continuation(&text[at..])].concat();
        let spellings = text.char_indices().skip(1).map(halves).filter(|tokens| !self.has_control(tokens));
        spellings.min_by_key(Vec::len).unwrap_or_else(|| {
            let mut letter = [0; 4];
            text.chars().flat_map(|character| self.encode_continuation(character.encode_utf8(&mut letter))).collect()
        })
    }

    /// What follows other text: without the space that SentencePiece puts in front. A byte that no vocabulary has a
    /// longer token with takes that space and is dropped with it.
    fn encode_continuation(&self, text: &str) -> Vec<Token> {
        const ANCHOR: &str = "\u{1}";
        let mut tokens = self.encode_piece(&format!("{ANCHOR}{text}"));
        match tokens.iter().position(|token| self.piece(*token, true) == ANCHOR.as_bytes()) {
            Some(anchor) => tokens.split_off(anchor + 1),
            None => self.encode_piece(text),
        }
    }

    fn encode_piece(&self, text: &str) -> Vec<Token> {
        // A token per byte at most, and SentencePiece's space in front; with less room it would be done twice.
        let mut tokens: Vec<LlamaToken> = Vec::with_capacity(text.len() + 4);
        self.model.vocab().tokenize_into(text.as_bytes(), &mut tokens, false, false);
        tokens.into_iter().map(|token| Token(token.0.cast_unsigned())).collect()
    }

    /// Control tokens as they are spelled, by id.
    pub(super) fn control_tokens(&self) -> Vec<(String, Token)> {
        self.special.control().iter().map(|(token, text)| (text.clone(), *token)).collect()
    }

    /// Whether the vocabulary asks for BOS in front of a text.
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
        self.limit.check_parts(parts.iter().filter(|part| !matches!(part, Part::Special(_))).count())?;
        let mut tokens: Vec<Token> = Vec::new();
        for part in parts {
            match part {
                Part::Special(token) => tokens.push(token),
                Part::Text(text) => tokens.append(&mut self.encode_text(text, false, special)),
                Part::Continuation(text) => tokens.append(&mut self.encode_text(text, true, special)),
            }
        }
        // BOS is put in front here and not by llama.cpp, which would double one that the text spells out, and add EOS too.
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
mod tests {
    use super::*;
    use crate::llama::{load::backend, text_limits::TOKENIZER_STACK_BYTES};
    use llama_cpp_2::model::params::LlamaModelParams;
    use std::{
        path::{Path, PathBuf},
        time::{Duration, Instant},
    };

    /// The vocabulary of `LLAMERO_TEST_MODEL` (a file with nothing but a vocabulary will do) or of the default test model.
    fn vocabulary() -> Option<Arc<LlamaModel>> {
        let path = std::env::var_os("LLAMERO_TEST_MODEL")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models/smollm2-135m-instruct.gguf"), PathBuf::from);
        if !path.is_file() {
            eprintln!("SKIPPED: no model at {}; set LLAMERO_TEST_MODEL", path.display());
            return None;
        }
        let params = LlamaModelParams::default().with_vocab_only(true);
        Some(Arc::new(LlamaModel::load_from_file(backend().unwrap(), path, &params).unwrap()))
    }

    /// What is cut out here must be what llama.cpp would have cut out.
    #[test]
    fn texts_become_the_tokens_that_llama_cpp_makes_of_them() {
        let Some(model) = vocabulary() else { return };
        let tokenizer = LlamaTokenizer::new(Arc::clone(&model));
        let vocab = model.vocab();
        // Special tokens of this vocabulary, some of them, with all kinds of text around.
        let written = |id| String::from_utf8_lossy(tokenizer.piece(Token(id), true)).into_owned();
        let specials = (0..tokenizer.vocabulary_size()).filter(|&id| tokenizer.piece(Token(id), false).is_empty()).map(written);
        let mut texts: Vec<String> =
            ["", " ", "Hello  world\n\n x", "é😀中 \0 <s> </s> <|im_start|> [INST] \t\t    x"].map(str::to_owned).into();
        for special in specials.filter(|text| !text.is_empty()).take(40) {
            texts.push(special.clone());
            texts.push(format!("a {special} b {special}{special}\n c{special}"));
            texts.push(format!("{special}user\nHi there{special}<{special}>"));
        }

        for text in &texts {
            let expected: Vec<Token> =
                vocab.tokenize(text.as_bytes(), false, true).iter().map(|token| Token(token.0.cast_unsigned())).collect();

            assert_eq!(tokenizer.encode(text, false, &SpecialText::Recognised).unwrap(), expected, "{text:?}");
        }
    }

    /// One thing over and over, on a stack like the engine's: tokens or an error within seconds. Times are in `text_limits`.
    #[test]
    fn no_text_overflows_the_stack_or_takes_long() {
        let Some(model) = vocabulary() else { return };
        let tokenizer = LlamaTokenizer::new(model);
        let newlines = "\n".repeat(1000) + "a";
        let units = "A| |7|!|😀|中|é|a |\n |\n|!\n|\0|<|The river. |a</s>".split('|').chain(["<|im_end|>", "a<|im_end|>", &newlines]);
        // As long as a run may be where runs are limited; and 2 MB, as a request body, of what is slowest.
        let at_the_limit = units.map(|unit| (unit, unit.repeat(300_000 / unit.chars().count())));
        let large = ["\n", " ", "a<|im_end|>"].map(|unit| (unit, unit.repeat(2_000_000 / unit.len())));
        let texts: Vec<(String, String)> = at_the_limit.chain(large).map(|(unit, text)| (unit.to_owned(), text)).collect();
        let work = move || {
            for (unit, text) in texts {
                let start = Instant::now();
                let tokens = tokenizer.encode(&text, false, &SpecialText::Recognised).map(|tokens| tokens.len());
                let taken = start.elapsed();
                eprintln!("{} bytes of {unit:?}: {tokens:?} in {taken:.2?}", text.len());
                assert!(taken < Duration::from_secs(30), "{} bytes of {unit:?} took {taken:?}", text.len());
                assert!(tokens.is_err() || tokens.is_ok_and(|tokens| tokens > 0), "{unit:?}");
            }
        };
        std::thread::Builder::new().stack_size(TOKENIZER_STACK_BYTES).spawn(work).unwrap().join().unwrap();
    }
}
