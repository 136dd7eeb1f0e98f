//! Weights of a toy: two layers of llama's architecture, or of cohere2's, which has a sliding window. They are random,
//! but so small that a script written into the embeddings wins. A wide toy has larger ones, so that its logits are
//! spread like a real model's, and rows of 256, the blocks of the K quantizations.
//!
//! Every embedding has [`COMMON`] in the first dimension, and each token of the script has a dimension of its own. The
//! output layer reads them: after any token the first of the script is most likely, and after one of the script the
//! next.

use super::{Value, writer::Tensor};

const LAYERS: u32 = 2;
const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
/// Number of positions for which the toy claims to be trained.
const CONTEXT: u32 = 4096;

/// The value in the first dimension of every embedding.
const COMMON: f32 = 4.0;
/// The value in the dimension of a token of the script.
const OWN: f32 = 8.0;

/// Sizes of a toy, and of its random weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    embedding: u32,
    feed_forward: u32,
    /// Maximum absolute value of random weights.
    noise: f32,
}

impl Shape {
    /// With these sizes random weights are so small that only the script counts.
    pub(super) const SMALL: Self = Self { embedding: 64, feed_forward: 128, noise: 0.05 };
    pub(super) const WIDE: Self = Self { embedding: 256, feed_forward: 512, noise: 0.3 };

    fn head(self) -> u32 {
        self.embedding / HEADS
    }

    /// Maximum number of tokens of a script: the dimensions except the first.
    fn longest_script(self) -> usize {
        self.embedding as usize - 1
    }

    fn ones(self, name: &str) -> Tensor {
        Tensor { name: name.to_owned(), shape: vec![u64::from(self.embedding)], data: vec![1.0; self.embedding as usize] }
    }
}

/// The metadata of this shape; with a window, every second layer attends to that many positions only.
pub(super) fn metadata(shape: Shape, window: Option<u32>) -> Vec<(String, Value)> {
    let entries: [(&str, Value); 9] = [
        // With a window, there is room for contents that are several times longer than it.
        ("context_length", if window.is_some() { 8 * CONTEXT } else { CONTEXT }.into()),
        ("embedding_length", shape.embedding.into()),
        ("block_count", LAYERS.into()),
        ("feed_forward_length", shape.feed_forward.into()),
        ("attention.head_count", HEADS.into()),
        ("attention.head_count_kv", KV_HEADS.into()),
        ("attention.layer_norm_rms_epsilon", 1e-5_f32.into()),
        ("rope.dimension_count", shape.head().into()),
        ("rope.freq_base", 10_000.0_f32.into()),
    ];
    let sliding = window.into_iter().flat_map(|window| {
        [
            ("attention.sliding_window", Value::from(window)),
            ("attention.sliding_window_pattern", 2_u32.into()),
            ("attention.layer_norm_epsilon", 1e-5_f32.into()),
            ("logit_scale", 1.0_f32.into()),
        ]
    });
    let architecture = if window.is_some() { "cohere2" } else { "llama" };
    entries.into_iter().chain(sliding).map(|(key, value)| (format!("{architecture}.{key}"), value)).collect()
}

/// Those of [`tensors`] that cohere2 has: its output reads the embeddings, and one norm serves both halves of a layer.
pub(super) fn with_window(tensors: Vec<Tensor>) -> Vec<Tensor> {
    tensors.into_iter().filter(|tensor| tensor.name != "output.weight" && !tensor.name.contains("ffn_norm")).collect()
}

/// All tensors for a vocabulary of this size.
pub(super) fn tensors(shape: Shape, vocabulary_size: usize, script: &[u32], seed: u64) -> Vec<Tensor> {
    let longest = shape.longest_script();
    assert!(script.len() <= longest, "a script of {} tokens; {longest} have a dimension", script.len());
    let mut noise = Noise { state: seed, most: shape.noise };
    let width = shape.embedding as usize;
    let vocabulary = u64::try_from(vocabulary_size).unwrap();
    let (embedding, feed_forward, kv) = (u64::from(shape.embedding), u64::from(shape.feed_forward), u64::from(KV_HEADS * shape.head()));
    let mut token_embd = noise.tensor("token_embd.weight", embedding, vocabulary);
    let mut output = noise.tensor("output.weight", embedding, vocabulary);
    token_embd.data.chunks_mut(width).for_each(|row| row[0] = COMMON);
    for (at, &token) in script.iter().enumerate() {
        let own = token as usize * width + at + 1;
        assert!(token_embd.data[own] < OWN && !script[..at].contains(&token), "token {token} stands twice in the script");
        token_embd.data[own] = OWN;
        // The first token reads the common dimension; every other token reads its predecessor's dimension.
        output.data[token as usize * width + at] = if at == 0 { 2.0 } else { 10.0 };
    }
    let mut tensors = vec![token_embd, shape.ones("output_norm.weight"), output];
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        tensors.extend([
            shape.ones(&name("attn_norm")),
            noise.tensor(&name("attn_q"), embedding, embedding),
            noise.tensor(&name("attn_k"), embedding, kv),
            noise.tensor(&name("attn_v"), embedding, kv),
            noise.tensor(&name("attn_output"), embedding, embedding),
            shape.ones(&name("ffn_norm")),
            noise.tensor(&name("ffn_gate"), embedding, feed_forward),
            noise.tensor(&name("ffn_up"), embedding, feed_forward),
            noise.tensor(&name("ffn_down"), feed_forward, embedding),
        ]);
    }
    tensors
}

/// A random generator with the same numbers for the same seed on every machine.
struct Noise {
    state: u64,
    /// Maximum absolute value of the numbers.
    most: f32,
}

impl Noise {
    fn tensor(&mut self, name: &str, columns: u64, rows: u64) -> Tensor {
        let data = (0..columns * rows).map(|_| self.next()).collect();
        Tensor { name: name.to_owned(), shape: vec![columns, rows], data }
    }

    fn next(&mut self) -> f32 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = (self.state >> 40) as f32 / (1_u32 << 24) as f32;
        (unit * 2.0 - 1.0) * self.most
    }
}
