//! Small models with random weights and realistic vocabularies, written as GGUF files by the tests themselves.
//!
//! They are for everything that depends on the vocabulary and not on a model's knowledge: BOS, spaces, special tokens,
//! templates, FIM, end of generation. [`families`] has one of each family; a [`Toy`] can be changed before it is
//! written, and can get a script of tokens to generate:
//!
//! ```ignore
//! let toy = gguf::llama3_like();
//! let file = toy.clone().saying(&["Hello", "Ġworld", "<|eot_id|>"]).write();  // deleted when dropped
//! let loaded = llamero::llama::load_generating(&gguf::engine_options(&file), |_| {}).unwrap();
//! ```
//!
//! A file has about 1 MB and loads in about ten milliseconds.

mod families;
mod templates;
mod vocabulary;
mod weights;
mod writer;

pub(crate) use families::{
    codellama_like, codellama_reachable, codellama_user_defined, gemma_like, gpt_oss_like, llama2_like, llama2_reachable, llama3_like,
    mistral_v3_like, mistral_v3_reachable, qwen_like, tekken_like,
};
pub(crate) use vocabulary::{Kind, Vocabulary};
pub(crate) use writer::Value;

use llamero::protocol::EngineOptions;
use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};
use tempfile::TempPath;

/// A model to be written.
#[derive(Debug, Clone)]
pub(crate) struct Toy {
    pub(crate) vocabulary: Vocabulary,
    metadata: Vec<(String, Value)>,
    script: Vec<u32>,
    window: Option<u32>,
    shape: weights::Shape,
}

impl Toy {
    /// Creates a toy; `model` is `tokenizer.ggml.model`, such as `llama` or `gpt2`.
    pub(crate) fn new(name: &str, model: &str, vocabulary: Vocabulary) -> Self {
        let toy = Self { vocabulary, metadata: Vec::new(), script: Vec::new(), window: None, shape: weights::Shape::SMALL };
        toy.with("general.architecture", "llama")
            .with("general.name", name)
            .with("general.file_type", 0_u32)
            .with("tokenizer.ggml.model", model)
    }

    /// Adds this metadata entry, and removes one of the same key.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self = self.without(key);
        self.metadata.push((key.to_owned(), value.into()));
        self
    }

    /// Removes this metadata entry.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(name, _)| name != key);
        self
    }

    /// Adds `tokenizer.ggml.{name}_token_id` for each of these tokens: `("eos", "</s>")`.
    pub(crate) fn with_ids(mut self, tokens: &[(&str, &str)]) -> Self {
        for (name, text) in tokens {
            let id = self.vocabulary.id(text);
            self = self.with(&format!("tokenizer.ggml.{name}_token_id"), id);
        }
        self
    }

    /// Makes greedy sampling generate these tokens, in the vocabulary's spelling (`Ġworld`, `▁world`): after any other
    /// token the first, after each of them the next, after the last the first again. At most 63, all different.
    pub(crate) fn saying(mut self, tokens: &[&str]) -> Self {
        self.script = tokens.iter().map(|text| self.vocabulary.id(text)).collect();
        self
    }

    /// Uses an architecture whose every second layer attends to the last `window` positions only; such a toy generates
    /// no meaningful text.
    pub(crate) fn sliding(self, window: u32) -> Self {
        Self { window: Some(window), ..self.with("general.architecture", "cohere2") }
    }

    /// Uses rows of 256 numbers, which every quantization of llama.cpp takes, and logits spread like a real model's.
    pub(crate) fn wide(self) -> Self {
        Self { shape: weights::Shape::WIDE, ..self }
    }

    /// The id of the token that is stored as `text`; panics if there is none.
    pub(crate) fn id(&self, text: &str) -> u32 {
        self.vocabulary.id(text)
    }

    /// Writes the file to the folder of temporary files. Dropping the path deletes it, even while a model has it
    /// mapped.
    pub(crate) fn write(&self) -> TempPath {
        let file = tempfile::Builder::new().prefix("toy-").suffix(".gguf").tempfile().unwrap();
        let (metadata, tensors) = self.contents();
        let mut out = BufWriter::new(file.as_file());
        writer::write(&mut out, &metadata, &tensors).unwrap();
        out.flush().unwrap();
        drop(out);
        file.into_temp_path()
    }

    /// Writes the model as `{name}-00001-of-00002.gguf` and its second part into a folder, like llama.cpp's
    /// `gguf-split`. Returns the paths of both.
    pub(crate) fn write_parts(&self, folder: &Path, name: &str) -> [PathBuf; 2] {
        let (metadata, tensors) = self.contents();
        let (first, second) = tensors.split_at(tensors.len() / 2);
        let all_tensors = i32::try_from(tensors.len()).unwrap();
        let of_part = |number: u16| {
            let numbers = [("no", Value::U16(number)), ("count", Value::U16(2)), ("tensors.count", Value::I32(all_tensors))];
            numbers.map(|(key, value)| (format!("split.{key}"), value))
        };
        let parts = [(0, metadata, first), (1, Vec::new(), second)];
        parts.map(|(number, metadata, tensors)| {
            let path = folder.join(format!("{name}-0000{}-of-00002.gguf", number + 1));
            let mut bytes = Vec::new();
            writer::write(&mut bytes, &[metadata, of_part(number).to_vec()].concat(), tensors).unwrap();
            std::fs::write(&path, bytes).unwrap();
            path
        })
    }

    fn contents(&self) -> (Vec<(String, Value)>, Vec<writer::Tensor>) {
        let metadata = [self.metadata.clone(), weights::metadata(self.shape, self.window), self.vocabulary.metadata()].concat();
        let tensors = weights::tensors(self.shape, self.vocabulary.len(), &self.script, 7);
        (metadata, if self.window.is_some() { weights::with_window(tensors) } else { tensors })
    }
}

/// Options with which tests open a toy: two slots of 256 positions, 64 rows per step, one CPU thread.
pub(crate) fn engine_options(path: &Path) -> EngineOptions {
    EngineOptions {
        max_model_len: Some(256),
        max_num_seqs: Some(2),
        max_num_batched_tokens: 64,
        n_gpu_layers: Some(0),
        threads: Some(1),
        ..EngineOptions::new(path.to_owned())
    }
}
