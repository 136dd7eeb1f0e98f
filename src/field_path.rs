//! The place of a value in the JSON of a request, such as `messages[3].content[0]`.
//!
//! A path is a list of segments. It is built by the code that reads a request and spelled once, where an answer is
//! written: OpenAI's clients read `messages[3].content[0]`, Anthropic's `messages.3.content.0`. This module knows no
//! route and no field.

use std::fmt::{self, Write as _};

/// The place of a value in a JSON document; without segments it is the document itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldPath {
    /// All segments in OpenAI's spelling, the one that is asked for most often.
    text: String,
    /// The end of each segment in `text`, and the segment's kind.
    segments: Vec<(usize, SegmentKind)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SegmentKind {
    Field,
    Index,
    Each,
}

/// A step from a value to one inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A member of an object; the name may be a client's own word.
    Field(&'a str),
    /// An element of an array, counted from 0 and written in decimal digits.
    Index(&'a str),
    /// Any element of an array.
    Each,
}

/// The spelling of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathStyle {
    /// OpenAI's spelling: `messages[3].content`, and `messages[].content` for any element.
    Brackets,
    /// Anthropic's spelling: `messages.3.content`, and `messages.content` for any element.
    Dots,
}

impl FieldPath {
    /// True if this is the path of the document itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The path in OpenAI's spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path of the member `name` of this object. The name is one segment, whatever its characters are.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        let mut path = self.clone();
        path.push(Segment::Field(name));
        path
    }

    /// The path of the element `index` of this array.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.push(Segment::Index(&index.to_string()));
        path
    }

    /// The path of a value whose place inside this one is `inner`.
    #[must_use]
    pub fn join(&self, inner: &Self) -> Self {
        let mut path = self.clone();
        inner.segments().for_each(|segment| path.push(segment));
        path
    }

    /// The steps from the document to the value.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let mut begin = 0;
        self.segments.iter().enumerate().map(move |(position, (end, kind))| {
            let text = &self.text[std::mem::replace(&mut begin, *end)..*end];
            let is_first = position == 0;
            match kind {
                // Only the first segment has no dot before it, and its name may begin with one.
                SegmentKind::Field if is_first => Segment::Field(text),
                SegmentKind::Field => Segment::Field(text.strip_prefix('.').unwrap_or(text)),
                SegmentKind::Index => Segment::Index(text.trim_matches(['[', ']'])),
                SegmentKind::Each => Segment::Each,
            }
        })
    }

    /// The path in this style.
    #[must_use]
    pub fn spelled(&self, style: PathStyle) -> String {
        match style {
            PathStyle::Brackets => self.text.clone(),
            PathStyle::Dots => {
                let words = self.segments().filter_map(|segment| match segment {
                    Segment::Field(word) | Segment::Index(word) => Some(word),
                    Segment::Each => None,
                });
                words.collect::<Vec<_>>().join(".")
            }
        }
    }

    fn push(&mut self, segment: Segment<'_>) {
        let separator = if self.is_empty() { "" } else { "." };
        let (kind, written) = match segment {
            Segment::Field(name) => (SegmentKind::Field, write!(self.text, "{separator}{name}")),
            Segment::Index(index) => (SegmentKind::Index, write!(self.text, "[{index}]")),
            Segment::Each => (SegmentKind::Each, self.text.write_str("[]")),
        };
        written.expect("a String takes whatever is written to it");
        self.segments.push((self.text.len(), kind));
    }
}

/// Reads a path that this program's code spells as OpenAI does: `tools[].function.name`. A client's own word must not
/// be read so; it is added with [`FieldPath::field`].
impl From<&str> for FieldPath {
    fn from(text: &str) -> Self {
        let mut path = Self::default();
        for word in text.split('.').filter(|_| !text.is_empty()) {
            let (name, brackets) = word.split_at(word.find('[').unwrap_or(word.len()));
            let elements = brackets.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
            let Some(elements) = elements.filter(|inner| inner.split("][").all(|index| index.bytes().all(|c| c.is_ascii_digit()))) else {
                path.push(Segment::Field(word));
                continue;
            };
            if !name.is_empty() {
                path.push(Segment::Field(name));
            }
            for index in elements.split("][") {
                path.push(if index.is_empty() { Segment::Each } else { Segment::Index(index) });
            }
        }
        path
    }
}

impl From<String> for FieldPath {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for FieldPath {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Self> for FieldPath {
    fn from(path: &Self) -> Self {
        path.clone()
    }
}

/// Writes the path in OpenAI's spelling.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_built_is_the_one_that_is_read() {
        let built = FieldPath::from("messages").index(3).field("content").index(0).field("text");

        assert_eq!(built, FieldPath::from("messages[3].content[0].text"));
        assert_eq!(FieldPath::from("messages").index(3).join(&"content[0].text".into()), built);
        for text in ["", "stop", "stop_token_ids", "tools[].function.name", "a[1][2].b", "[0].a", "a[x]", "a[", "a..b"] {
            assert_eq!(FieldPath::from(text).as_str(), text);
        }
    }

    #[test]
    fn each_client_family_reads_its_own_spelling() {
        let rows = [
            ("messages[3].content[0]", "messages.3.content.0"),
            ("tools[].function.name", "tools.function.name"),
            ("thinking.budget_tokens", "thinking.budget_tokens"),
            ("", ""),
        ];
        for (brackets, dots) in rows {
            let path = FieldPath::from(brackets);
            assert_eq!((path.spelled(PathStyle::Brackets), path.spelled(PathStyle::Dots)), (brackets.to_owned(), dots.to_owned()));
        }
    }

    #[test]
    fn a_clients_word_is_one_segment_whatever_its_characters_are() {
        let path = FieldPath::from("chat_template_kwargs").field("a.b[3].");

        assert_eq!(path.segments().collect::<Vec<_>>(), [Segment::Field("chat_template_kwargs"), Segment::Field("a.b[3].")]);
        assert_eq!(path.spelled(PathStyle::Dots), "chat_template_kwargs.a.b[3].");
        let first = FieldPath::default().field(".x");
        assert_eq!((first.as_str(), first.segments().next()), (".x", Some(Segment::Field(".x"))));
        let after_nothing = FieldPath::default().field("").field("b");
        assert_eq!(after_nothing.segments().collect::<Vec<_>>(), [Segment::Field(""), Segment::Field("b")]);
    }
}
