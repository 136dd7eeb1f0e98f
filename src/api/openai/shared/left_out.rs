//! Parts of a request that are left out because of their type: tools that nothing here can run, and items of a history
//! that have no place in a prompt. Their warnings name each type once.
//!
//! Keeps the first types only: a body of 2 MB can have 100,000 of them.

use crate::field_path::FieldPath;

/// Number of types that are named.
const MAX_KINDS: usize = 8;
/// Number of tools whose names are kept.
const MAX_TOOL_NAMES: usize = 128;
/// The maximum length of a type's name, characters.
const MAX_NAME: usize = 32;

/// The parts that are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    named: Vec<NamedKind>,
    /// Number of parts whose types are not named.
    others: usize,
    /// Names of tools that are left out, if they have names beside their types.
    tool_names: Vec<String>,
}

/// A type of which parts are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedKind {
    part: LeftOutPart,
    kind: String,
    /// The place of the first of these parts.
    at: FieldPath,
}

/// The sort of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOutPart {
    /// An element of `tools`.
    Tool,
    /// An item of the history in OpenAI's Responses API.
    Item,
    /// A block of a message in Anthropic's API.
    Block,
}

impl LeftOut {
    /// Adds a part of this type; its place is `at`.
    pub fn add(&mut self, part: LeftOutPart, kind: &str, at: &FieldPath) {
        // Warnings go into a header.
        let kind: String = kind.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, ';' | '\'')).take(MAX_NAME).collect();
        if self.named.iter().any(|named| named.part == part && named.kind == kind) {
            return;
        }
        if self.named.len() < MAX_KINDS {
            self.named.push(NamedKind { part, kind, at: at.clone() });
        } else {
            self.others += 1;
            if part == LeftOutPart::Tool {
                self.add_tool_name(&kind);
            }
        }
    }

    /// Adds the name of a tool that is left out, so that a choice of it is understood.
    pub fn add_tool_name(&mut self, name: &str) {
        if self.tool_names.len() < MAX_TOOL_NAMES && !self.has_tool(name) {
            self.tool_names.push(name.to_owned());
        }
    }

    /// True if tools are left out.
    #[must_use]
    pub fn has_tools(&self) -> bool {
        self.named.iter().any(|named| named.part == LeftOutPart::Tool)
    }

    /// True if a tool of this type or name is left out, and is among the first ones.
    #[must_use]
    pub fn has_tool(&self, name: &str) -> bool {
        let is_kind = |named: &NamedKind| named.part == LeftOutPart::Tool && named.kind == name;
        // A type without a visible character has no name.
        !name.is_empty() && (self.named.iter().any(is_kind) || self.tool_names.iter().any(|known| known == name))
    }

    /// Adds parts that were left out later.
    pub fn extend(&mut self, later: Self) {
        for NamedKind { part, kind, at } in later.named {
            self.add(part, &kind, &at);
        }
        self.others += later.others;
        later.tool_names.iter().for_each(|name| self.add_tool_name(name));
    }

    /// The warnings, each with the place that it is about.
    #[must_use]
    pub fn warnings(self) -> Vec<(String, String)> {
        let others = self.others;
        let mut warnings: Vec<(String, String)> = self.named.into_iter().map(NamedKind::warning).collect();
        if let Some((_, text)) = warnings.last_mut().filter(|_| others > 0) {
            text.push_str(&format!(" (and {others} more parts of other types)"));
        }
        warnings
    }
}

impl NamedKind {
    fn warning(self) -> (String, String) {
        let Self { part, kind, at } = self;
        let text = match part {
            LeftOutPart::Tool => format!("tools of type '{kind}' were left out: nothing here can run them"),
            LeftOutPart::Item => format!("items of type '{kind}' were left out of the prompt"),
            LeftOutPart::Block => format!("blocks of type '{kind}' were left out of the prompt"),
        };
        (at.as_str().to_owned(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_named_once_with_its_first_place() {
        let mut left_out = LeftOut::default();
        for (index, kind) in ["web_search", "mcp", "web_search"].into_iter().enumerate() {
            left_out.add(LeftOutPart::Tool, kind, &FieldPath::from("tools").index(index));
        }
        left_out.add(LeftOutPart::Item, "mcp", &"input[3]".into());

        let expected = [
            ("tools[0]", "tools of type 'web_search' were left out: nothing here can run them"),
            ("tools[1]", "tools of type 'mcp' were left out: nothing here can run them"),
            ("input[3]", "items of type 'mcp' were left out of the prompt"),
        ];
        assert_eq!(left_out.warnings(), expected.map(|(at, text)| (at.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_tool_is_known_by_its_type_also_beyond_those_that_are_named() {
        let mut left_out = LeftOut::default();
        for kind in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "é"] {
            left_out.add(LeftOutPart::Tool, kind, &"tools[0]".into());
        }

        assert!(left_out.has_tool("1") && left_out.has_tool("9"));
        assert!(!left_out.has_tool("10") && !left_out.has_tool(""), "a tool without a name is none of these");
    }

    #[test]
    fn a_hundred_thousand_types_are_eight_names_and_a_number() {
        let mut left_out = LeftOut::default();
        for index in 0..100_000 {
            left_out.add(LeftOutPart::Tool, &format!("{index};\r\n{}", "x".repeat(100)), &"tools[0]".into());
        }

        let warnings = left_out.warnings();

        assert_eq!(warnings.len(), MAX_KINDS);
        assert!(warnings[7].1.ends_with("(and 99992 more parts of other types)"), "{warnings:?}");
        assert!(
            warnings
                .iter()
                .all(|(_, text)| text.len() < 200 && text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) && !text.contains(';'))
        );
    }
}
