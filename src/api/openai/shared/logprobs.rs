//! The `logprobs` object of completions: four parallel arrays (chat's has another shape).
//!
//! `text_offset` counts characters of prompt + completion and continues from chunk to chunk. It is computed from the
//! tokens' own bytes and not from the text sent, because text may be released before or after the token that it belongs
//! to.

use crate::protocol::{TokenAlternative, TokenLogprob};
use serde::{Serialize, Serializer};
use std::fmt::Write;

/// Log-probabilities of some tokens of a choice; natural logs under the raw softmax.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LogprobsObject {
    /// The tokens as text. A token whose bytes are no UTF-8 by themselves is written as `bytes:\xe4\xbd`, as OpenAI
    /// does.
    pub tokens: Vec<String>,
    /// The log-probability of each token; `None` for the first one of a prompt, which follows nothing.
    pub token_logprobs: Vec<Option<f32>>,
    /// The likeliest tokens at each place, the drawn one always among them.
    pub top_logprobs: Vec<Option<TopLogprobs>>,
    /// The beginning of each token, characters from the start of the prompt.
    pub text_offset: Vec<u64>,
}

impl LogprobsObject {
    /// Appends later tokens.
    pub fn append(&mut self, mut later: Self) {
        self.tokens.append(&mut later.tokens);
        self.token_logprobs.append(&mut later.token_logprobs);
        self.top_logprobs.append(&mut later.top_logprobs);
        self.text_offset.append(&mut later.text_offset);
    }

    /// Adds a token of the echoed prompt `text`; the first one has no log-probability.
    ///
    /// Tokens that tokenizing puts in front of the text have no width: BOS, and SentencePiece's space.
    pub fn push_prompt(&mut self, token: &TokenLogprob, first: bool, text: &str, offset: &mut CharacterOffset) {
        let bytes = &token.chosen.bytes;
        self.tokens.push(token_text(bytes));
        self.token_logprobs.push((!first).then_some(token.chosen.logprob));
        self.top_logprobs.push((!first).then(|| TopLogprobs::of(token)));
        self.text_offset.push(offset.characters);
        let text = text.as_bytes();
        let visible = match bytes.split_first() {
            _ if !offset.is_start() || text.starts_with(bytes) => bytes,
            Some((b' ', rest)) if text.starts_with(rest) => rest,
            _ => &[],
        };
        offset.advance(visible);
    }

    /// The log-probabilities of tokens that follow those that `offset` has counted.
    #[must_use]
    pub fn of(tokens: &[TokenLogprob], offset: &mut CharacterOffset) -> Self {
        let mut logprobs = Self::default();
        for token in tokens {
            logprobs.tokens.push(token_text(&token.chosen.bytes));
            logprobs.token_logprobs.push(Some(token.chosen.logprob));
            logprobs.top_logprobs.push(Some(TopLogprobs::of(token)));
            logprobs.text_offset.push(offset.characters);
            offset.advance(&token.chosen.bytes);
        }
        logprobs
    }
}

/// A JSON object from token text to log-probability, likeliest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopLogprobs(Vec<(String, f32)>);

impl TopLogprobs {
    fn of(token: &TokenLogprob) -> Self {
        let mut entries: Vec<(String, f32)> = Vec::with_capacity(token.top.len() + 1);
        let TokenAlternative { bytes, logprob, .. } = &token.chosen;
        let chosen = token_text(bytes);
        for alternative in &token.top {
            let text = token_text(&alternative.bytes);
            // Each key occurs once: of different tokens with the same text the drawn one counts, else the likeliest.
            if text != chosen && entries.iter().all(|(earlier, _)| *earlier != text) {
                entries.push((text, alternative.logprob));
            }
        }
        let place = entries.partition_point(|(_, other)| other >= logprob);
        entries.insert(place, (chosen, *logprob));
        Self(entries)
    }
}

impl Serialize for TopLogprobs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(text, logprob)| (text, logprob)))
    }
}

/// A token as text. Bytes that are no UTF-8 by themselves are written as `bytes:\\xe4\\xbd`.
pub(in crate::api) fn token_text(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    bytes.iter().fold("bytes:".to_owned(), |mut text, byte| {
        write!(text, "\\x{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Counts the characters of a text that arrives as pieces of bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CharacterOffset {
    /// Number of whole characters so far. A piece that begins within a character has the offset of that character.
    characters: u64,
    /// The beginning of a character that is not whole yet; at most 3 bytes.
    partial: Vec<u8>,
}

impl CharacterOffset {
    /// The offset after a prompt with this number of characters.
    #[must_use]
    pub fn after(characters: u64) -> Self {
        Self { characters, partial: Vec::new() }
    }

    /// True if no character was counted.
    fn is_start(&self) -> bool {
        self.characters == 0 && self.partial.is_empty()
    }

    /// This offset, or `characters` if that is larger.
    #[must_use]
    pub fn at_least(self, characters: u64) -> Self {
        if self.characters < characters { Self::after(characters) } else { self }
    }

    /// Counts a piece. Bytes that can be no character count as the U+FFFD that stand for them in the text: one for each
    /// maximal part.
    fn advance(&mut self, piece: &[u8]) {
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(piece);
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.characters = chunk.valid().chars().fold(self.characters, |count, _| count + 1);
            let invalid = chunk.invalid();
            let unfinished = chunks.peek().is_none() && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if unfinished {
                self.partial = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.characters += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
