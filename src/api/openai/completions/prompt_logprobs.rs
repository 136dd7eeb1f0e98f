//! vLLM's `prompt_logprobs`: for each prompt token an object from token id to log-probability, `null` for the first
//! one.

use crate::{
    api::openai::shared::logprobs::token_text,
    protocol::{TokenAlternative, TokenLogprob},
};
use serde::{Serialize, Serializer, ser::SerializeSeq};

/// Log-probabilities of a prompt's tokens, or of some of them in order; natural logs under the raw softmax.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PromptLogprobs(Vec<TokenLogprob>);

impl PromptLogprobs {
    /// The log-probabilities of prompt tokens as the engine reported them.
    pub(super) fn of(tokens: Vec<TokenLogprob>) -> Self {
        Self(tokens)
    }

    /// Adds later tokens.
    pub(super) fn append(&mut self, mut later: Self) {
        self.0.append(&mut later.0);
    }
}

impl Serialize for PromptLogprobs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (index, token) in self.0.iter().enumerate() {
            list.serialize_element(&(index > 0).then_some(Position(token)))?;
        }
        list.end()
    }
}

/// A position of the prompt: its token, then the likeliest tokens.
struct Position<'a>(&'a TokenLogprob);

/// vLLM's `Logprob`; `rank` counts from 1 and is unknown for a token outside the alternatives.
#[derive(Serialize)]
struct PromptLogprobObject {
    logprob: f32,
    rank: Option<usize>,
    decoded_token: String,
}

impl Serialize for Position<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let TokenLogprob { chosen, top } = self.0;
        let entry = |alternative: &TokenAlternative, rank| {
            let entry = PromptLogprobObject { logprob: alternative.logprob, rank, decoded_token: token_text(&alternative.bytes) };
            (alternative.token.0.to_string(), entry)
        };
        let place = top.iter().position(|other| other.token == chosen.token);
        let first = entry(chosen, place.map(|index| index + 1));
        let others = top.iter().enumerate().filter(|(_, other)| other.token != chosen.token);
        serializer.collect_map(std::iter::once(first).chain(others.map(|(index, other)| entry(other, Some(index + 1)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Token;
    use serde_json::json;

    #[test]
    fn positions_are_maps_by_token_id_and_the_first_is_null() {
        let alternative = |id, logprob| TokenAlternative { token: Token(id), bytes: vec![b'a'], logprob };
        let first = TokenLogprob { chosen: alternative(7, 0.0), top: vec![] };
        let likely = TokenLogprob { chosen: alternative(8, -0.5), top: vec![alternative(8, -0.5), alternative(9, -1.0)] };
        let unlikely = TokenLogprob { chosen: alternative(3, -4.0), top: vec![alternative(9, -1.0)] };
        let mut logprobs = PromptLogprobs::of(vec![first, likely]);
        logprobs.append(PromptLogprobs::of(vec![unlikely]));

        let written = serde_json::to_value(&logprobs).unwrap();

        let entry = |logprob, rank: Option<u8>| json!({"logprob": logprob, "rank": rank, "decoded_token": "a"});
        let expected = json!([
            null,
            {"8": entry(-0.5, Some(1)), "9": entry(-1.0, Some(2))},
            {"3": entry(-4.0, None), "9": entry(-1.0, Some(1))},
        ]);
        assert_eq!(written, expected);
    }
}
