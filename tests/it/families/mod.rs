//! Tests of each model family on models with random weights and realistic vocabularies (`support::gguf`): BOS, spaces,
//! special tokens, filling in the middle, end of generation. The results are compared with llama.cpp's own.
//!
//! The toys are written and loaded once for the whole binary.

#![cfg(test)]

mod facts;
mod fields;
mod hostile;
mod replaced;
mod server;
mod texts;
mod users;
mod windows;

use crate::support::gguf::{self, Kind, Toy};
use llama_cpp_2::{
    llama_backend::LlamaBackend,
    model::{LlamaModel, params::LlamaModelParams},
};
use llamero::{
    engine::runner::Tokenizer,
    llama::{GeneratingModel, LlamaTokenizer, TOKENIZER_STACK_BYTES, load_generating},
    protocol::{ModelInfo, SpecialText, Token},
};
use std::{
    mem::ManuallyDrop,
    sync::{Arc, OnceLock},
};

/// A toy, loaded by llamero and by llama.cpp itself.
struct Family {
    toy: Toy,
    loaded: GeneratingModel,
    tokenizer: Arc<LlamaTokenizer>,
    info: ModelInfo,
    separators: Vec<(String, Token)>,
    reference: LlamaModel,
}

/// All families; a family's name is `general.name` of its toy.
const FAMILIES: [fn() -> Toy; 12] = [
    gguf::llama2_like,
    gguf::llama2_reachable,
    gguf::codellama_like,
    gguf::codellama_reachable,
    gguf::codellama_user_defined,
    gguf::mistral_v3_like,
    gguf::mistral_v3_reachable,
    gguf::gemma_like,
    gguf::tekken_like,
    gguf::llama3_like,
    gguf::qwen_like,
    gguf::gpt_oss_like,
];

fn families() -> &'static [Family] {
    static ALL: OnceLock<Vec<Family>> = OnceLock::new();
    ALL.get_or_init(|| FAMILIES.iter().map(|toy| Family::of(toy())).collect())
}

fn family(name: &str) -> &'static Family {
    families().iter().find(|family| family.info.name == name).unwrap_or_else(|| panic!("no family {name}"))
}

impl Family {
    fn of(toy: Toy) -> Self {
        let path = toy.write();
        let loaded = load_generating(&gguf::engine_options(&path), |_| {}).unwrap_or_else(|error| panic!("{error}"));
        let info = loaded.info(&loaded.runner().unwrap());
        // The load above has initialised it for as long as this process runs.
        let backend = ManuallyDrop::new(LlamaBackend {});
        let params = LlamaModelParams::default().with_vocab_only(true);
        let reference = LlamaModel::load_from_file(&backend, &path, &params).unwrap();
        Self { separators: separators(&toy), tokenizer: loaded.tokenizer(), toy, loaded, info, reference }
    }

    fn encode(&self, text: &str, special: &SpecialText) -> Vec<Token> {
        self.tokenizer.encode(text, false, special).unwrap()
    }

    /// The text of tokens, with special tokens written out.
    fn decode(&self, tokens: &[Token]) -> Vec<u8> {
        tokens.iter().flat_map(|token| self.tokenizer.piece(*token, true).to_vec()).collect()
    }

    /// llama.cpp's tokens of a text.
    fn reference(&self, text: &str, parse_special: bool) -> Vec<Token> {
        let tokens = self.reference.vocab().tokenize(text.as_bytes(), false, parse_special);
        tokens.into_iter().map(|token| Token(token.0.cast_unsigned())).collect()
    }

    fn token(&self, text: &str) -> Token {
        Token(self.toy.id(text))
    }

    fn is_sentencepiece(&self) -> bool {
        self.info.tokenizer == "llama"
    }

    /// True if a text gets a space in front, as with SentencePiece, except Gemma's.
    fn puts_space_in_front(&self) -> bool {
        self.is_sentencepiece() && self.info.name != "gemma-like"
    }

    /// The spellings of those tokens that a user must not be able to write.
    fn controls(&self, tokens: &[Token]) -> Vec<String> {
        let spelled = |token: &Token| self.separators.iter().find(|(_, separator)| separator == token);
        tokens.iter().filter_map(spelled).map(|(text, _)| text.clone()).collect()
    }
}

/// Spellings of the tokens that separate roles, tools and parts of a prompt, of any kind that the file gives them.
fn separators(toy: &Toy) -> Vec<(String, Token)> {
    let words = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"];
    let kinds = [Kind::Control, Kind::Unknown, Kind::UserDefined];
    let texts = kinds.into_iter().flat_map(|kind| toy.vocabulary.of_kind(kind));
    let texts = texts.filter(|text| !words.contains(text) && !text.trim().is_empty());
    texts.map(|text| (text.to_owned(), Token(toy.id(text)))).collect()
}

/// Runs `work` on a stack of the size that the engine gives its tokenizers.
fn on_a_tokenizers_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(TOKENIZER_STACK_BYTES).spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}
