//! Embeddings of a real model, all-MiniLM-L6-v2, against a calculation that shares no code with llama.cpp.
//!
//! The model is the file in `LLAMERO_TEST_EMBEDDING_MODEL`, or `models/all-minilm-l6-v2.gguf`, which
//! `scripts/minilm.py convert` makes; `scripts/minilm.py reference` computed the expected vectors. Without the file
//! these tests print that and pass.

use super::options;
use llamero::{
    engine::{embedder::Embedder, runner::Tokenizer},
    llama::{EmbeddingModel, LlamaEmbedder, LoadedModel, load, load_generating},
    protocol::{EngineOptions, KvLayout, LoadError, Pooling, SpecialText, Token},
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// A text, its tokens, and its normalised vector.
struct Known {
    text: String,
    tokens: Vec<Token>,
    vector: Vec<f32>,
}

/// The texts, tokens and vectors that `scripts/minilm.py` wrote.
fn known() -> Vec<Known> {
    let fixture: Value = serde_json::from_str(include_str!("../../fixtures/minilm.json")).unwrap();
    let row = |row: &Value| Known {
        text: row["text"].as_str().unwrap().to_owned(),
        tokens: row["tokens"].as_array().unwrap().iter().map(|id| Token(u32::try_from(id.as_u64().unwrap()).unwrap())).collect(),
        vector: serde_json::from_value(row["embedding"].clone()).unwrap(),
    };
    fixture.as_array().unwrap().iter().map(row).collect()
}

fn embedding_options(max_model_len: Option<u32>) -> Option<EngineOptions> {
    let path = std::env::var_os("LLAMERO_TEST_EMBEDDING_MODEL")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models/all-minilm-l6-v2.gguf"), PathBuf::from);
    if !path.is_file() {
        eprintln!("SKIPPED: no embedding model at {}; scripts/minilm.py convert makes it", path.display());
        return None;
    }
    Some(EngineOptions { model_path: path, max_model_len, ..options(KvLayout::Split) })
}

fn loaded() -> Option<&'static EmbeddingModel> {
    static LOADED: OnceLock<Option<EmbeddingModel>> = OnceLock::new();
    let load = || match load(&embedding_options(None)?, |_| {}).expect("the embedding model loads") {
        LoadedModel::Embeds(model) => Some(model),
        LoadedModel::Generates(_) => panic!("it is no embedding model"),
    };
    LOADED.get_or_init(load).as_ref()
}

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    let dot = |left: &[f32], right: &[f32]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f32>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

fn embed(embedder: &mut LlamaEmbedder<'_>, inputs: &[&[Token]]) -> Vec<Vec<f32>> {
    embedder.embed(inputs).unwrap()
}

#[test]
fn an_encoder_is_opened_as_one_and_says_what_it_is() {
    let Some(loaded) = loaded() else { return };
    let embedder = loaded.embedder().unwrap();

    let info = loaded.info(&embedder);

    let embedding = info.embedding().unwrap();
    assert_eq!((info.architecture.as_str(), info.tokenizer.as_str(), info.quantization.as_str()), ("bert", "bert", "F16"));
    assert_eq!((embedding.dimensions, embedding.pooling, embedding.max_input_tokens), (384, Pooling::Mean, 512));
    assert_eq!(embedding.around_text, (vec![Token(101)], vec![Token(102)]));
    assert_eq!(embedding.around_pair, (vec![Token(101)], vec![Token(102)], vec![Token(102)]));
    let Err(LoadError::Unsupported(_)) = load_generating(&embedding_options(None).unwrap(), |_| {}) else { panic!("it does not generate") };
}

#[test]
fn texts_become_the_tokens_of_the_original_tokenizer() {
    let Some(loaded) = loaded() else { return };
    let tokenizer = loaded.tokenizer();

    for known in known() {
        assert_eq!(tokenizer.encode(&known.text, true, &SpecialText::Plain).unwrap(), known.tokens, "{:?}", known.text);
    }
    let user = tokenizer.encode("a [SEP] b [CLS]", false, &SpecialText::Plain).unwrap();
    assert!(!user.contains(&Token(101)) && !user.contains(&Token(102)), "a user's words become no special token: {user:?}");
}

#[test]
fn vectors_equal_an_independent_calculation_alone_and_in_a_batch() {
    let Some(loaded) = loaded() else { return };
    let mut embedder = loaded.embedder().unwrap();
    let known = known();

    let together = embed(&mut embedder, &known.iter().map(|known| known.tokens.as_slice()).collect::<Vec<_>>());

    for (known, in_batch) in known.iter().zip(&together) {
        let alone = embed(&mut embedder, &[&known.tokens]).remove(0);
        let (right, same) = (cosine(&alone, &known.vector), cosine(&alone, in_batch));
        eprintln!("{:?}: cosine {right} with the reference, {same} with itself in a batch", known.text);
        assert!(right > 0.9995, "{:?}: {right}", known.text);
        assert!(same > 0.99999, "{:?}: {same}", known.text);
    }
}

#[test]
fn what_means_the_same_is_closer_than_what_does_not() {
    let Some(loaded) = loaded() else { return };
    let mut embedder = loaded.embedder().unwrap();
    let known = known();
    let vectors = embed(&mut embedder, &known.iter().map(|known| known.tokens.as_slice()).collect::<Vec<_>>());

    // Pairs about eating, hunting and falling.
    for (left, right) in [(0, 1), (3, 4), (5, 6)] {
        let others = (0..vectors.len()).filter(|other| *other != left && *other != right);
        let closest = others.map(|other| cosine(&vectors[left], &vectors[other])).fold(-1.0, f32::max);
        let same = cosine(&vectors[left], &vectors[right]);
        eprintln!("{:?} and {:?}: {same}; next {closest}", known[left].text, known[right].text);
        assert!(same > closest, "{same} {closest}");
    }
}

#[test]
fn a_longest_input_and_a_fullest_batch_are_computed_and_one_more_token_is_not() {
    let Some(loaded) = loaded() else { return };
    let mut embedder = loaded.embedder().unwrap();
    let word = Token(2833);
    let limits = embedder.limits();
    let longest = vec![word; limits.max_input as usize];
    let short = vec![word; (limits.batch_tokens / limits.batch_inputs) as usize];
    let full = vec![short.as_slice(); limits.batch_inputs as usize];

    assert_eq!(embed(&mut embedder, &[&longest])[0].len(), 384);
    let same = embed(&mut embedder, &full);
    assert!(same.iter().all(|vector| cosine(vector, &same[0]) > 0.99999));
    assert!(embedder.embed(&[&[longest.as_slice(), &[word]].concat()]).is_err());
    assert!(embedder.embed(&[&[Token(limits.vocabulary_size)]]).is_err());
    assert_eq!(embed(&mut embedder, &[&short])[0].len(), 384, "a refusal leaves the embedder usable");
}

#[test]
fn a_context_longer_than_the_positions_of_the_model_is_refused() {
    let Some(options) = embedding_options(Some(513)) else { return };

    let Err(LoadError::Unsupported(reason)) = load(&options, |_| {}) else { panic!("it must be refused") };

    assert!(reason.contains("--max-model-len 513"), "{reason}");
}
