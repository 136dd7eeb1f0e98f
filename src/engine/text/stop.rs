//! Finds stop strings in a text that arrives in pieces, reading every byte once.
//!
//! Each stop string has its own Knuth–Morris–Pratt automaton; its state is the length of the longest end of the text
//! that begins this stop string. So "how much must be held back" is the largest state, and nothing is searched again.
//!
//! Which one ends the text: the match that *starts* first; of those the longest that is complete. So the text does
//! not depend on how it was cut into pieces. A match therefore waits while an earlier start is still possible:
//!
//! ```text
//! stops "bcd" and "abcdx"      … a b c d        "bcd" is complete, but "abcdx" may start before it:
//!                                ╰─╯            a possible x decides.
//! ```

/// A complete stop string in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StopMatch {
    /// Offset of its first byte in the whole text.
    pub(super) start: usize,
    /// Which stop string it is.
    pub(super) stop: u32,
    len: usize,
}

impl StopMatch {
    /// Offset after its last byte.
    pub(super) fn end(&self) -> usize {
        self.start + self.len
    }
}

/// The search for the stop strings of one sequence.
#[derive(Debug)]
pub(super) struct StopFinder {
    patterns: Vec<Pattern>,
    /// Bytes read.
    read: usize,
    /// The best match so far, undecided while an earlier one is possible.
    best: Option<StopMatch>,
}

impl StopFinder {
    /// For these stop strings; an empty one would end every text at once and is never found.
    pub(super) fn new(stops: &[String]) -> Self {
        let patterns = (0..).zip(stops).filter(|(_, stop)| !stop.is_empty()).map(|(index, stop)| Pattern::new(index, stop)).collect();
        Self { patterns, read: 0, best: None }
    }

    /// Reads on. A match ends the search: nothing may be read afterwards.
    pub(super) fn read(&mut self, text: &str) -> Option<StopMatch> {
        if self.patterns.is_empty() {
            self.read += text.len();
            return None;
        }
        for &byte in text.as_bytes() {
            self.read += 1;
            for pattern in &mut self.patterns {
                if pattern.read(byte) {
                    let found = StopMatch { start: self.read - pattern.bytes.len(), stop: pattern.stop, len: pattern.bytes.len() };
                    if self.best.is_none_or(|best| found.start < best.start || (found.start == best.start && found.len > best.len)) {
                        self.best = Some(found);
                    }
                }
            }
            // An equal start could still become longer within this piece, but changes no text and is not waited for.
            if self.best.is_some_and(|best| self.safe() > best.start) {
                return self.best;
            }
        }
        self.best.filter(|best| self.safe() >= best.start)
    }

    /// The text ends here: a match that was undecided is final.
    pub(super) fn finish(&self) -> Option<StopMatch> {
        self.best
    }

    /// Offset up to which no stop string can begin any more.
    pub(super) fn safe(&self) -> usize {
        self.read - self.patterns.iter().map(|pattern| pattern.matched).max().unwrap_or(0)
    }
}

/// One stop string and how much of it the text ends with.
#[derive(Debug)]
struct Pattern {
    stop: u32,
    bytes: Vec<u8>,
    /// For each length: the longest shorter beginning that is also an end of this beginning.
    fallback: Vec<usize>,
    matched: usize,
}

impl Pattern {
    fn new(stop: u32, text: &str) -> Self {
        let bytes = text.as_bytes().to_vec();
        let mut fallback = vec![0; bytes.len() + 1];
        let mut len = 0;
        for at in 1..bytes.len() {
            while len > 0 && bytes[len] != bytes[at] {
                len = fallback[len];
            }
            len += usize::from(bytes[len] == bytes[at]);
            fallback[at + 1] = len;
        }
        Self { stop, bytes, fallback, matched: 0 }
    }

    /// Reads a byte; whether the text now ends with the whole stop string.
    fn read(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.bytes.get(self.matched) != Some(&byte) {
            self.matched = self.fallback[self.matched];
        }
        self.matched += usize::from(self.bytes[self.matched] == byte);
        self.matched == self.bytes.len()
    }
}
