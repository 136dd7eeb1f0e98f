//! The names that a chat template mentions. A lookup takes the same time for any length of the template.
//!
//! A template mentions a name if the name is a word of its own, also in a comment or in plain text, or the whole of a
//! text in quotes within Jinja's braces.

use std::collections::HashSet;

/// The set of names.
#[derive(Debug, Clone, Default)]
pub struct Mentions(HashSet<Box<str>>);

impl Mentions {
    /// Collects the names in a template's source.
    #[must_use]
    pub fn of(source: &str) -> Self {
        let words = source.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty());
        Self(words.chain(quoted(source)).map(Box::from).collect())
    }

    /// True if the template mentions `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !name.is_empty() && self.0.contains(name)
    }
}

/// Texts in quotes within `{{ … }}` and `{% … %}`.
pub(super) fn quoted(source: &str) -> Vec<&str> {
    let (mut texts, mut rest) = (Vec::new(), source);
    while let Some(at) = rest.find('{') {
        rest = &rest[at + 1..];
        if rest.starts_with('#') {
            rest = rest.find("#}").map_or("", |end| &rest[end..]);
        } else if rest.starts_with(['{', '%']) {
            rest = quoted_in_braces(&rest[1..], &mut texts);
        }
    }
    texts
}

/// Collects the texts in quotes up to the closing braces. Returns the rest.
fn quoted_in_braces<'a>(mut rest: &'a str, texts: &mut Vec<&'a str>) -> &'a str {
    let mut inner_braces: usize = 0;
    while let Some(at) = rest.find(['\'', '"', '{', '}']) {
        let (before, found) = rest.split_at(at);
        rest = &found[1..];
        match found.as_bytes()[0] {
            b'{' => inner_braces += 1,
            b'}' if inner_braces > 0 => inner_braces -= 1,
            b'}' if before.ends_with('%') || rest.starts_with('}') => return rest,
            _ => {}
        }
        if found.starts_with(['{', '}']) {
            continue;
        }
        let quote = &found[..1];
        let mut is_escaped = false;
        let end = rest.find(|c: char| {
            let ends = !is_escaped && quote.starts_with(c);
            is_escaped = !is_escaped && c == '\\';
            ends
        });
        let Some(end) = end else { return "" };
        texts.push(&rest[..end]);
        rest = &rest[end + 1..];
    }
    ""
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

    #[test]
    fn only_texts_in_quotes_are_kept_whole_whatever_quotes_there_are_around_them() {
        let source = r#"It's {# don't #}{{ {'a-1': {}}['b-2'] }}'c-3'{% set x = "it's" + 'd-\'4' + "e-5" %}, isn't {{ y['f-6'] }}?"#;
        let mentions = Mentions::of(source);

        for name in ["a-1", "b-2", "it's", "d-\\'4", "e-5", "f-6", "y", "isn"] {
            assert!(mentions.contains(name), "{name}");
        }
        for name in ["c-3", ": {}}[", " + ", "s {# don", "t {{ y["] {
            assert!(!mentions.contains(name), "{name}");
        }
        for unclosed in ["{{ 'a", "{% \"", "{#", "{{", "{"] {
            assert!(!Mentions::of(unclosed).contains("'a"), "{unclosed}");
        }
    }
}
