//! The sampler of one sequence: the order in which the steps of the module are applied, and the position of the next draw.

use super::allowed::restrict;
use super::draw::{from_all, pick, token_at, uniform};
use super::logprobs::logprobs;
use super::penalties::Adjustments;
use super::row::{Row, best};
use super::truncate::Truncation;
use super::{Candidate, Choice, NoCandidate, Scratch};
use crate::protocol::{SamplingParams, Token};

/// Draws the tokens of one sequence.
#[derive(Debug)]
pub struct Sampler {
    adjustments: Adjustments,
    temperature: f32,
    truncation: Truncation,
    seed: u64,
    /// Tokens generated so far: with the seed, all that the next draw depends on.
    position: u64,
}

impl Sampler {
    /// For a sequence with this prompt that has already generated `generated`; it goes on exactly as the sampler
    /// that generated them would have.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over their only copy")]
    #[must_use]
    pub fn new(params: SamplingParams, prompt: &[Token], generated: &[Token]) -> Self {
        let top_k = if params.top_k == 0 { usize::MAX } else { usize::try_from(params.top_k).unwrap_or(usize::MAX) };
        Self {
            adjustments: Adjustments::new(&params, prompt, generated),
            temperature: params.temperature,
            // A min_p above 1 would leave nobody, not even the best.
            truncation: Truncation { top_k, top_p: params.top_p, min_gap: params.min_p.min(1.0).ln() },
            seed: params.seed,
            position: u64::try_from(generated.len()).unwrap_or(u64::MAX),
        }
    }

    /// Draws the next token and counts it as generated. `logprobs` asks for that many alternatives.
    ///
    /// # Errors
    /// `NoCandidate` if no finite logit is left; nothing is counted then.
    pub fn sample(&mut self, logits: &[f32], logprobs: Option<u8>, scratch: &mut Scratch) -> Result<Choice, NoCandidate> {
        self.sample_among(None, logits, logprobs, scratch)
    }

    /// The same among the tokens whose bit is set in `allowed` (bit `id % 32` of word `id / 32`); `None` allows all.
    /// Log-probabilities are those of the model, of tokens that are not allowed too.
    ///
    /// # Errors
    /// `NoCandidate` if no allowed token has a finite logit left; nothing is counted then.
    pub fn sample_among(
        &mut self,
        allowed: Option<&[u32]>,
        logits: &[f32],
        logprobs: Option<u8>,
        scratch: &mut Scratch,
    ) -> Result<Choice, NoCandidate> {
        let token = self.choose(logits, allowed, scratch).ok_or(NoCandidate)?;
        self.adjustments.count(token);
        self.position += 1;
        let logprobs = logprobs.and_then(|count| self::logprobs(logits, token, count, &mut scratch.selection.kept));
        Ok(Choice { token, logprobs })
    }

    /// The tokens that the next draw may give, by id, with their probabilities. For tests and tools: it collects what
    /// [`Self::sample`] does not need to.
    ///
    /// # Errors
    /// `NoCandidate` if no finite logit is left.
    pub fn candidates(&self, logits: &[f32], scratch: &mut Scratch) -> Result<Vec<Candidate>, NoCandidate> {
        let logits = self.adjustments.apply(logits, &mut scratch.adjusted);
        if self.is_greedy() {
            let token = best(logits).and_then(|(index, _)| token_at(index)).ok_or(NoCandidate)?;
            return Ok(vec![Candidate { token, probability: 1.0 }]);
        }
        let row = Row::new(logits, self.temperature).ok_or(NoCandidate)?;
        self.truncation.apply(&row, &mut scratch.selection);
        let kept = &scratch.selection.kept;
        let total: f64 = kept.iter().map(|entry| f64::from(entry.weight)).sum();
        Ok(kept.iter().map(|entry| Candidate { token: Token(entry.id), probability: f64::from(entry.weight) / total }).collect())
    }

    /// The decisions, cheapest first: (1) greedy needs the best logit only; (2) without truncation the draw walks the
    /// row itself; (3) otherwise it walks the candidates that are left.
    fn choose(&self, logits: &[f32], allowed: Option<&[u32]>, scratch: &mut Scratch) -> Option<Token> {
        let logits = self.adjustments.apply(logits, &mut scratch.adjusted);
        let logits = allowed.map_or(logits, |allowed| restrict(logits, allowed, &mut scratch.masked));
        if self.is_greedy() {
            return token_at(best(logits)?.0); // (1)
        }
        let row = Row::new(logits, self.temperature)?;
        let uniform = uniform(self.seed, self.position);
        if self.truncation.keeps_all(logits.len()) {
            return from_all(&row, uniform, &mut scratch.blocks); // (2)
        }
        self.truncation.apply(&row, &mut scratch.selection); // (3)
        let weighted = || scratch.selection.kept.iter().map(|entry| (entry.id, f64::from(entry.weight)));
        let total: f64 = weighted().map(|(_, weight)| weight).sum();
        pick(weighted(), uniform * total).map(|(id, _)| Token(id))
    }

    fn is_greedy(&self) -> bool {
        self.temperature <= 0.0
    }
}
