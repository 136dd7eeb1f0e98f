//! Finds fixed marks in a text that arrives one character at a time. Holds back only text that may be the beginning of
//! a mark.

/// Searches for a few marks, none of which begins with another.
#[derive(Debug)]
pub(super) struct MarkMatcher {
    marks: Vec<&'static str>,
    /// The text that may still become a mark: a proper beginning of one.
    begun: String,
}

/// The result of reading a character.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// This text, in order of arrival, is no mark; empty while a mark may be arriving.
    Text(String),
    /// First this text, then this mark.
    Mark(String, &'static str),
}

impl MarkMatcher {
    pub(super) fn new(marks: Vec<&'static str>) -> Self {
        Self { marks, begun: String::new() }
    }

    /// True if no mark has begun.
    pub(super) fn is_idle(&self) -> bool {
        self.begun.is_empty()
    }

    pub(super) fn push(&mut self, c: char) -> Seen {
        self.begun.push(c);
        let mut from = 0;
        while from < self.begun.len() {
            let rest = &self.begun[from..];
            if let Some(mark) = self.marks.iter().find(|mark| mark.starts_with(rest)) {
                let whole = mark.len() == rest.len();
                let text = self.begun[..from].to_owned();
                self.begun.drain(..from);
                if whole {
                    self.begun.clear();
                    return Seen::Mark(text, mark);
                }
                return Seen::Text(text);
            }
            from += rest.chars().next().map_or(1, char::len_utf8);
        }
        Seen::Text(std::mem::take(&mut self.begun))
    }

    /// Returns the text that was held back, at the end of the input.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.begun)
    }
}
