//! Finds stop strings in a text that arrives in pieces, reading every byte once.
//!
//! Each stop string has its own Knuth–Morris–Pratt automaton. Its state is the length of the longest end of the text
//! that begins this stop string. So the largest state is the length that must be held back, and nothing is searched
//! again.
//!
//! The text is ended by the match that *starts* first; of several with one start, by the longest that is complete. So
//! the text does not depend on how it was cut into pieces. A match therefore waits while an earlier start is still
//! possible:
//!
//! ```text
//! stops "bcd" and "abcdx"      … a b c d        "bcd" is complete, but "abcdx" may start before it:
//!                                ╰─╯            a possible x decides.
//! ```

/// A complete stop string in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StopMatch {
    /// Offset of the stop string's first byte in the whole text.
    pub(super) start: usize,
    /// Index of the stop string.
    pub(super) stop: u32,
    len: usize,
}

impl StopMatch {
    /// Offset after the stop string's last byte.
    pub(super) fn end(&self) -> usize {
        self.start + self.len
    }
}

/// The search for the stop strings of one sequence.
#[derive(Debug)]
pub(super) struct StopFinder {
    patterns: Vec<Pattern>,
    /// Number of bytes read.
    read: usize,
    /// The best match so far; undecided while an earlier start is possible.
    best: Option<StopMatch>,
}

impl StopFinder {
    /// A search for these stop strings. An empty one would end every text at once; it is never found.
    pub(super) fn new(stops: &[String]) -> Self {
        let patterns = (0..).zip(stops).filter(|(_, stop)| !stop.is_empty()).map(|(index, stop)| Pattern::new(index, stop)).collect();
        Self { patterns, read: 0, best: None }
    }

    /// Reads more text. A match ends the search: nothing may be read afterwards.
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
            // A match with an equal start could still become longer within this piece. It would not change the text
            // before it and is not waited for.
            if self.best.is_some_and(|best| self.safe() > best.start) {
                return self.best;
            }
        }
        self.best.filter(|best| self.safe() >= best.start)
    }

    /// The match at the end of the text: one that was undecided is now final.
    pub(super) fn finish(&self) -> Option<StopMatch> {
        self.best
    }

    /// Offset before which no stop string can begin any more.
    pub(super) fn safe(&self) -> usize {
        self.read - self.patterns.iter().map(|pattern| pattern.matched).max().unwrap_or(0)
    }
}

/// One stop string, and the length of its beginning that the text ends with.
#[derive(Debug)]
struct Pattern {
    stop: u32,
    bytes: Vec<u8>,
    /// For each length of a beginning: the length of the longest shorter beginning that is also an end of it.
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

    /// Reads a byte. Returns true if the text now ends with the whole stop string.
    fn read(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.bytes.get(self.matched) != Some(&byte) {
            self.matched = self.fallback[self.matched];
        }
        self.matched += usize::from(self.bytes[self.matched] == byte);
        self.matched == self.bytes.len()
    }
}
