//! Draws tokens and scores prompt tokens after a step, one sequence after the other or several at once.
//!
//! A draw uses nothing of other sequences, so the drawn tokens do not depend on the number of threads. Owns these
//! threads and the buffers of each. Several at once pays where a GPU computes: 64 draws from 128,000 tokens take as
//! long as a step.

use super::{
    generation::GenerationState,
    runner::{Row, Tokenizer},
    scheduler::Sampled,
};
use crate::protocol::{Drafts, Finish, GenerationError, SequenceOutput, Token};
use crate::sampling::{NoCandidate, Pieces, Scratch};
use rayon::prelude::*;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Total time of draws from which on several threads share them, seconds: waking other threads takes some 20 µs.
const WORTH_SHARING_SECONDS: f64 = 100e-6;
/// Weight of a new measurement of the time of a draw.
const NEW_WEIGHT: f64 = 0.1;

/// The part of a step that belongs to one sequence.
pub(super) struct Draw<'a> {
    /// The rows of the sequence, by position.
    pub(super) rows: &'a [Row],
    /// The logits of each row that asked for them.
    pub(super) logits: Vec<Option<&'a [f32]>>,
    pub(super) generation: GenerationState,
}

/// The result of a [`Draw`].
pub(super) struct Drawn {
    pub(super) generation: GenerationState,
    pub(super) output: SequenceOutput,
    /// The drawn tokens. `None` if the rows only scored the prompt, or could not even do that; `output.finish` then has
    /// the error.
    pub(super) sampled: Option<Sampled>,
}

impl Draw<'_> {
    fn run(mut self, tokenizer: &dyn Tokenizer, scratch: &mut Scratch) -> Drawn {
        let mut output = SequenceOutput::empty(self.rows[0].seq);
        let sampled = match self.score(tokenizer, scratch, &mut output) {
            Ok(first) => first.map(|first| self.draw(first, tokenizer, scratch, &mut output)),
            Err(NoCandidate) => {
                output.finish = Some(Finish::Failed(GenerationError::NoCandidate));
                None
            }
        };
        Drawn { generation: self.generation, output, sampled }
    }

    /// Scores prompt tokens. Returns the index of the first row whose logits are to be drawn from.
    fn score(
        &mut self,
        tokenizer: &dyn Tokenizer,
        scratch: &mut Scratch,
        output: &mut SequenceOutput,
    ) -> Result<Option<usize>, NoCandidate> {
        for (index, row) in self.rows.iter().enumerate().filter(|(_, row)| row.sample) {
            if !self.generation.is_scored(row.pos) {
                return Ok(Some(index));
            }
            let logits = self.logits[index].unwrap_or_default();
            output.prompt_logprobs.extend(self.generation.score(row.pos, logits, tokenizer, scratch)?);
        }
        Ok(None)
    }

    /// Draws the token after the row `first`, and the tokens after the rows of a draft for as long as the draft is
    /// right.
    fn draw(&mut self, first: usize, tokenizer: &dyn Tokenizer, scratch: &mut Scratch, output: &mut SequenceOutput) -> Sampled {
        let mut index = first;
        let mut forced = 0;
        loop {
            let before = output.tokens.len();
            let Some(logits) = self.logits[index] else {
                tracing::error!(index, "the runner has no logits of a row that asked for them");
                output.finish = Some(Finish::Failed(GenerationError::Decode { code: -1 }));
                break;
            };
            self.generation.advance(logits, tokenizer, scratch, output);
            let drawn = &output.tokens[before..];
            forced += drawn.len().saturating_sub(1);
            let guessed = self.rows.get(index + 1..=index + drawn.len()).unwrap_or_default();
            let is_right = guessed.iter().map(|row| row.token).eq(drawn.iter().copied());
            if is_right {
                index += drawn.len();
            }
            if output.finish.is_some() || !is_right {
                break;
            }
        }
        let guessed: Vec<Token> = self.rows[first + 1..].iter().map(|row| row.token).collect();
        let accepted = guessed.iter().zip(&output.tokens).take_while(|(guess, token)| guess == token).count();
        output.drafts = drafts(accepted, guessed.len());
        let finished = output.finish.is_some();
        Sampled { id: output.id, tokens: output.tokens.clone(), forced: u32::try_from(forced).unwrap_or(u32::MAX), finished }
    }
}

/// The counts for `guessed` tokens of which the first `accepted` were right.
fn drafts(accepted: usize, guessed: usize) -> Drafts {
    let number = |tokens| u32::try_from(tokens).unwrap_or(u32::MAX);
    Drafts { accepted: number(accepted), rejected: number(guessed - accepted) }
}

/// The threads that draw, and their buffers. See the module.
pub(super) struct Drawers {
    /// The buffers of each thread.
    scratches: Vec<Mutex<Scratch>>,
    /// `None` if the engine thread draws alone.
    pool: Option<rayon::ThreadPool>,
    /// Recent time of one draw, seconds.
    draw_seconds: f64,
}

impl Drawers {
    /// At most `threads` threads, ≥ 1, each with a stack of `stack_bytes`: constraints are followed by code that
    /// recurses.
    pub(super) fn new(threads: u32, stack_bytes: usize, pieces: &Arc<dyn Pieces>) -> Self {
        let builder = || rayon::ThreadPoolBuilder::new().num_threads(threads as usize).stack_size(stack_bytes);
        let pool = (threads > 1).then(|| builder().thread_name(|index| format!("draw-{index}")).build());
        let pool = pool.and_then(|built| {
            built.inspect_err(|error| tracing::warn!(%error, "no threads for drawing tokens can be started; using one")).ok()
        });
        let scratches = (0..threads).map(|_| Mutex::new(Scratch::new(Arc::clone(pieces)))).collect();
        Self { scratches, pool, draw_seconds: 0.0 }
    }

    fn is_worth_sharing(&self, draws: usize) -> bool {
        draws > 1 && self.draw_seconds * draws as f64 >= WORTH_SHARING_SECONDS
    }

    /// Makes all draws; the results are in the order of `draws`.
    pub(super) fn draw(&mut self, draws: Vec<Draw<'_>>, tokenizer: &dyn Tokenizer) -> Vec<Drawn> {
        let (count, begun) = (draws.len(), Instant::now());
        if count == 0 {
            return Vec::new();
        }
        let run = |thread: usize, draw: Draw<'_>| {
            // No other thread uses this buffer. After a panic it is usable: it keeps nothing from one draw to the next.
            let mut scratch = self.scratches[thread].lock().unwrap_or_else(PoisonError::into_inner);
            draw.run(tokenizer, &mut scratch)
        };
        let shared = self.pool.as_ref().filter(|_| self.is_worth_sharing(count));
        let (drawn, threads) = match shared {
            Some(pool) => {
                let own = |draw| run(rayon::current_thread_index().unwrap_or(0), draw);
                (pool.install(|| draws.into_par_iter().map(own).collect()), count.min(self.scratches.len()))
            }
            None => (draws.into_iter().map(|draw| run(0, draw)).collect(), 1),
        };
        let seconds = begun.elapsed().as_secs_f64() * threads as f64 / count as f64;
        self.draw_seconds += NEW_WEIGHT * (seconds - self.draw_seconds);
        drawn
    }
}

#[cfg(test)]
mod tests;
