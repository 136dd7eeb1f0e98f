//! The names that a chat template mentions, looked up in the same time whatever its length.
//!
//! A name is mentioned where it stands as a word of its own, or as the whole of a text in quotes. Reads no Jinja: a word in
//! a comment counts too.

use std::collections::HashSet;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Mentions(HashSet<Box<str>>);

impl Mentions {
    /// Of a template's source.
    #[must_use]
    pub fn of(source: &str) -> Self {
        let words = source.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let quoted = ['\'', '"'].into_iter().flat_map(|quote| source.split(quote));
        Self(words.chain(quoted).map(Box::from).collect())
    }

    /// Whether the template mentions `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !name.is_empty() && self.0.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_texts_in_quotes_are_mentioned_and_parts_of_them_are_not() {
        let mentions = Mentions::of(r#"{{ message['tool-name'] }}{% if enable_thinking %}{{ x["zwei Wörter"].größe }}"#);

        for name in ["message", "tool-name", "enable_thinking", "zwei Wörter", "größe", "if"] {
            assert!(mentions.contains(name), "{name}");
        }
        for name in ["", "messages", "mess", "thinking", "tool-nam", "enable-thinking", "Wörte"] {
            assert!(!mentions.contains(name), "{name}");
        }
    }
}
