//! The text of one sequence: decides after each token how much text may be shown, and which log-probabilities belong to
//! it.

use super::Released;
use super::stop::{StopFinder, StopMatch};
use super::utf8::{Begun, Utf8Decoder};
use crate::protocol::TokenLogprob;
use std::collections::VecDeque;

/// Assembles the text of one sequence. See the module.
#[derive(Debug)]
pub struct TextAssembler {
    decoder: Utf8Decoder,
    finder: StopFinder,
    /// Text that is decoded but not released.
    held: String,
    /// Length of the released text, bytes.
    released: usize,
    /// Tokens whose log-probabilities are not released, in order. At most `max_tokens` of the request.
    waiting: VecDeque<WaitingToken>,
    /// True if the text ends with the stop string instead of before it.
    include_stop: bool,
    /// Index of the first mark in the list of stop strings; marks are never part of the text.
    first_mark: u32,
    stopped: bool,
}

/// A token and the place of its bytes in the text.
#[derive(Debug)]
struct WaitingToken {
    logprob: TokenLogprob,
    /// An offset within the character that the token's first byte is part of; without bytes, within the character
    /// before it.
    start: usize,
    /// Offset of the end of the character that the token's last byte is part of; `None` while that character is
    /// unfinished.
    end: Option<usize>,
}

impl TextAssembler {
    /// The text of a sequence with these stop strings, none of them empty. With `include_stop` the one that ends the
    /// text stays in it.
    #[must_use]
    pub fn new(stop: &[String], include_stop: bool) -> Self {
        Self::with_end_marks(stop, include_stop, &[])
    }

    /// As [`Self::new`], but the text also ends before any of these marks; they are numbered after the stop strings.
    #[must_use]
    pub fn with_end_marks(stop: &[String], include_stop: bool, marks: &[String]) -> Self {
        Self {
            decoder: Utf8Decoder::default(),
            finder: StopFinder::new(&[stop, marks].concat()),
            held: String::new(),
            released: 0,
            waiting: VecDeque::new(),
            include_stop,
            first_mark: u32::try_from(stop.len()).unwrap_or(u32::MAX),
            stopped: false,
        }
    }

    /// Adds a token's bytes (possibly none) and, if wanted, its log-probability.
    pub fn push(&mut self, piece: &[u8], logprob: Option<TokenLogprob>) -> Released {
        if self.stopped {
            return Released::default();
        }
        let before = self.text_len();
        let decoded = self.held.len();
        let begun = self.decoder.push(piece, &mut self.held);
        self.settle(begun, before);
        if let Some(logprob) = logprob {
            let start = match begun {
                // The bytes of a broken character belong to earlier tokens: this token begins after the character.
                Begun::Broken => before + char::REPLACEMENT_CHARACTER.len_utf8(),
                // At the very beginning no character precedes the token, and nothing is held back either.
                Begun::Nothing if piece.is_empty() => before.saturating_sub(1),
                Begun::Nothing | Begun::Waiting | Begun::Finished(_) => before,
            };
            let end = (!self.decoder.is_waiting()).then(|| self.text_len());
            self.waiting.push_back(WaitingToken { logprob, start, end });
        }
        match self.finder.read(&self.held[decoded..]) {
            Some(found) => self.stop_at(found),
            None => self.release_up_to(self.finder.safe()),
        }
    }

    /// Releases the text that is held back, because generation ended for another reason than a stop string.
    ///
    /// The result may still have `stopped` set: a complete stop string may have been held back because one that starts
    /// earlier was possible. Then the stop string is the reason why the text ends.
    pub fn flush(&mut self) -> Released {
        if self.stopped {
            return Released::default();
        }
        let before = self.text_len();
        let decoded = self.held.len();
        let begun = self.decoder.finish(&mut self.held);
        self.settle(begun, before);
        match self.finder.read(&self.held[decoded..]).or(self.finder.finish()) {
            Some(found) => self.stop_at(found),
            None => self.release_up_to(self.text_len()),
        }
    }

    /// Length of the decoded text, bytes.
    fn text_len(&self) -> usize {
        self.released + self.held.len()
    }

    /// Sets the end of an unfinished character, which began at `start`, in the tokens that are part of it.
    fn settle(&mut self, begun: Begun, start: usize) {
        let Some(len) = begun.text_len() else { return };
        for token in self.waiting.iter_mut().rev().take_while(|token| token.end.is_none()) {
            token.end = Some(start + len);
        }
    }

    /// Releases the text before this offset, a character boundary, and the tokens that end there.
    fn release_up_to(&mut self, offset: usize) -> Released {
        let rest = self.held.split_off(offset - self.released);
        let text = std::mem::replace(&mut self.held, rest);
        self.released = offset;
        let ready = self.waiting.iter().take_while(|token| token.end.is_some_and(|end| end <= offset)).count();
        Released { text, logprobs: self.waiting.drain(..ready).map(|token| token.logprob).collect(), stopped: None }
    }

    /// Releases the text before a stop string, or including it, and the tokens that are part of that text; forgets all
    /// else.
    fn stop_at(&mut self, found: StopMatch) -> Released {
        self.stopped = true;
        let is_shown = self.include_stop && found.stop < self.first_mark;
        let end = if is_shown { found.end() } else { found.start };
        self.held.truncate(end - self.released);
        self.released = end;
        let tokens = std::mem::take(&mut self.waiting).into_iter();
        let logprobs = tokens.take_while(|token| token.start < end).map(|token| token.logprob).collect();
        Released { text: std::mem::take(&mut self.held), logprobs, stopped: Some(found.stop) }
    }
}
