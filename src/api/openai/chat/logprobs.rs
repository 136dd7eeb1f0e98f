//! The `logprobs` object of chat, and the list in it, which responses have too: tokens, each with its own bytes (not
//! the four arrays that completions have).
//!
//! In chat every generated token is listed, also those of reasoning and of tool calls; the chunks' texts need not end
//! where tokens end.

use crate::{
    api::openai::shared::logprobs::token_text,
    protocol::{TokenAlternative, TokenLogprob},
};
use serde::Serialize;

/// OpenAI's `ChatCompletionChoice.logprobs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct ChatLogprobs {
    content: TokenLogprobs,
    /// Always empty: the model makes no refusals. SDKs require the key.
    refusal: (),
}

/// Tokens of a text in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub(in crate::api::openai) struct TokenLogprobs(Vec<ChatTokenLogprob>);

/// OpenAI's `ChatCompletionTokenLogprob`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct ChatTokenLogprob {
    #[serde(flatten)]
    chosen: Named,
    top_logprobs: Vec<Named>,
}

/// A token, by its text and its bytes, with its natural log-probability under the raw softmax.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Named {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl ChatLogprobs {
    /// As [`TokenLogprobs::extend`].
    pub(super) fn extend(&mut self, tokens: Vec<TokenLogprob>) {
        self.content.extend(tokens);
    }

    /// True if there are no log-probabilities.
    pub(super) fn is_empty(&self) -> bool {
        self.content.0.is_empty()
    }

    /// Appends the log-probabilities of later tokens.
    pub(super) fn append(&mut self, later: Self) {
        self.content.append(later.content);
    }
}

impl TokenLogprobs {
    /// Appends tokens, each with exactly as many alternatives as the engine was asked for.
    pub(in crate::api::openai) fn extend(&mut self, tokens: Vec<TokenLogprob>) {
        self.0.extend(
            tokens
                .into_iter()
                .map(|token| ChatTokenLogprob { chosen: named(token.chosen), top_logprobs: token.top.into_iter().map(named).collect() }),
        );
    }

    /// Appends the log-probabilities of later tokens.
    pub(in crate::api::openai) fn append(&mut self, mut later: Self) {
        self.0.append(&mut later.0);
    }
}

fn named(alternative: TokenAlternative) -> Named {
    Named { token: token_text(&alternative.bytes), logprob: alternative.logprob, bytes: alternative.bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Token;
    use serde_json::json;

    #[test]
    fn each_token_has_its_text_its_bytes_and_the_likeliest_instead() {
        let alternative = |bytes: &[u8], logprob| TokenAlternative { token: Token(1), bytes: bytes.to_vec(), logprob };
        let mut logprobs = ChatLogprobs::default();

        logprobs.extend(vec![TokenLogprob { chosen: alternative(&[0xe4, 0xbd], -0.5), top: vec![alternative(b"a", -0.25)] }]);
        let mut later = ChatLogprobs::default();
        later.extend(vec![TokenLogprob { chosen: alternative(b"b", -1.0), top: vec![] }]);
        logprobs.append(later);

        let expected = json!({
            "content": [
                {"token": "bytes:\\xe4\\xbd", "logprob": -0.5, "bytes": [228, 189],
                 "top_logprobs": [{"token": "a", "logprob": -0.25, "bytes": [97]}]},
                {"token": "b", "logprob": -1.0, "bytes": [98], "top_logprobs": []},
            ],
            "refusal": null,
        });
        assert_eq!(serde_json::to_value(logprobs).unwrap(), expected);
    }
}
