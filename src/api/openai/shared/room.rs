//! The room that a prompt leaves for its answer in the context, for all routes that generate text.
//!
//! A client's limit is an upper bound: agents send 16,000 or 32,000 to every model. A limit above the room is reduced
//! to it, and the warnings name the client's own field. In a strict request it is refused. A prompt that leaves no room
//! is always refused.

use crate::api::{
    error::{ApiError, PromptLength},
    fields::{FieldError, token_caps::TokenCap},
    warnings::Warnings,
};

/// A client's limit of an answer's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct TokenLimit {
    /// The field in which the client sent the limit.
    pub(in crate::api) field: &'static str,
    /// The limit.
    pub(in crate::api) cap: TokenCap,
}

impl TokenLimit {
    /// A limit of this many tokens.
    pub(in crate::api) const fn at_most(field: &'static str, tokens: u64) -> Self {
        Self { field, cap: TokenCap::AtMost(tokens) }
    }

    /// The limit as a number; `None` for as many as fit.
    pub(in crate::api) fn tokens(self) -> Option<u64> {
        match self.cap {
            TokenCap::AsManyAsFit => None,
            TokenCap::AtMost(tokens) => Some(tokens),
        }
    }
}

/// The room for the answers to a request's prompts.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct AnswerRoom {
    /// Tokens that prompt and answer may have together.
    pub(in crate::api) max_model_len: u64,
    /// The client's limit, if it sent one.
    pub(in crate::api) limit: Option<TokenLimit>,
    /// The limit of a request without one.
    pub(in crate::api) default: TokenCap,
    /// The field that the prompt was made of.
    pub(in crate::api) prompt: &'static str,
    /// True if a limit above the room is refused.
    pub(in crate::api) strict: bool,
}

impl AnswerRoom {
    /// The number of tokens to generate after a prompt of `prompt_tokens`.
    ///
    /// # Errors
    /// The prompt is empty or leaves no room, or the request is strict and its limit is above the room.
    pub(in crate::api) fn after(&self, prompt_tokens: usize) -> Result<u32, ApiError> {
        if prompt_tokens == 0 {
            let reason = "it is empty, and this model has no token to begin with; send at least one character";
            return Err(FieldError::invalid(self.prompt, reason).into());
        }
        let prompt_tokens = u64::try_from(prompt_tokens).unwrap_or(u64::MAX);
        let asked = match self.limit.map_or(self.default, |limit| limit.cap) {
            TokenCap::AsManyAsFit => u64::MAX,
            TokenCap::AtMost(tokens) => tokens,
        };
        // A limit of 0 asks for no answer, only for the prompt's scores.
        let fits = prompt_tokens.saturating_add(u64::from(asked > 0)) <= self.max_model_len;
        if !fits {
            let (length, max_model_len) = (PromptLength::Exactly(prompt_tokens), self.max_model_len);
            return Err(ApiError::PromptTooLong { length, max_model_len, param: self.prompt });
        }
        let left = self.max_model_len - prompt_tokens;
        match self.reduced(left) {
            Some((TokenLimit { field, .. }, max_tokens)) if self.strict => {
                Err(ApiError::ContextLength { prompt_tokens, max_tokens, max_model_len: self.max_model_len, param: field })
            }
            // The number is at most `max_model_len`, which has 32 bits.
            _ => Ok(u32::try_from(asked.min(left)).unwrap_or(u32::MAX)),
        }
    }

    /// Adds a warning if the client's limit is reduced after one of these prompts, given by their numbers of tokens.
    pub(in crate::api) fn report(&self, prompts: impl IntoIterator<Item = usize>, warnings: &mut Warnings) {
        let longest = prompts.into_iter().max().and_then(|longest| u64::try_from(longest).ok()).unwrap_or(0);
        let left = self.max_model_len.saturating_sub(longest);
        if let Some((TokenLimit { field, .. }, _)) = self.reduced(left) {
            warnings.clamped(field, reduced(field, left));
        }
    }

    /// The client's limit and its number, if that is above the room that is left.
    fn reduced(&self, left: u64) -> Option<(TokenLimit, u64)> {
        let limit = self.limit?;
        limit.tokens().filter(|tokens| *tokens > left).map(|tokens| (limit, tokens))
    }
}

/// The number of tokens to keep for an answer where a prompt is cut: the limit, but at most half of the context; a
/// quarter without a limit.
pub(in crate::api) fn reserved(cap: TokenCap, context: u64) -> u64 {
    match cap {
        TokenCap::AsManyAsFit => context / 4,
        TokenCap::AtMost(tokens) => tokens.min(context / 2),
    }
}

/// The warning for a limit that is reduced to the room.
pub(in crate::api) fn reduced(field: &str, left: impl std::fmt::Display) -> String {
    format!("{field} was reduced to {left}, the room that the prompt leaves in the context")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::warnings::WarningPolicy;

    fn room(limit: Option<TokenCap>, strict: bool) -> AnswerRoom {
        let limit = limit.map(|cap| TokenLimit { field: "max_output_tokens", cap });
        AnswerRoom { max_model_len: 100, limit, default: TokenCap::AtMost(16), prompt: "input", strict }
    }

    fn prompt_too_long(prompt_tokens: u64) -> ApiError {
        ApiError::PromptTooLong { length: PromptLength::Exactly(prompt_tokens), max_model_len: 100, param: "input" }
    }

    fn told(room: AnswerRoom, prompts: &[usize]) -> Vec<String> {
        let mut warnings = Warnings::default();
        room.report(prompts.iter().copied(), &mut warnings);
        warnings.enforce(WarningPolicy::default()).unwrap().all().to_vec()
    }

    #[test]
    fn a_limit_is_reduced_to_the_room_and_only_the_prompt_alone_is_refused() {
        let (most, all) = (|tokens| Some(TokenCap::AtMost(tokens)), Some(TokenCap::AsManyAsFit));
        let rows = [
            (60, most(40), Ok(40)),
            (60, most(41), Ok(40)),
            (60, most(u64::MAX), Ok(40)),
            (60, all, Ok(40)),
            (60, None, Ok(16)),
            (85, None, Ok(15)),
            (99, most(32_000), Ok(1)),
            (60, most(0), Ok(0)),
            (100, most(0), Ok(0)),
            (101, most(0), Err(prompt_too_long(101))),
            (100, most(1), Err(prompt_too_long(100))),
            (100, all, Err(prompt_too_long(100))),
            (100, None, Err(prompt_too_long(100))),
        ];
        for (prompt_tokens, cap, expected) in rows {
            assert_eq!(room(cap, false).after(prompt_tokens), expected, "{prompt_tokens} {cap:?}");
        }
        assert_eq!(room(None, false).after(0).unwrap_err().param(), Some("input"));
    }

    #[test]
    fn a_strict_request_is_refused_by_the_field_that_the_client_sent() {
        let refused = room(Some(TokenCap::AtMost(41)), true).after(60).unwrap_err();

        assert_eq!((refused.param(), refused.code()), (Some("max_output_tokens"), Some("context_length_exceeded")));
        assert!(refused.detail().contains("you requested 101 tokens (60 in your prompt; 41 for the completion)"), "{refused}");
        assert_eq!(room(Some(TokenCap::AtMost(40)), true).after(60), Ok(40));
        assert_eq!(room(Some(TokenCap::AsManyAsFit), true).after(60), Ok(40));
        assert_eq!(room(None, true).after(99), Ok(1), "a default is not the client's");
    }

    #[test]
    fn the_warning_names_the_field_and_the_room_after_the_longest_prompt() {
        let limit = room(Some(TokenCap::AtMost(50)), false);

        assert_eq!(told(limit, &[10, 50]), Vec::<String>::new());
        assert_eq!(told(limit, &[10, 60]), ["max_output_tokens was reduced to 40, the room that the prompt leaves in the context"]);
        assert_eq!(told(room(Some(TokenCap::AsManyAsFit), false), &[60]), Vec::<String>::new());
        assert_eq!(told(room(None, false), &[99]), Vec::<String>::new());
    }
}
