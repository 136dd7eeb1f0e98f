//! Weights of a toy: two layers of llama's architecture, or of cohere2's, which has a sliding window, random, but so small that a script written into the embeddings wins.
//!
//! Every embedding holds [`COMMON`] and each token of the script a dimension of its own. The output layer reads them: after any
//! token the first of the script is likeliest, and after one of the script the next.

use super::{Value, writer::Tensor};

const LAYERS: u32 = 2;
const EMBEDDING: u32 = 64;
const FEED_FORWARD: u32 = 128;
const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
const HEAD: u32 = EMBEDDING / HEADS;
/// Positions that the toy says it was trained for.
const CONTEXT: u32 = 4096;

/// In the first dimension of every embedding.
const COMMON: f32 = 4.0;
/// In the dimension of a token of the script.
const OWN: f32 = 8.0;
/// Everything else is below this, so that nothing else counts.
const NOISE: f32 = 0.05;

/// Tokens that a script may have: the dimensions but for the first.
pub(crate) const LONGEST_SCRIPT: usize = EMBEDDING as usize - 1;

/// The metadata that belongs to these shapes; with a window, every second layer attends to so many positions only.
pub(super) fn metadata(window: Option<u32>) -> Vec<(String, Value)> {
    let entries: [(&str, Value); 9] = [
        // Where layers have a window, room for contents that are several times longer.
        ("context_length", if window.is_some() { 8 * CONTEXT } else { CONTEXT }.into()),
        ("embedding_length", EMBEDDING.into()),
        ("block_count", LAYERS.into()),
        ("feed_forward_length", FEED_FORWARD.into()),
        ("attention.head_count", HEADS.into()),
        ("attention.head_count_kv", KV_HEADS.into()),
        ("attention.layer_norm_rms_epsilon", 1e-5_f32.into()),
        ("rope.dimension_count", HEAD.into()),
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

/// Of [`tensors`], those that cohere2 has: its output reads the embeddings, and one norm serves both halves of a layer.
pub(super) fn with_window(tensors: Vec<Tensor>) -> Vec<Tensor> {
    tensors.into_iter().filter(|tensor| tensor.name != "output.weight" && !tensor.name.contains("ffn_norm")).collect()
}

/// All tensors for a vocabulary of this size.
pub(super) fn tensors(vocabulary_size: usize, script: &[u32], seed: u64) -> Vec<Tensor> {
    assert!(script.len() <= LONGEST_SCRIPT, "a script of {} tokens; {LONGEST_SCRIPT} have a dimension", script.len());
    let mut noise = Noise(seed);
    let vocabulary = u64::try_from(vocabulary_size).unwrap();
    let (embedding, feed_forward, kv) = (u64::from(EMBEDDING), u64::from(FEED_FORWARD), u64::from(KV_HEADS * HEAD));
    let mut token_embd = noise.tensor("token_embd.weight", embedding, vocabulary);
    let mut output = noise.tensor("output.weight", embedding, vocabulary);
    token_embd.data.chunks_mut(EMBEDDING as usize).for_each(|row| row[0] = COMMON);
    for (at, &token) in script.iter().enumerate() {
        let own = token as usize * EMBEDDING as usize + at + 1;
        assert!(token_embd.data[own] < OWN && !script[..at].contains(&token), "token {token} stands twice in the script");
        token_embd.data[own] = OWN;
        // Read from the common dimension by the first token, from its predecessor's by every other.
        output.data[token as usize * EMBEDDING as usize + at] = if at == 0 { 2.0 } else { 10.0 };
    }
    let mut tensors = vec![token_embd, ones("output_norm.weight"), output];
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        tensors.extend([
            ones(&name("attn_norm")),
            noise.tensor(&name("attn_q"), embedding, embedding),
            noise.tensor(&name("attn_k"), embedding, kv),
            noise.tensor(&name("attn_v"), embedding, kv),
            noise.tensor(&name("attn_output"), embedding, embedding),
            ones(&name("ffn_norm")),
            noise.tensor(&name("ffn_gate"), embedding, feed_forward),
            noise.tensor(&name("ffn_up"), embedding, feed_forward),
            noise.tensor(&name("ffn_down"), feed_forward, embedding),
        ]);
    }
    tensors
}

fn ones(name: &str) -> Tensor {
    Tensor { name: name.to_owned(), shape: vec![u64::from(EMBEDDING)], data: vec![1.0; EMBEDDING as usize] }
}

/// The same numbers for the same seed, on every machine.
struct Noise(u64);

impl Noise {
    fn tensor(&mut self, name: &str, columns: u64, rows: u64) -> Tensor {
        let data = (0..columns * rows).map(|_| self.next()).collect();
        Tensor { name: name.to_owned(), shape: vec![columns, rows], data }
    }

    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = (self.0 >> 40) as f32 / (1_u32 << 24) as f32;
        (unit * 2.0 - 1.0) * NOISE
    }
}
