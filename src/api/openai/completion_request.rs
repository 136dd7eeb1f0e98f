//! What `POST /v1/completions` may ask for: every field of OpenAI's `CreateCompletionRequest`, and vLLM's extras.
//!
//! A field either works, or is refused by name because ignoring it would change the result, or is unknown and reported.
//! Limits that need token counts are checked in `completions.rs`.

use super::{
    prompt::{Prompt, read_prompts},
    sampling::{Sampling, read_stop},
    structured::{Constrained, read_constraint},
};
use crate::api::fields::{FieldError, Fields};

/// Choices per prompt at most; fewer if the engine has fewer slots.
const MAX_N: u32 = 8;
/// Alternatives per token at most (OpenAI).
const MAX_LOGPROBS: i64 = 5;

/// What the served model and the operator allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Token ids are below this.
    pub vocabulary_size: u32,
    /// Sequences in one step at most.
    pub max_num_seqs: u32,
    /// Stop strings at most.
    pub max_stop_strings: usize,
}

/// A request whose fields are each valid.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// 1 to 32 prompts.
    pub prompts: Vec<Prompt>,
    /// Tokens to generate at most; `None` is OpenAI's 16, or fewer where no more fit.
    pub max_tokens: Option<u64>,
    /// Choices per prompt, 1 to 8. Default 1.
    pub n: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Stop strings, none of them empty.
    pub stop: Vec<String>,
    /// Go on past end-of-generation tokens. Default false.
    pub ignore_eos: bool,
    /// What the output must obey, and the field that said so.
    pub constraint: Option<Constrained>,
    /// Alternatives to report per token, 0 to 5; `None` reports nothing.
    pub logprobs: Option<u8>,
    /// Put the prompt in front of the completion. Default false.
    pub echo: bool,
    /// Server-sent events. Default false.
    pub stream: bool,
    /// A chunk with the usage at the end of a stream. Default false.
    pub include_usage: bool,
    /// Names of fields that this server does not know; they had no effect.
    pub unknown: Vec<String>,
}

impl CompletionRequest {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn read(mut f: Fields, limits: &RequestLimits) -> Result<Self, FieldError> {
        let prompts = read_prompts(&mut f, limits.vocabulary_size)?;
        let n = f.integer("n", 1..=i64::from(limits.max_num_seqs.clamp(1, MAX_N)))?.unwrap_or(1);
        let max_tokens = f.integer("max_tokens", 0..=i64::MAX)?;
        let logprobs = f.integer("logprobs", 0..=MAX_LOGPROBS)?;
        let echo = f.boolean("echo")?.unwrap_or(false);
        if echo && logprobs.is_some() {
            return Err(unsupported(
                "logprobs",
                "together with 'echo' is not supported yet: log-probabilities of the prompt are not computed",
            ));
        }
        refuse_best_of_and_suffix(&mut f, n)?;
        let stream = f.boolean("stream")?.unwrap_or(false);
        let (include_usage, mut unknown) = stream_options(&mut f, stream)?;
        let mut request = Self {
            prompts,
            max_tokens: max_tokens.map(i64::unsigned_abs),
            n: usize::try_from(n).expect("the range fits"),
            sampling: Sampling::read(&mut f, limits.vocabulary_size)?,
            stop: read_stop(&mut f, limits.max_stop_strings)?,
            ignore_eos: f.boolean("ignore_eos")?.unwrap_or(false),
            constraint: read_constraint(&mut f)?,
            logprobs: logprobs.map(|top| u8::try_from(top).expect("the range fits")),
            echo,
            stream,
            include_usage,
            unknown: Vec::new(),
        };
        // Accepted whatever it is, as OpenAI does; nothing is done with it, and it is never logged.
        f.take("user");
        unknown.extend(f.finish());
        request.unknown = unknown;
        Ok(request)
    }
}

fn unsupported(param: &str, reason: &'static str) -> FieldError {
    FieldError::Unsupported { param: param.to_owned(), reason }
}

/// Both would change the result, so neither is ignored; values without an effect are accepted.
fn refuse_best_of_and_suffix(f: &mut Fields, n: i64) -> Result<(), FieldError> {
    // The best `n` of `n` candidates are all of them.
    if f.integer("best_of", 0..=20)?.is_some_and(|best_of| best_of != n) {
        return Err(unsupported("best_of", "is not supported yet, unless it equals 'n'"));
    }
    if f.string("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(unsupported("suffix", "is not supported yet"));
    }
    Ok(())
}

/// `include_usage`, and the names of unknown options. `include_obfuscation` is accepted: nothing is obfuscated here.
fn stream_options(f: &mut Fields, stream: bool) -> Result<(bool, Vec<String>), FieldError> {
    let Some(options) = f.object("stream_options")? else { return Ok((false, Vec::new())) };
    if !stream {
        return Err(FieldError::invalid("stream_options", "it is only allowed when 'stream' is true"));
    }
    let mut options = Fields::new(options);
    let include_usage = options.boolean("include_usage")?.unwrap_or(false);
    options.boolean("include_obfuscation")?;
    Ok((include_usage, options.finish().into_iter().map(|name| format!("stream_options.{name}")).collect()))
}

#[cfg(test)]
mod tests;
