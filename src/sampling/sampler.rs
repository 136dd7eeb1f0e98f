//! The sampler of one sequence. It knows the order in which the module's steps are applied, and the position of the
//! next draw.

use super::adjust::Adjustments;
use super::allowed::restrict;
use super::draw::{from_all, from_kept, token_at};
use super::logprobs::logprobs;
use super::noise::{Noise, coin};
use super::row::best;
use super::temperature::Temperature;
use super::truncate::Truncation;
use super::{Candidate, DrawnToken, NoCandidate, Scratch};
use crate::protocol::{SamplingParams, Token};

/// Draws the tokens of one sequence.
#[derive(Debug)]
pub struct Sampler {
    adjustments: Adjustments,
    temperature: Temperature,
    /// The truncation of draws on which XTC does not act.
    truncation: Truncation,
    xtc_probability: f32,
    xtc_threshold: f32,
    seed: u64,
    /// Number of tokens generated so far. With the seed it decides the noise of the next draw.
    position: u64,
}

impl Sampler {
    /// The sampler for a sequence with this prompt that has already generated `generated`. It continues exactly as the
    /// sampler that generated them would have.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over their only copy")]
    #[must_use]
    pub fn new(params: SamplingParams, prompt: &[Token], generated: &[Token]) -> Self {
        Self {
            adjustments: Adjustments::new(&params, prompt, generated),
            temperature: Temperature::new(&params),
            truncation: Truncation::new(&params),
            xtc_probability: params.xtc_probability,
            xtc_threshold: params.xtc_threshold,
            seed: params.seed,
            position: u64::try_from(generated.len()).unwrap_or(u64::MAX),
        }
    }

    /// Draws the next token and counts it as generated. `logprobs` is the number of alternatives to report.
    ///
    /// # Errors
    /// `NoCandidate` if no finite logit is left; nothing is counted then.
    pub fn sample(&mut self, logits: &[f32], logprobs: Option<u8>, scratch: &mut Scratch) -> Result<DrawnToken, NoCandidate> {
        self.sample_among(None, logits, logprobs, scratch)
    }

    /// Draws as [`Self::sample`] does, but among the tokens whose bit is set in `allowed` (bit `id % 32` of word
    /// `id / 32`); `None` allows all. The log-probabilities are the model's, and include tokens that are not allowed.
    ///
    /// # Errors
    /// `NoCandidate` if no allowed token has a finite logit left; nothing is counted then.
    pub fn sample_among(
        &mut self,
        allowed: Option<&[u32]>,
        logits: &[f32],
        logprobs: Option<u8>,
        scratch: &mut Scratch,
    ) -> Result<DrawnToken, NoCandidate> {
        let token = self.choose(logits, allowed, scratch).ok_or(NoCandidate)?;
        self.note(token);
        let logprobs = logprobs.and_then(|count| self::logprobs(logits, token, count, &mut scratch.selection.kept));
        Ok(DrawnToken { token, logprobs })
    }

    /// Counts a token that was not drawn as generated.
    pub fn note(&mut self, token: Token) {
        self.adjustments.count(token);
        self.position += 1;
    }

    /// The tokens that the next draw may give, by id, with their probabilities. For tests and tools: it collects more
    /// than [`Self::sample`] needs. It always truncates, even where a draw skips that, so a rule must be tested by
    /// draws too.
    ///
    /// # Errors
    /// `NoCandidate` if no finite logit is left.
    pub fn candidates(&mut self, logits: &[f32], scratch: &mut Scratch) -> Result<Vec<Candidate>, NoCandidate> {
        let logits = self.adjustments.apply(logits, &mut scratch.adjusting);
        if self.temperature.is_greedy() {
            let token = best(logits).and_then(|(index, _)| token_at(index)).ok_or(NoCandidate)?;
            return Ok(vec![Candidate { token, probability: 1.0 }]);
        }
        let row = self.temperature.row(logits).ok_or(NoCandidate)?;
        self.next_truncation().apply(&row, &mut scratch.selection);
        let total = scratch.selection.mass();
        let kept = &scratch.selection.kept;
        Ok(kept.iter().map(|entry| Candidate { token: Token(entry.id), probability: f64::from(entry.weight) / total }).collect())
    }

    /// The decisions, cheapest first: (1) greedy needs only the best logit; (2) without truncation the token is drawn
    /// from the row itself; (3) otherwise from the candidates that are left.
    fn choose(&mut self, logits: &[f32], allowed: Option<&[u32]>, scratch: &mut Scratch) -> Option<Token> {
        let logits = self.adjustments.apply(logits, &mut scratch.adjusting);
        let logits = allowed.map_or(logits, |allowed| restrict(logits, allowed, &mut scratch.masked));
        if self.temperature.is_greedy() {
            return token_at(best(logits)?.0); // (1)
        }
        let row = self.temperature.row(logits)?;
        let noise = Noise::new(self.seed, self.position);
        let truncation = self.next_truncation();
        if truncation.keeps_all(logits.len()) {
            return from_all(&row, noise); // (2)
        }
        truncation.apply(&row, &mut scratch.selection); // (3)
        from_kept(&row, &scratch.selection.kept, noise)
    }

    /// The truncation of the next draw. A random number of its own decides whether XTC acts on the draw.
    fn next_truncation(&self) -> Truncation {
        let acts = self.xtc_probability > 0.0 && coin(self.seed, self.position) < f64::from(self.xtc_probability);
        Truncation { exclude_above: if acts { self.xtc_threshold } else { 1.0 }, ..self.truncation }
    }
}
