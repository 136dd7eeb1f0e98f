//! What completions, chat and responses have in common in reading a request: the limits of the served model, the fields that are
//! refused, and the options of a stream.

use crate::api::fields::{FieldError, Fields, ignored::Ignored};

/// Choices and candidates per prompt at most; fewer if the engine has fewer slots.
const MAX_N: u32 = 8;

/// Alternatives per token of a chat at most (OpenAI), unless `--max-logprobs` says otherwise.
const MAX_TOP_LOGPROBS: u8 = 20;

/// What the served model and the operator allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Token ids are below this.
    pub vocabulary_size: u32,
    /// Sequences in one step at most.
    pub max_num_seqs: u32,
    /// Stop strings at most.
    pub max_stop_strings: usize,
    /// Alternatives per token at most; `None` is OpenAI's number.
    pub max_logprobs: Option<u8>,
}

impl RequestLimits {
    /// Alternatives per token of a chat at most.
    pub(in crate::api) fn most_alternatives(&self) -> u8 {
        self.max_logprobs.unwrap_or(MAX_TOP_LOGPROBS)
    }
}

/// The most that `n` may be.
pub(in crate::api) fn most_choices(max_num_seqs: u32) -> i64 {
    i64::from(max_num_seqs.clamp(1, MAX_N))
}

/// Names a field that is refused because ignoring it would change the result.
pub(in crate::api) fn unsupported(param: &str, reason: &'static str) -> FieldError {
    FieldError::unsupported(param, reason)
}

/// vLLM's fields that would change the result and are not implemented; values without an effect are accepted.
pub(in crate::api) fn refuse_what_would_change_the_result(f: &mut Fields) -> Result<(), FieldError> {
    for name in ["allowed_token_ids", "bad_words", "logits_processors", "prompt_embeds"] {
        let given = f.take(name).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()));
        if given {
            return Err(unsupported(name, "is not supported"));
        }
    }
    match f.boolean("use_beam_search")? {
        Some(true) => Err(unsupported("use_beam_search", "is not supported")),
        Some(false) | None => Ok(()),
    }
}

/// `include_usage`, and the names of options without effect.
pub(in crate::api) fn stream_options(f: &mut Fields, stream: bool) -> Result<(bool, Ignored), FieldError> {
    const NAME: &str = "stream_options";
    let mut ignored = Ignored::default();
    let Some(options) = f.object(NAME)? else { return Ok((false, ignored)) };
    if !stream {
        return Err(FieldError::invalid(NAME, "it is only allowed when 'stream' is true"));
    }
    let mut options = Fields::new(options);
    let include_usage = options.boolean("include_usage")?.unwrap_or(false);
    // Nothing is obfuscated here: who asks for it must know.
    if options.boolean("include_obfuscation")? == Some(true) {
        options.report("include_obfuscation");
    }
    ignored.extend_inside(NAME, &options.finish());
    Ok((include_usage, ignored))
}
