//! One sequence while it generates: its sampler, its text, its end.
//!
//! Consumed, never reset: made from a request, dropped when it finishes. Knows nothing of slots or steps.

use crate::constrain::Matcher;
use crate::engine::{
    runner::Tokenizer,
    text::{Released, TextAssembler},
};
use crate::protocol::{Finish, GenerationError, SequenceOutput, SequenceRequest, Token, TokenAlternative, TokenLogprob};
use crate::sampling::{Choice, Logprobs, Sampler, Scratch};
use std::time::Instant;

/// The state of one sequence beyond what the scheduler keeps.
#[derive(Debug)]
pub(super) struct Generation {
    /// When the engine received it.
    pub(super) received: Instant,
    sampler: Sampler,
    /// The state of the constraint, if there is one.
    matcher: Option<Box<Matcher>>,
    text: TextAssembler,
    generated: u32,
    max_tokens: u32,
    ignore_eos: bool,
    logprobs: Option<u8>,
}

impl Generation {
    /// Starts where the request's `resume` tokens left off: they are fed to the text without being reported. `matcher`
    /// stands behind them already.
    pub(super) fn new(request: &SequenceRequest, matcher: Option<Box<Matcher>>, tokenizer: &dyn Tokenizer) -> Self {
        let mut text = TextAssembler::new(&request.stop);
        for &token in &request.resume {
            // What this releases was reported by the engine that generated it.
            text.push(tokenizer.piece(token, false), None);
        }
        Self {
            received: Instant::now(),
            sampler: Sampler::new(request.sampling.clone(), &request.prompt, &request.resume),
            matcher,
            text,
            generated: u32::try_from(request.resume.len()).unwrap_or(u32::MAX),
            max_tokens: request.max_tokens,
            ignore_eos: request.ignore_eos,
            logprobs: request.logprobs,
        }
    }

    /// Draws the next token from `logits` and adds the news to `output`. Precedence of ends:
    /// (1) stop string, (2) end of generation, (3) length.
    pub(super) fn advance(&mut self, logits: &[f32], tokenizer: &dyn Tokenizer, scratch: &mut Scratch, output: &mut SequenceOutput) {
        let allowed = match self.matcher.as_mut().map(|matcher| matcher.allowed()).transpose() {
            Ok(allowed) => allowed,
            Err(reason) => return self.end(Finish::Failed(GenerationError::Constraint(reason)), output),
        };
        let choice = match self.sampler.sample_among(allowed, logits, self.logprobs, scratch) {
            Ok(choice) => choice,
            Err(_no_candidate) => return self.end(Finish::Failed(GenerationError::NoCandidate), output),
        };
        self.generated += 1;
        output.tokens.push(choice.token);
        let is_eog = tokenizer.is_eog(choice.token);
        let ends = match self.obey(choice.token) {
            Ok(Some(complete)) => complete,
            Ok(None) => is_eog && !self.ignore_eos,
            Err(reason) => return self.end(Finish::Failed(GenerationError::Constraint(reason)), output),
        };
        if !(ends && is_eog) {
            let released = self.text.push(tokenizer.piece(choice.token, false), describe(&choice, tokenizer));
            if append(output, released) {
                return; // (1)
            }
        }
        if ends {
            self.end(Finish::EndOfGeneration, output); // (2)
        } else if self.generated >= self.max_tokens {
            self.end(Finish::Length, output); // (3)
        }
    }

    /// Takes a drawn token into the constraint, which alone says where the text ends, `ignore_eos` or not: whether here.
    /// `None` without one.
    fn obey(&mut self, token: Token) -> Result<Option<bool>, String> {
        let Some(matcher) = &mut self.matcher else { return Ok(None) };
        matcher.advance(token)?;
        Ok(Some(matcher.is_finished()))
    }

    /// Releases what is held back. A stop string may have been complete there, waiting for an earlier one: (1) again.
    fn end(&mut self, finish: Finish, output: &mut SequenceOutput) {
        if !append(output, self.text.flush()) || matches!(finish, Finish::Failed(_)) {
            output.finish = Some(finish);
        }
    }
}

/// Adds released text to the news; whether a stop string ended it.
fn append(output: &mut SequenceOutput, released: Released) -> bool {
    output.text.push_str(&released.text);
    output.logprobs.extend(released.logprobs);
    output.finish = released.stopped.map(Finish::StopString);
    output.finish.is_some()
}

/// The log-probabilities of a draw with the bytes of their tokens; special tokens are written out, so that none is nameless.
fn describe(choice: &Choice, tokenizer: &dyn Tokenizer) -> Option<TokenLogprob> {
    let Logprobs { chosen, top } = choice.logprobs.as_ref()?;
    let named = |token, logprob| TokenAlternative { token, bytes: tokenizer.piece(token, true).to_vec(), logprob };
    Some(TokenLogprob { chosen: named(choice.token, *chosen), top: top.iter().map(|&(token, logprob)| named(token, logprob)).collect() })
}
