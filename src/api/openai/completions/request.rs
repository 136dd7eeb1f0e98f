//! The request of `POST /v1/completions`: every field of OpenAI's `CreateCompletionRequest`, and vLLM's extras.
//!
//! A field either works, or is refused by name because ignoring it would change the result, or is unknown and reported.
//! Limits that need token counts are checked in `mod.rs`.

pub(in crate::api) mod specs;

use crate::api::{
    fields::{FieldError, Fields, ignored::Ignored},
    openai::shared::{
        ending::Ending,
        limits::{
            N, RequestLimits, SKIP_SPECIAL_TOKENS, STREAM, USER, alternatives, most_choices, refuse_what_would_change_the_result,
            return_progress, stream_options,
        },
        prompt::{Prompt, read_prompts},
        room::TokenLimit,
        sampling::Sampling,
        structured::{Constrained, read_constraint},
    },
};

/// The maximum number of alternatives per token (OpenAI), unless the operator sets another.
const MAX_LOGPROBS: u8 = 5;

/// A request whose fields are each valid.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// 1 to 32 prompts.
    pub prompts: Vec<Prompt>,
    /// The changes to a prompt before it is computed.
    pub encoding: PromptEncoding,
    /// The text after the hole that the completion fills; `None` without a hole. If there is one, it is not empty and
    /// all prompts are text.
    pub suffix: Option<String>,
    /// The limit of the answer; `None` is OpenAI's 16 tokens, or fewer where no more fit.
    pub(in crate::api) limit: Option<TokenLimit>,
    /// Number of choices per prompt, 1 to 8. Default 1.
    pub n: usize,
    /// Number of candidates per prompt, `n` to 8; the `n` with the highest log-probability per token are returned.
    /// Default `n`.
    pub best_of: usize,
    /// The parameters for drawing tokens.
    pub sampling: Sampling,
    /// The conditions under which the text ends.
    pub ending: Ending,
    /// The constraint on the output, and the field that set it.
    pub constraint: Option<Constrained>,
    /// Number of alternatives to report per token, 0 to 5; `None` reports nothing. With `echo` they are reported for
    /// the prompt's tokens too.
    pub logprobs: Option<u8>,
    /// True if the answer begins with the prompt. Default false.
    pub echo: bool,
    /// Number of alternatives to report per prompt token (vLLM), 0 to 5.
    pub prompt_logprobs: Option<u8>,
    /// True if the answer contains token ids (vLLM). Default false.
    pub return_token_ids: bool,
    /// The opposite of vLLM's `skip_special_tokens`. Default false.
    pub show_special: bool,
    /// True if the answer is streamed as server-sent events. Default false.
    pub stream: bool,
    /// True if a stream ends with a chunk that has the usage. Default false.
    pub include_usage: bool,
    /// llama-server's `return_progress`: true if a stream tells how far the prompts are. Default false.
    pub return_progress: bool,
    /// Names of unknown fields, which had no effect.
    pub unknown: Ignored,
}

/// The changes to a prompt before it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptEncoding {
    /// True if a text gets BOS in front where the vocabulary requires it (vLLM's `add_special_tokens`). Default true.
    pub add_special: bool,
    /// vLLM's `truncate_prompt_tokens`. Default none.
    pub truncation: PromptTruncation,
}

/// The number of tokens that are kept of a long prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptTruncation {
    /// A prompt that does not fit is refused.
    None,
    /// This number of the prompt's last tokens is kept, ≥ 1.
    Keep(u64),
    /// As many of the last tokens are kept as the context has room for (-1).
    Fit,
}

impl CompletionRequest {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn read(mut f: Fields, limits: &RequestLimits) -> Result<Self, FieldError> {
        let prompts = read_prompts(&mut f, limits.vocabulary_size)?;
        let encoding = PromptEncoding::read(&mut f)?;
        let stream = f.get(&STREAM)?;
        let (n, best_of) = read_choices(&mut f, limits.max_num_seqs, stream)?;
        let limit = f.sent(&specs::MAX_TOKENS)?.map(|cap| TokenLimit { field: specs::MAX_TOKENS.name, cap });
        let default = TokenLimit { field: specs::MAX_TOKENS.name, cap: specs::MAX_TOKENS.values.default };
        let ending = Ending::read(&mut f, limits, limit.or(Some(default)))?;
        let suffix = read_suffix(&mut f, &prompts, encoding)?;
        let most = limits.max_logprobs.unwrap_or(MAX_LOGPROBS);
        let prompt_logprobs = alternatives(&mut f, &specs::PROMPT_LOGPROBS, most)?;
        if stream && prompt_logprobs.is_some() {
            return Err(FieldError::invalid(specs::PROMPT_LOGPROBS.name, "it is not available when 'stream' is true"));
        }
        let (include_usage, mut unknown) = stream_options(&mut f, stream)?;
        let return_progress = return_progress(&mut f, stream, &mut unknown)?;
        let mut request = Self {
            prompts,
            encoding,
            suffix,
            limit,
            n,
            best_of,
            sampling: Sampling::read(&mut f, limits.vocabulary_size)?,
            ending,
            constraint: read_constraint(&mut f)?,
            logprobs: alternatives(&mut f, &specs::LOGPROBS, most)?,
            echo: f.get(&specs::ECHO)?,
            prompt_logprobs,
            return_token_ids: f.get(&specs::RETURN_TOKEN_IDS)?,
            show_special: !f.get(&SKIP_SPECIAL_TOKENS)?,
            stream,
            include_usage,
            return_progress,
            unknown: Ignored::default(),
        };
        if request.suffix.is_some() && request.echo && request.logprobs.is_some() {
            return Err(FieldError::unsupported(
                specs::SUFFIX.name,
                "is not supported together with 'echo' and 'logprobs': what is computed is not what is echoed",
            ));
        }
        refuse_what_would_change_the_result(&mut f)?;
        f.get(&USER)?;
        unknown.extend(f.finish());
        request.unknown = unknown;
        Ok(request)
    }

    /// Number of alternatives to report per prompt token; `None` if prompts are not scored.
    #[must_use]
    pub fn scores_prompts(&self) -> Option<u8> {
        self.prompt_logprobs.max(if self.echo { self.logprobs } else { None })
    }
}

impl PromptEncoding {
    fn read(f: &mut Fields) -> Result<Self, FieldError> {
        let truncation = match f.get(&specs::TRUNCATE_PROMPT_TOKENS)? {
            None => PromptTruncation::None,
            Some(-1) => PromptTruncation::Fit,
            Some(0) => return Err(FieldError::invalid(specs::TRUNCATE_PROMPT_TOKENS.name, "at least one token has to be kept")),
            Some(most) => PromptTruncation::Keep(most.unsigned_abs()),
        };
        Ok(Self { add_special: f.get(&specs::ADD_SPECIAL_TOKENS)?, truncation })
    }
}

/// Reads `n` and `best_of`. OpenAI lets `best_of` be 0, which can only mean that it was not set.
fn read_choices(f: &mut Fields, max_num_seqs: u32, stream: bool) -> Result<(usize, usize), FieldError> {
    let most = most_choices(max_num_seqs);
    let n = f.get(&N.within(1..=most))?;
    let best_of = f.get(&specs::BEST_OF.within(0..=most))?.filter(|best_of| *best_of > 0).unwrap_or(n);
    if best_of < n {
        return Err(FieldError::invalid(specs::BEST_OF.name, format!("it must not be less than 'n', which is {n}")));
    }
    if stream && best_of > n {
        return Err(FieldError::invalid(
            specs::BEST_OF.name,
            "the best candidates are known only at the end: it must equal 'n' when 'stream' is true",
        ));
    }
    let count = |number: i64| usize::try_from(number).expect("the range fits");
    Ok((count(n), count(best_of)))
}

/// Reads `suffix`. An empty one needs no marks and has no effect; `mod.rs` checks that the model has marks.
fn read_suffix(f: &mut Fields, prompts: &[Prompt], encoding: PromptEncoding) -> Result<Option<String>, FieldError> {
    const NAME: &str = specs::SUFFIX.name;
    let suffix = f.get(&specs::SUFFIX)?.filter(|suffix| !suffix.is_empty());
    if suffix.is_some() && prompts.iter().any(|prompt| matches!(prompt, Prompt::Tokens(_))) {
        return Err(FieldError::invalid(NAME, "it needs prompts of text; put the model's tokens around a prompt of token ids yourself"));
    }
    if suffix.is_some() && encoding.truncation != PromptTruncation::None {
        return Err(FieldError::unsupported(NAME, "is not supported together with 'truncate_prompt_tokens'"));
    }
    Ok(suffix)
}

#[cfg(test)]
mod tests;
