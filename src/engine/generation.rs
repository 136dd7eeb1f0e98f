//! One sequence while it generates: its sampler, its text, its end.
//!
//! Consumed, never reset: made from a request, dropped when it finishes. Knows nothing of slots or steps.

use crate::constrain::Matcher;
use crate::engine::{
    lookup::Lookup,
    runner::Tokenizer,
    text::{Released, TextAssembler},
};
use crate::protocol::{ConstraintError, Finish, GenerationError, SequenceOutput, SequenceRequest, Token, TokenAlternative, TokenLogprob};
use crate::sampling::{self, DrawnToken, Logprobs, NoCandidate, Sampler, Scratch};
use std::{ops::Range, time::Instant};

/// The state of one sequence that generates, beside its tokens, which the scheduler has.
#[derive(Debug)]
pub(super) struct GenerationState {
    /// When the engine received it.
    pub(super) received: Instant,
    sampler: Sampler,
    /// The state of the constraint, if there is one.
    matcher: Option<Box<Matcher>>,
    text: TextAssembler,
    generated: u32,
    max_tokens: u32,
    ends: EndTokens,
    show_special: bool,
    logprobs: Option<u8>,
    scoring: Option<Scoring>,
    repeatable: bool,
    lookup: Lookup,
}

/// The tokens that end the generation, and from when on.
#[derive(Debug)]
struct EndTokens {
    ignore_eos: bool,
    stop_tokens: Vec<Token>,
    /// Number of stop strings of the request; those after them in the text's list are end marks.
    stop_strings: u32,
    /// The text of a stop token belongs to the output.
    include_stop: bool,
    min_tokens: u32,
    /// Tokens that must not be sampled before `min_tokens`; empty if `min_tokens` is reached.
    too_early: Vec<Token>,
}

/// The prompt of a sequence whose prompt tokens are scored.
#[derive(Debug)]
struct Scoring {
    prompt: Vec<Token>,
    alternatives: u8,
    /// Prompt tokens reported so far; after a preemption some are computed again.
    reported: usize,
}

impl Scoring {
    /// The first prompt token, if it was not reported. It follows nothing, so it has no log-probability.
    fn first(&mut self, tokenizer: &dyn Tokenizer) -> Option<TokenLogprob> {
        let first = *self.prompt.first().filter(|_| self.reported == 0)?;
        self.reported = 1;
        Some(describe(first, &Logprobs { chosen: 0.0, top: Vec::new() }, tokenizer))
    }
}

impl EndTokens {
    fn new(request: &SequenceRequest, tokenizer: &dyn Tokenizer) -> Self {
        let waits = usize::try_from(request.min_tokens).unwrap_or(usize::MAX) > request.resume.len();
        let ends = |token: &Token| request.stop_tokens.contains(token) || (!request.ignore_eos && tokenizer.is_eog(*token));
        let too_early = if waits { (0..tokenizer.vocabulary_size()).map(Token).filter(ends).collect() } else { Vec::new() };
        Self {
            ignore_eos: request.ignore_eos,
            stop_tokens: request.stop_tokens.clone(),
            stop_strings: u32::try_from(request.stop.len()).unwrap_or(u32::MAX),
            include_stop: request.include_stop,
            min_tokens: request.min_tokens,
            too_early,
        }
    }

    /// The end that a token is, if it is one.
    fn of(&self, token: Token, tokenizer: &dyn Tokenizer) -> Option<Finish> {
        if self.stop_tokens.contains(&token) {
            return Some(Finish::StopToken(token));
        }
        (tokenizer.is_eog(token) && !self.ignore_eos).then_some(Finish::EndOfGeneration)
    }
}

impl GenerationState {
    /// Starts where the request's `resume` tokens left off: they are fed to the text without being reported. `matcher`
    /// has taken them already.
    pub(super) fn new(request: &SequenceRequest, matcher: Option<Box<Matcher>>, tokenizer: &dyn Tokenizer) -> Self {
        let mut text = TextAssembler::with_end_marks(&request.stop, request.include_stop, &request.end_marks);
        for &token in &request.resume {
            // The text that this releases was reported by the engine that generated it.
            text.push(shown(token, request.show_special, tokenizer), None);
        }
        Self {
            received: Instant::now(),
            sampler: Sampler::new(request.sampling.clone(), &request.prompt, &request.resume),
            matcher,
            text,
            generated: u32::try_from(request.resume.len()).unwrap_or(u32::MAX),
            max_tokens: request.max_tokens,
            ends: EndTokens::new(request, tokenizer),
            show_special: request.show_special,
            logprobs: request.logprobs,
            scoring: request.prompt_logprobs.map(|alternatives| Scoring {
                prompt: request.prompt.clone(),
                alternatives,
                reported: usize::try_from(request.prompt_scored).unwrap_or(usize::MAX),
            }),
            repeatable: request.sampling.repeatable,
            lookup: Lookup::new(request.prompt.len(), request.prediction.clone()),
        }
    }

    /// True if its tokens may be guessed ahead. Not those of a request that is to be repeatable: the shape of a batch
    /// rounds its logits otherwise, and whether there are guesses depends on the time that steps take.
    ///
    /// Nor those of a constraint whose masks are much work: a draft needs one for each of its tokens in one step.
    pub(super) fn takes_drafts(&self) -> bool {
        !self.repeatable && !self.matcher.as_ref().is_some_and(|matcher| matcher.is_costly())
    }

    /// True if the mask for its next token is still to be computed and may be much work.
    pub(super) fn owes_mask(&self) -> bool {
        self.matcher.as_ref().is_some_and(|matcher| matcher.is_costly() && !matcher.is_prepared())
    }

    /// A guess of up to `max_tokens` tokens that follow its `tokens` so far: from the caller's prediction, or with
    /// `from_text` from an earlier part of the text. Empty where neither gives any.
    pub(super) fn draft(&mut self, tokens: &[Token], max_tokens: u32, from_text: bool) -> Vec<Token> {
        let predicted = self.lookup.predicted(tokens, max_tokens);
        if predicted.is_empty() && from_text { self.lookup.draft(tokens, max_tokens) } else { predicted }
    }

    /// Positions whose logits score the prompt token after them; empty unless the request wants that.
    pub(super) fn scored_positions(request: &SequenceRequest) -> Range<u32> {
        let last = u32::try_from(request.prompt.len().saturating_sub(1)).unwrap_or(u32::MAX);
        if request.prompt_logprobs.is_some() { request.prompt_scored.saturating_sub(1).min(last)..last } else { 0..0 }
    }

    /// True if the logits of a position are for [`Self::score`] and not for [`Self::advance`].
    pub(super) fn is_scored(&self, pos: u32) -> bool {
        self.scoring.as_ref().is_some_and(|scoring| (pos as usize) + 1 < scoring.prompt.len())
    }

    /// Prompt log-probabilities that became known with the row at `pos`: that of the token after it, and before that
    /// the first token.
    ///
    /// # Errors
    /// `NoCandidate` if `logits` has no probability of that token.
    pub(super) fn score(
        &mut self,
        pos: u32,
        logits: &[f32],
        tokenizer: &dyn Tokenizer,
        scratch: &mut Scratch,
    ) -> Result<Vec<TokenLogprob>, NoCandidate> {
        let Some(scoring) = &mut self.scoring else { return Ok(Vec::new()) };
        let mut news: Vec<TokenLogprob> = scoring.first(tokenizer).into_iter().collect();
        let next = pos as usize + 1;
        if let Some(&token) = scoring.prompt.get(next).filter(|_| scoring.reported == next) {
            let logprobs = sampling::score(logits, token, scoring.alternatives, scratch).ok_or(NoCandidate)?;
            news.push(describe(token, &logprobs, tokenizer));
            scoring.reported += 1;
        }
        Ok(news)
    }

    /// Computes the mask of the next token, if there is a constraint: while a GPU still computes its logits.
    pub(super) fn prepare_mask(&mut self) {
        if let Some(matcher) = &mut self.matcher {
            // An error comes again when the token is drawn, and ends the text there.
            let _ = matcher.allowed();
        }
    }

    /// Draws the next token from `logits` and adds it to `output`, and then the tokens that are the only ones the
    /// constraint allows after it, which need not be computed to be known.
    pub(super) fn advance(&mut self, logits: &[f32], tokenizer: &dyn Tokenizer, scratch: &mut Scratch, output: &mut SequenceOutput) {
        output.prompt_logprobs.extend(self.scoring.as_mut().and_then(|scoring| scoring.first(tokenizer)));
        if self.max_tokens == 0 {
            return self.end(Finish::Length, output); // Only the prompt was wanted.
        }
        let choice = match self.choose(logits, scratch) {
            Ok(choice) => choice,
            Err(error) => return self.end(Finish::Failed(error), output),
        };
        let is_complete = match self.obey(choice.token) {
            Ok(is_complete) => is_complete,
            Err(error) => {
                output.tokens.push(choice.token);
                return self.end(Finish::Failed(error.into()), output);
            }
        };
        let forced = if is_complete { Vec::new() } else { self.forced() };
        self.take(&choice, is_complete, tokenizer, output);
        let mut left = forced.len();
        for token in forced {
            if output.finish.is_some() {
                return;
            }
            left -= 1;
            self.sampler.note(token);
            self.take(&DrawnToken { token, logprobs: None }, left == 0 && self.is_complete(), tokenizer, output);
        }
    }

    /// Adds a token to the output. Precedence of ends: (1) stop string, (2) stop token or end of generation, (3)
    /// length.
    fn take(&mut self, choice: &DrawnToken, is_complete: bool, tokenizer: &dyn Tokenizer, output: &mut SequenceOutput) {
        self.generated += 1;
        output.tokens.push(choice.token);
        let ends = if is_complete { Some(Finish::EndOfGeneration) } else { self.ends.of(choice.token, tokenizer) };
        let shows = match ends {
            None => true,
            Some(Finish::StopToken(_)) => self.ends.include_stop,
            // The last token of a constrained text is a part of it.
            Some(_) => !tokenizer.is_eog(choice.token),
        };
        let mut logprob = choice.logprobs.as_ref().map(|logprobs| describe(choice.token, logprobs, tokenizer));
        if shows {
            let released = self.text.push(shown(choice.token, self.show_special, tokenizer), logprob.take());
            if self.append(output, released) {
                return; // (1)
            }
        }
        if let Some(finish) = ends {
            self.end(finish, output); // (2)
            self.score_end(logprob, output);
        } else if self.generated >= self.max_tokens {
            self.end(Finish::Length, output); // (3)
        }
    }

    /// Draws one of the allowed tokens. Log-probabilities are those of all candidates all the same.
    ///
    /// A constraint comes before `min_tokens`: where it leaves nothing but the end, the text ends.
    fn choose(&mut self, logits: &[f32], scratch: &mut Scratch) -> Result<DrawnToken, GenerationError> {
        let allowed = self.matcher.as_mut().map(|matcher| matcher.allowed()).transpose()?;
        let constrained = allowed.is_some();
        let no_candidate = |_: NoCandidate| match constrained && logits.iter().any(|logit| logit.is_finite()) {
            true => GenerationError::Constraint("no token of this model can continue the text".to_owned()),
            false => GenerationError::NoCandidate,
        };
        if self.generated < self.ends.min_tokens && !self.ends.too_early.is_empty() {
            let mut later = logits.to_vec();
            for token in &self.ends.too_early {
                if let Some(logit) = later.get_mut(token.0 as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
            if let Ok(choice) = self.sampler.sample_among(allowed, &later, None, scratch) {
                let logprobs = self.logprobs.and_then(|count| sampling::score(logits, choice.token, count, scratch));
                return Ok(DrawnToken { logprobs, ..choice });
            }
        }
        self.sampler.sample_among(allowed, logits, self.logprobs, scratch).map_err(no_candidate)
    }

    /// Advances the constraint by a drawn token. Returns whether the text is complete with it.
    fn obey(&mut self, token: Token) -> Result<bool, ConstraintError> {
        let Some(matcher) = &mut self.matcher else { return Ok(false) };
        matcher.advance(token)?;
        Ok(self.is_complete())
    }

    /// The tokens that follow because the constraint allows no others. None where log-probabilities are wanted: those
    /// are of logits, which are then computed token by token. The text is the same.
    fn forced(&mut self) -> Vec<Token> {
        match &mut self.matcher {
            Some(matcher) if self.logprobs.is_none() => matcher.forced(),
            Some(_) | None => Vec::new(),
        }
    }

    /// True if the constraint, which alone says where its text ends, `ignore_eos` or not, allows nothing but the end.
    fn is_complete(&self) -> bool {
        self.matcher.as_ref().is_some_and(|matcher| matcher.is_finished())
    }

    /// Reports the log-probability of a token that ends the text without being part of it, where the prompt is scored
    /// too: lm-eval takes all scores but the last for the prompt's, and so needs as many as there are tokens.
    fn score_end(&self, logprob: Option<TokenLogprob>, output: &mut SequenceOutput) {
        if self.scoring.is_some() && !matches!(output.finish, Some(Finish::StopString(_))) {
            output.logprobs.extend(logprob);
        }
    }

    /// Releases the text that is held back. A stop string may have been complete there, waiting for an earlier one: (1)
    /// again.
    fn end(&mut self, finish: Finish, output: &mut SequenceOutput) {
        let released = self.text.flush();
        if !self.append(output, released) || matches!(finish, Finish::Failed(_)) {
            output.finish = Some(finish);
        }
    }

    /// Adds released text to the output. Returns whether a stop string or an end mark ended it.
    fn append(&self, output: &mut SequenceOutput, released: Released) -> bool {
        output.text.push_str(&released.text);
        output.logprobs.extend(released.logprobs);
        let is_mark = |stop: u32| stop >= self.ends.stop_strings;
        output.finish = released.stopped.map(|stop| if is_mark(stop) { Finish::EndOfGeneration } else { Finish::StopString(stop) });
        output.finish.is_some()
    }
}

/// A token's part of the text. One that ends generations has none, also where that is ignored.
fn shown(token: Token, show_special: bool, tokenizer: &dyn Tokenizer) -> &[u8] {
    tokenizer.piece(token, show_special && !tokenizer.is_eog(token))
}

/// Log-probabilities with the bytes of their tokens; special tokens are written out, so that none is nameless.
fn describe(token: Token, logprobs: &Logprobs, tokenizer: &dyn Tokenizer) -> TokenLogprob {
    let named = |token, logprob| TokenAlternative { token, bytes: tokenizer.piece(token, true).to_vec(), logprob };
    TokenLogprob {
        chosen: named(token, logprobs.chosen),
        top: logprobs.top.iter().map(|&(token, logprob)| named(token, logprob)).collect(),
    }
}
