//! Splits a model's reasoning from its content: `<think>…</think>` at the beginning of an output.
//!
//! Reasoning is found only there: the same tag within an answer is part of the answer. White space beside the tags
//! belongs to neither part. An output that ends before the closing tag is all reasoning.

use super::marks::{MarkMatcher, Seen};

/// A model's syntax of reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reasoning {
    /// The model writes no reasoning.
    None,
    /// A constraint rules the output from its first character, so that no reasoning comes first. Where calls may be
    /// made, the output is either nothing but calls, or an answer in a format, in which nothing is a call.
    Excluded,
    /// The reasoning stands between two tags, at the beginning of the output.
    Tags {
        /// The opening tag.
        open: &'static str,
        /// The closing tag.
        close: &'static str,
        /// True if the prompt already ends with the opening tag, so that the output begins inside the reasoning.
        begins_inside: bool,
    },
}

/// Pairs of tags, more common ones first.
const TAGS: [(&str, &str); 5] = [
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("<reasoning>", "</reasoning>"),
];

impl Reasoning {
    /// Detects the syntax from a chat template and its prompt for this request: a model writes reasoning if its
    /// template has the tags, and begins inside it if the prompt ends with an open one. If the prompt ends with a
    /// closed pair (as Qwen 3 renders for `enable_thinking: false`), there should be no reasoning to split off, but the
    /// parser still looks for another opening tag.
    #[must_use]
    pub fn detect(template_source: &str, rendered_prompt: &str) -> Self {
        let known = |(open, close): &&(&'static str, &'static str)| template_source.contains(*open) || template_source.contains(*close);
        let Some(&(open, close)) = TAGS.iter().find(known) else {
            return Self::None;
        };
        Self::Tags { open, close, begins_inside: rendered_prompt.trim_end().ends_with(open) }
    }
}

/// The part of the output to which a character belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputPart {
    Thought,
    Said,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReasoningState {
    /// Only white space came so far; an opening tag may follow.
    Beginning,
    Inside,
    /// Only white space came since the closing tag.
    Closed,
    Outside,
}

/// Splits an output, read one character at a time.
#[derive(Debug)]
pub(super) struct ReasoningParser {
    state: ReasoningState,
    close: Option<&'static str>,
    /// Searches for the opening tag.
    opening: MarkMatcher,
    /// Searches for both tags.
    inside: MarkMatcher,
    /// White space that is dropped if it turns out to be next to a tag.
    blank: String,
    /// True if there was any reasoning.
    thought: bool,
    /// True if the next opening tag repeats the one at the end of the prompt, unless reasoning comes first.
    may_repeat: bool,
}

impl ReasoningParser {
    pub(super) fn new(reasoning: Reasoning) -> Self {
        let (state, opening, inside, close) = match reasoning {
            Reasoning::None | Reasoning::Excluded => (ReasoningState::Outside, Vec::new(), Vec::new(), None),
            Reasoning::Tags { open, close, begins_inside } => {
                let state = if begins_inside { ReasoningState::Inside } else { ReasoningState::Beginning };
                (state, vec![open], vec![open, close], Some(close))
            }
        };
        let (opening, inside) = (MarkMatcher::new(opening), MarkMatcher::new(inside));
        Self { state, close, opening, inside, blank: String::new(), thought: false, may_repeat: state == ReasoningState::Inside }
    }

    /// Passes each character to `out` once its part is certain.
    pub(super) fn push(&mut self, c: char, out: &mut dyn FnMut(OutputPart, char)) {
        match self.state {
            ReasoningState::Outside => out(OutputPart::Said, c),
            ReasoningState::Closed if c.is_whitespace() => {}
            ReasoningState::Closed => {
                self.state = ReasoningState::Outside;
                out(OutputPart::Said, c);
            }
            ReasoningState::Beginning if self.opening.is_idle() && c.is_whitespace() => self.blank.push(c),
            ReasoningState::Beginning => match self.opening.push(c) {
                Seen::Mark(..) => self.enter(),
                Seen::Text(text) if text.is_empty() => {}
                Seen::Text(text) => self.begin_content(&text, out),
            },
            ReasoningState::Inside => self.think(c, out),
        }
    }

    /// Ends the output: passes the text that was held back to `out`.
    pub(super) fn finish(&mut self, out: &mut dyn FnMut(OutputPart, char)) {
        match self.state {
            ReasoningState::Beginning => self.begin_content("", out),
            ReasoningState::Inside => {
                let rest = self.inside.finish();
                self.thoughts(&rest, out);
                std::mem::take(&mut self.blank).chars().for_each(|c| out(OutputPart::Thought, c));
            }
            ReasoningState::Closed | ReasoningState::Outside => {}
        }
    }

    fn enter(&mut self) {
        self.blank.clear();
        self.state = ReasoningState::Inside;
    }

    /// Makes all text that was held back content, because there was no opening tag.
    fn begin_content(&mut self, text: &str, out: &mut dyn FnMut(OutputPart, char)) {
        self.state = ReasoningState::Outside;
        let rest = self.opening.finish();
        let held = [std::mem::take(&mut self.blank).as_str(), text, &rest].concat();
        held.chars().for_each(|c| out(OutputPart::Said, c));
    }

    fn think(&mut self, c: char, out: &mut dyn FnMut(OutputPart, char)) {
        match self.inside.push(c) {
            Seen::Text(text) => self.thoughts(&text, out),
            Seen::Mark(text, mark) => {
                self.thoughts(&text, out);
                if Some(mark) == self.close {
                    self.blank.clear();
                    self.state = ReasoningState::Closed;
                } else if self.thought || !std::mem::take(&mut self.may_repeat) {
                    self.thoughts(mark, out);
                }
            }
        }
    }

    /// Passes reasoning on, except the white space before its first word and, until more follows, after its last.
    fn thoughts(&mut self, text: &str, out: &mut dyn FnMut(OutputPart, char)) {
        for c in text.chars() {
            if c.is_whitespace() {
                if self.thought {
                    self.blank.push(c);
                }
                continue;
            }
            self.thought = true;
            std::mem::take(&mut self.blank).chars().for_each(|c| out(OutputPart::Thought, c));
            out(OutputPart::Thought, c);
        }
    }
}
