//! Bytes → text as the bytes arrive, with the same result as `String::from_utf8_lossy` on the whole.
//!
//! Owns the bytes of a character that is not finished yet, at most three.

use std::str::from_utf8;

/// Length of U+FFFD in UTF-8, bytes.
const REPLACEMENT_LEN: usize = char::REPLACEMENT_CHARACTER.len_utf8();

/// Decodes one stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Utf8Decoder {
    unfinished: Vec<u8>,
}

/// The state of the character that earlier bytes had begun, after new bytes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// No character had begun.
    Nothing,
    /// The character still waits for bytes.
    Waiting,
    /// The new bytes finished the character; its text has this many bytes.
    Finished(usize),
    /// The new bytes do not belong to the character: U+FFFD took its place.
    Broken,
}

impl Begun {
    /// Length of the character's text, bytes, if it is decided.
    pub(super) fn text_len(self) -> Option<usize> {
        match self {
            Self::Nothing | Self::Waiting => None,
            Self::Finished(len) => Some(len),
            Self::Broken => Some(REPLACEMENT_LEN),
        }
    }
}

impl Utf8Decoder {
    /// True if a character has begun but not ended.
    pub(super) fn is_waiting(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Appends to `text` the characters that `bytes` complete.
    pub(super) fn push(&mut self, bytes: &[u8], text: &mut String) -> Begun {
        if self.unfinished.is_empty() {
            self.append(bytes, text);
            return Begun::Nothing;
        }
        let begun = self.unfinished.len();
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            self.unfinished.push(byte);
            match from_utf8(&self.unfinished) {
                Ok(character) => {
                    text.push_str(character);
                    let len = self.unfinished.len();
                    self.unfinished.clear();
                    self.append(after, text);
                    return Begun::Finished(len);
                }
                Err(error) if error.error_len().is_none() => rest = after,
                Err(_) => {
                    // This byte begins another character, and the bytes after it follow.
                    text.push(char::REPLACEMENT_CHARACTER);
                    let joined = self.unfinished.len() - 1 - begun;
                    self.unfinished.clear();
                    self.append(&bytes[joined..], text);
                    return if joined == 0 { Begun::Broken } else { Begun::Finished(REPLACEMENT_LEN) };
                }
            }
        }
        Begun::Waiting
    }

    /// Ends the stream: an unfinished character becomes U+FFFD.
    pub(super) fn finish(&mut self, text: &mut String) -> Begun {
        if self.unfinished.is_empty() {
            return Begun::Nothing;
        }
        self.unfinished.clear();
        text.push(char::REPLACEMENT_CHARACTER);
        Begun::Broken
    }

    /// Appends the characters that `bytes` complete; `bytes` begins at the beginning of a character.
    fn append(&mut self, mut bytes: &[u8], text: &mut String) {
        while let Err(error) = from_utf8(bytes) {
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            text.push_str(from_utf8(valid).expect("valid up to here"));
            let Some(invalid) = error.error_len() else {
                self.unfinished.extend_from_slice(rest);
                return;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            bytes = &rest[invalid..];
        }
        text.push_str(from_utf8(bytes).expect("the loop ends with valid bytes"));
    }
}
