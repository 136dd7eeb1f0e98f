//! One sequence while it generates: its sampler, its text, and its end.
//!
//! Made from a request and dropped when it finishes; never reset. Knows nothing of slots or steps.

use crate::constrain::Matcher;
use crate::engine::{
    lookup::Lookup,
    progress::ProgressReports,
    runner::Tokenizer,
    text::{Released, TextAssembler},
};
use crate::protocol::{ConstraintError, Finish, GenerationError, SequenceOutput, SequenceRequest, Token, TokenAlternative, TokenLogprob};
use crate::sampling::{self, DrawnToken, Logprobs, NoCandidate, Sampler, Scratch};
use std::{ops::Range, time::Instant};

/// The state of one sequence that generates. The scheduler has its tokens.
#[derive(Debug)]
pub(super) struct GenerationState {
    /// The time at which the engine thread received the request.
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
    /// The reports of the prompt's progress.
    pub(super) progress: ProgressReports,
}

/// The tokens that end the generation, and the number of tokens from which on they may.
#[derive(Debug)]
struct EndTokens {
    ignore_eos: bool,
    stop_tokens: Vec<Token>,
    /// Number of stop strings of the request; the texts after them in the assembler's list are end marks.
    stop_strings: u32,
    /// True if the text of a stop token belongs to the output.
    include_stop: bool,
    min_tokens: u32,
    /// Tokens that must not be sampled before `min_tokens`; empty if the sequence began at or after `min_tokens`.
    too_early: Vec<Token>,
}

/// The prompt of a sequence whose prompt tokens are scored.
#[derive(Debug)]
struct Scoring {
    prompt: Vec<Token>,
    alternatives: u8,
    /// Number of prompt tokens reported so far; after a preemption some are computed again.
    reported: usize,
}

impl Scoring {
    /// The first prompt token, if it was not reported. No token precedes it, so it has no log-probability.
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

    /// The finish that a token causes, if it causes one.
    fn of(&self, token: Token, tokenizer: &dyn Tokenizer) -> Option<Finish> {
        if self.stop_tokens.contains(&token) {
            return Some(Finish::StopToken(token));
        }
        (tokenizer.is_eog(token) && !self.ignore_eos).then_some(Finish::EndOfGeneration)
    }
}

impl GenerationState {
    /// A state that continues after the request's `resume` tokens: they are added to the text without being reported.
    /// `matcher` has taken them in already.
    pub(super) fn new(request: &SequenceRequest, matcher: Option<Box<Matcher>>, tokenizer: &dyn Tokenizer) -> Self {
        let mut text = TextAssembler::with_end_marks(&request.stop, request.include_stop, &request.end_marks);
        for &token in &request.resume {
            // The engine that generated these tokens has reported the text that they release.
            text.push(shown(token, request.show_special, tokenizer), None);
        }
        let now = Instant::now();
        Self {
            received: now,
            progress: ProgressReports::new(now),
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

    /// True if the sequence's tokens may be guessed ahead. Those of a repeatable request may not: the shape of a batch
    /// changes how its logits are rounded, and the time that steps take decides whether there are guesses.
    ///
    /// Those under a constraint whose masks are much work may not either: a draft needs a mask for each of its tokens
    /// in one step.
    pub(super) fn takes_drafts(&self) -> bool {
        !self.repeatable && !self.matcher.as_ref().is_some_and(|matcher| matcher.is_costly())
    }

    /// True if the mask for the sequence's next token must still be computed and may be much work.
    pub(super) fn owes_mask(&self) -> bool {
        self.matcher.as_ref().is_some_and(|matcher| matcher.is_costly() && !matcher.is_prepared())
    }

    /// A guess of up to `max_tokens` tokens that follow the sequence's `tokens` so far: from the caller's prediction,
    /// or, with `from_text`, from an earlier part of the text. Empty if neither gives any.
    pub(super) fn draft(&mut self, tokens: &[Token], max_tokens: u32, from_text: bool) -> Vec<Token> {
        let predicted = self.lookup.predicted(tokens, max_tokens);
        if predicted.is_empty() && from_text { self.lookup.draft(tokens, max_tokens) } else { predicted }
    }

    /// The positions whose logits score the prompt token after them; empty unless the request asks for scores.
    pub(super) fn scored_positions(request: &SequenceRequest) -> Range<u32> {
        let last = u32::try_from(request.prompt.len().saturating_sub(1)).unwrap_or(u32::MAX);
        if request.prompt_logprobs.is_some() { request.prompt_scored.saturating_sub(1).min(last)..last } else { 0..0 }
    }

    /// True if the logits of a position are for [`Self::score`] and not for [`Self::advance`].
    pub(super) fn is_scored(&self, pos: u32) -> bool {
        self.scoring.as_ref().is_some_and(|scoring| (pos as usize) + 1 < scoring.prompt.len())
    }

    /// The prompt log-probabilities that became known with the row at `pos`: that of the token after it, and, if it was
    /// not reported, the first token's entry before that.
    ///
    /// # Errors
    /// `NoCandidate` if `logits` gives that token no probability.
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

    /// Computes the mask of the next token, if there is a constraint. Called while a GPU still computes the logits.
    pub(super) fn prepare_mask(&mut self) {
        if let Some(matcher) = &mut self.matcher {
            // An error comes again when the token is drawn, and ends the text there.
            let _ = matcher.allowed();
        }
    }

    /// Draws the next token from `logits` and adds it to `output`. Then adds the tokens that are the only ones the
    /// constraint allows after it: they are known without being computed.
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

    /// Adds a token to the output. Precedence of the ends: (1) stop string, (2) stop token or end of generation, (3)
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

    /// Draws one of the allowed tokens. Log-probabilities are those of all candidates, allowed or not.
    ///
    /// A constraint has precedence over `min_tokens`: if it allows nothing but the end, the text ends.
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

    /// Advances the constraint by a drawn token. Returns true if the text is complete with it.
    fn obey(&mut self, token: Token) -> Result<bool, ConstraintError> {
        let Some(matcher) = &mut self.matcher else { return Ok(false) };
        matcher.advance(token)?;
        Ok(self.is_complete())
    }

    /// The tokens that follow because the constraint allows no others. Empty if log-probabilities are wanted: they need
    /// logits, so these tokens are then computed one by one. The text is the same.
    fn forced(&mut self) -> Vec<Token> {
        match &mut self.matcher {
            Some(matcher) if self.logprobs.is_none() => matcher.forced(),
            Some(_) | None => Vec::new(),
        }
    }

    /// True if the constraint allows nothing but the end. It alone decides where the text ends, with `ignore_eos` too.
    fn is_complete(&self) -> bool {
        self.matcher.as_ref().is_some_and(|matcher| matcher.is_finished())
    }

    /// Reports the log-probability of a token that ends the text without being part of it, if the prompt is scored too.
    /// lm-eval takes all scores except the last for the prompt's, and so needs as many scores as there are tokens.
    fn score_end(&self, logprob: Option<TokenLogprob>, output: &mut SequenceOutput) {
        if self.scoring.is_some() && !matches!(output.finish, Some(Finish::StopString(_))) {
            output.logprobs.extend(logprob);
        }
    }

    /// Releases the text that is held back and ends the sequence. The text may contain a complete stop string that
    /// waited for an earlier one; then that string ends it, as in (1) of [`Self::take`].
    fn end(&mut self, finish: Finish, output: &mut SequenceOutput) {
        let released = self.text.flush();
        if !self.append(output, released) || matches!(finish, Finish::Failed(_)) {
            output.finish = Some(finish);
        }
    }

    /// Adds released text to the output. Returns true if a stop string or an end mark ended the text.
    fn append(&self, output: &mut SequenceOutput, released: Released) -> bool {
        output.text.push_str(&released.text);
        output.logprobs.extend(released.logprobs);
        let is_mark = |stop: u32| stop >= self.ends.stop_strings;
        output.finish = released.stopped.map(|stop| if is_mark(stop) { Finish::EndOfGeneration } else { Finish::StopString(stop) });
        output.finish.is_some()
    }
}

/// The bytes that a token adds to the text. A token that ends generations adds none, even where it is ignored.
fn shown(token: Token, show_special: bool, tokenizer: &dyn Tokenizer) -> &[u8] {
    tokenizer.piece(token, show_special && !tokenizer.is_eog(token))
}

/// Adds the bytes of their tokens to log-probabilities. Special tokens are written out, so that none is nameless.
fn describe(token: Token, logprobs: &Logprobs, tokenizer: &dyn Tokenizer) -> TokenLogprob {
    let named = |token, logprob| TokenAlternative { token, bytes: tokenizer.piece(token, true).to_vec(), logprob };
    TokenLogprob {
        chosen: named(token, logprobs.chosen),
        top: logprobs.top.iter().map(|&(token, logprob)| named(token, logprob)).collect(),
    }
}
