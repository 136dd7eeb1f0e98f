//! Computes inputs on a llama.cpp context that pools: a batch of sequences in, one vector for each out.
//!
//! Owns the context and one batch; used by the engine thread alone. The context of an encoder has no KV memory, and
//! llama.cpp encodes the batch; a decoder's cells are cleared before each batch.

use super::embed_plan::EmbedPlan;
use crate::{
    engine::{
        embedder::{EmbedLimits, Embedder},
        runner::StepError,
    },
    protocol::{Pooling, Token},
};
use llama_cpp_2::{DecodeError, context::LlamaContext, llama_batch::LlamaBatch, token::LlamaToken};

/// `llama_decode`: "invalid input batch" (`llama.h`). Used here too for a batch that breaks the contract.
const INVALID_BATCH: i32 = -1;

/// Embeds on one context of a model, which it borrows.
pub struct LlamaEmbedder<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    plan: EmbedPlan,
}

/// A token on its way into a batch: sequence id, position, token.
type RowPlace = (i32, i32, LlamaToken);

impl<'m> LlamaEmbedder<'m> {
    /// Takes over a context that was opened by `plan`.
    pub(super) fn new(context: LlamaContext<'m>, plan: EmbedPlan) -> Self {
        Self { context, batch: LlamaBatch::new(plan.rows as usize, 1), plan }
    }

    fn decode(&mut self, rows: &[RowPlace]) -> Result<(), StepError> {
        self.batch.clear();
        for &(seq, pos, token) in rows {
            // Exactly one sequence id per row: the batch has room for one, and llama-cpp-2 does not check.
            if self.batch.add(token, pos, &[seq], true).is_err() {
                return refuse("more tokens than a batch holds");
            }
        }
        self.context.decode(&mut self.batch).map_err(|error| match error {
            DecodeError::NoKvCacheSlot => StepError::NoKvSpace,
            DecodeError::NTokensZero => StepError::Decode { code: INVALID_BATCH },
            DecodeError::Unknown(code) => StepError::Decode { code },
        })
    }

    /// The vector of a sequence whose last token is in the batch just computed.
    fn vector(&self, seq: i32) -> Result<Vec<f32>, StepError> {
        let Ok(vector) = self.context.embeddings_seq_ith(seq) else { return refuse("llama.cpp has no vector of a sequence") };
        // A rank head with a softmax also has a number for "no"; the number for "yes" comes first.
        let numbers = if matches!(self.plan.pooling, Pooling::Rank(_)) { 1 } else { vector.len() };
        match vector.get(..numbers) {
            Some(vector) if vector.len() == self.plan.limits.dimensions as usize => Ok(vector.to_vec()),
            _ => refuse("a vector has another length than the model said"),
        }
    }
}

impl Embedder for LlamaEmbedder<'_> {
    fn limits(&self) -> EmbedLimits {
        self.plan.limits
    }

    fn embed(&mut self, inputs: &[&[Token]]) -> Result<Vec<Vec<f32>>, StepError> {
        let rows = places(inputs, self.plan.limits)?;
        // A batch that failed before this one may have left cells.
        self.context.clear_kv_cache();
        let mut vectors = Vec::with_capacity(inputs.len());
        let mut from = 0;
        for part in rows.chunks(self.plan.rows as usize) {
            self.decode(part)?;
            from += part.len();
            // Take the vectors of inputs that ended within this part: the next part overwrites them.
            let ended = rows.get(from).map_or(inputs.len(), |&(seq, ..)| seq as usize);
            while vectors.len() < ended {
                vectors.push(self.vector(vectors.len() as i32)?);
            }
        }
        Ok(vectors)
    }
}

/// Every token of the inputs with its position. Refuses inputs for which llama.cpp would abort.
fn places(inputs: &[&[Token]], limits: EmbedLimits) -> Result<Vec<RowPlace>, StepError> {
    let tokens: usize = inputs.iter().map(|input| input.len()).sum();
    let one_too_long = inputs.iter().any(|input| input.is_empty() || input.len() > limits.max_input as usize);
    let together_too_long = inputs.len() > 1 && tokens > limits.batch_tokens as usize;
    if inputs.len() > limits.batch_inputs as usize || one_too_long || together_too_long {
        return refuse("inputs outside the limits of a batch");
    }
    if inputs.iter().copied().flatten().any(|token| token.0 >= limits.vocabulary_size) {
        return refuse("a token outside the vocabulary");
    }
    let place = |seq, (pos, token): (i32, &Token)| (seq, pos, LlamaToken::new(token.0.cast_signed()));
    Ok((0..).zip(inputs).flat_map(|(seq, input)| (0..).zip(*input).map(move |row| place(seq, row))).collect())
}

fn refuse<T>(reason: &str) -> Result<T, StepError> {
    tracing::error!(reason, "a batch of inputs was refused");
    Err(StepError::Decode { code: INVALID_BATCH })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_beyond_the_limits_of_a_batch_never_reach_llama_cpp() {
        let limits = EmbedLimits { max_input: 3, batch_tokens: 2, batch_inputs: 2, vocabulary_size: 10, dimensions: 1 };
        let [a, b] = [Token(9), Token(10)];

        assert!(places(&[&[a, a, a]], limits).is_ok());
        assert_eq!(places(&[&[a], &[a]], limits).unwrap(), [(0, 0, LlamaToken::new(9)), (1, 0, LlamaToken::new(9))]);
        for inputs in [&[&[a, a, a, a] as &[Token]] as &[&[Token]], &[&[a, a], &[a]], &[&[]], &[&[b]], &[&[a], &[a], &[a]]] {
            assert!(places(inputs, limits).is_err(), "{inputs:?}");
        }
    }
}
