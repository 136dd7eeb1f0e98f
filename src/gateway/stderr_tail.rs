//! Keeps the last lines that a process wrote, within a bound that holds whatever it writes.
//!
//! Pure: bytes in, lines out.

use std::collections::VecDeque;
use tracing::Level;

/// Maximum number of lines that are kept.
const MAX_LINES: usize = 50;
/// Maximum bytes of a line that are kept.
const MAX_LINE_BYTES: usize = 500;

/// Cuts a stream of bytes into lines and remembers the last ones.
#[derive(Debug, Default)]
pub(super) struct StderrTail {
    lines: VecDeque<String>,
    /// The unfinished line, cut at [`MAX_LINE_BYTES`].
    partial: Vec<u8>,
}

impl StderrTail {
    /// Takes in bytes, and returns the lines that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut finished = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = MAX_LINE_BYTES.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                finished.extend(self.end_line());
            }
        }
        finished
    }

    /// Ends the output, and returns the unfinished line if there is one.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.end_line().into_iter().collect()
    }

    /// The lines that are kept, oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    /// Ends the unfinished line and keeps it. Blank lines are dropped.
    fn end_line(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).trim_end().to_owned();
        if line.is_empty() {
            return None;
        }
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.clone());
        Some(line)
    }
}

/// The level and the text of a line that this program itself logged in an engine. `None` for all other lines, such as
/// ` WARN llama.cpp: …`, whose warnings are about choices that this program made.
pub(super) fn own_words(line: &str) -> Option<(Level, &str)> {
    let (level, rest) = line.trim_start().split_once(' ')?;
    let (target, words) = rest.split_once(": ")?;
    let is_own = target.starts_with("llamero::") && !target.contains(' ');
    is_own.then_some((level.parse().ok()?, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_were_read() {
        let mut tail = StderrTail::default();

        assert_eq!(tail.push(b"one\ntw"), ["one"]);
        assert_eq!(tail.push(b"o\n\nthree"), ["two"]);
        assert_eq!(tail.finish(), ["three"]);

        assert_eq!(tail.lines(), ["one", "two", "three"]);
    }

    #[test]
    fn only_the_last_lines_are_kept_and_long_ones_are_cut() {
        let mut tail = StderrTail::default();

        for number in 0..MAX_LINES + 1 {
            tail.push(format!("{number}\n").as_bytes());
        }
        assert_eq!((tail.lines().len(), tail.lines()[0].as_str()), (MAX_LINES, "1"));

        tail.push(&[b'x'; 3 * MAX_LINE_BYTES]);
        let cut = tail.finish();
        assert_eq!(cut[0].len(), MAX_LINE_BYTES);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(StderrTail::default().push(b"a\xffb\n"), ["a\u{fffd}b"]);
    }

    #[test]
    fn only_what_this_program_says_is_taken_at_its_word() {
        let said = |line| own_words(line).map(|(level, words)| (level.to_string(), words));

        assert_eq!(said(" WARN llamero::engine::disk: no room: 5"), Some(("WARN".to_owned(), "no room: 5")));
        assert_eq!(said("ERROR llamero::engine::worker: a step failed"), Some(("ERROR".to_owned(), "a step failed")));
        for other in [
            " WARN llama.cpp: n_ctx is small",
            "thread 'engine' panicked at src/engine/worker.rs:1:",
            "LOUD llamero::engine: x",
            "WARN llamero:: is a word: x",
            "",
        ] {
            assert_eq!(said(other), None, "{other:?}");
        }
    }
}
