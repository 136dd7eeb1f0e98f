//! The last lines that a process wrote, within a bound, whatever it writes.
//!
//! Pure: bytes in, lines out.

use std::collections::VecDeque;

/// Lines that are kept.
const MAX_LINES: usize = 50;
/// Bytes of a line that are kept.
const MAX_LINE_BYTES: usize = 500;

/// Cuts a stream of bytes into lines and remembers the last ones.
#[derive(Debug, Default)]
pub(super) struct StderrTail {
    lines: VecDeque<String>,
    /// The line that is not finished yet, cut at [`MAX_LINE_BYTES`].
    partial: Vec<u8>,
}

impl StderrTail {
    /// Takes in what was read. The lines that are finished by it.
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

    /// Nothing more comes. The line that was not finished.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.end_line().into_iter().collect()
    }

    /// The lines that are kept, oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    /// Blank lines are dropped.
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
}
