//! Parses a chat model's text into reasoning, content and tool calls while the text arrives.
//!
//! ```text
//! text ─ reasoning ─▶ text between the tags ─▶ Reasoning
//!            └──────▶ calls ─▶ other text   ─▶ Content
//!                       └────▶ calls        ─▶ CallStart, CallArguments
//! ```
//!
//! Owns this split. Makes no ids and needs no HTTP and no tokens: its input is text.
//!
//! The text is read one character at a time, so the concatenation of the deltas depends on the text alone and not on
//! the pieces in which it came. Nothing is read twice, so any output takes linear time. At most the text of one call is
//! held back.
//!
//! # Duties of the caller
//! - Under `Calls::Auto`, ask the engine to write out special tokens: `[TOOL_CALLS]`, `<|python_tag|>`, `<|tool_call|>`
//!   and similar ones are control tokens, whose text is otherwise empty. Tokens that end a generation need not be
//!   written out.
//! - Under `Required` and `Named`, generate under [`forced_constraint`]. It constrains the output from its first token,
//!   so there is no reasoning: the parser then recognises no reasoning tags, and a template should not open one.
//! - Beside a format, generate under [`offered_constraint`] with [`Reasoning::Excluded`].
//! - Stop early if [`OutputParser::is_done`] is true: no further call would count.
//!
//! # Guarantees
//! - A call begins once, with its complete name, and `index` counts from 0. Only names of the tools are calls.
//! - Arguments are the model's own JSON text of one object, checked as it streams. Control characters that the model
//!   wrote bare in a string are escaped, because JSON forbids them and models write them. Of a tool whose input is a
//!   text, they are that text.
//! - Under [`forced_constraint`] nothing is content: text around the calls was prescribed and not the model's choice.
//! - Under [`offered_constraint`] an output is either calls or content. Marks of calls within an answer are content.
//! - Otherwise text that is no call is content, unchanged, even if it looked like a call until its end. Only the marks
//!   of calls and of reasoning, the white space beside them, and further calls if `parallel` is false are dropped.
//! - A call that breaks off or breaks JSON after it was announced keeps the arguments so far (OpenAI too streams
//!   arguments that `max_tokens` then cuts). From the character that broke it on, the text is content.
//! - The arguments of `strict` tools obey their schema under `Required` and `Named`. Under `Auto` generation is free,
//!   so their arguments are JSON but may violate the schema.
//!
//! # Why not a library
//! Tried in November 2026, each in its newest release:
//! - `tool-parser` 1.10 with `reasoning-parser` 1.10 add 62 crates to our 243 (3.5 CPU minutes). Five of them, of
//!   malachite, are under LGPL-3.0-only, unfit for a static binary under MIT or Apache-2.0. Their results depend on the
//!   pieces: of two Qwen calls cut in two pieces, the second is lost at 75 cuts of 170, of two Llama calls at 70 of
//!   110; `</think>` is missed in 91 of 153 ways to cut `<think>a</think>b` in three. A call is read anew at each push:
//!   32 KiB of arguments in single characters take 4.6 s, four times as long as 16 KiB. The interface is async.
//! - `dynamo-parsers` 11 adds 123 crates by way of `openai-harmony`, image codecs and an AV1 encoder among them.

mod call_object;
mod calls;
mod forced;
mod format;
mod input;
mod json;
mod marks;
mod offered;
mod python;
mod reasoning;
mod sink;
#[cfg(test)]
mod tests;
mod xml;

pub use forced::{forced_constraint, in_words_of_tools};
pub use format::ToolFormat;
pub use input::TEXT_ARGUMENT;
pub use offered::offered_constraint;
pub use reasoning::Reasoning;

use crate::protocol::Constraint;
use calls::CallParser;
use reasoning::{OutputPart, ReasoningParser};
use sink::Sink;
use std::sync::Arc;

/// The syntax of an output: reasoning, calls and tools.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSpec {
    /// The functions that may be called.
    pub tools: Vec<ToolSpec>,
    /// The rule for calling them: may, must or must not.
    pub calls: Calls,
    /// True if more than one call counts.
    pub parallel: bool,
    /// The model's syntax of calls under [`Calls::Auto`].
    pub format: ToolFormat,
    /// The model's syntax of reasoning.
    pub reasoning: Reasoning,
}

/// A function that may be called.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// `[a-zA-Z0-9_-]{1,130}`, unique within a request.
    pub name: String,
    /// JSON Schema of the arguments, an object; `{}` means that there are none.
    pub parameters: serde_json::Value,
    /// OpenAI's `strict`. The module's header describes its effect.
    pub strict: bool,
    /// The form of the input that the caller of the tool gets.
    pub input: ToolInput,
}

/// The form of a tool's input.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ToolInput {
    /// The arguments, a JSON object.
    #[default]
    Arguments,
    /// A text. The model writes it as the argument [`TEXT_ARGUMENT`], or alone under `grammar`.
    Text {
        /// The grammar that the text obeys if the tool is the one that must be called.
        grammar: Option<Constraint>,
    },
}

impl ToolSpec {
    /// True if the input of the tool is a text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.input, ToolInput::Text { .. })
    }
}

impl OutputSpec {
    /// As the function [`text_alone`].
    fn text_alone(&self) -> Option<&ToolSpec> {
        text_alone(&self.tools, &self.calls)
    }
}

/// The tool that must be called and whose input is the whole output, because a grammar describes it.
#[must_use]
pub fn text_alone<'a>(tools: &'a [ToolSpec], calls: &Calls) -> Option<&'a ToolSpec> {
    let Calls::Named(name) = calls else { return None };
    let has_grammar = |tool: &&ToolSpec| matches!(tool.input, ToolInput::Text { grammar: Some(_) });
    tools.iter().find(|tool| tool.name == *name).filter(has_grammar)
}

/// OpenAI's `tool_choice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calls {
    /// No text is a call.
    None,
    /// The model decides whether to call.
    Auto,
    /// At least one call is made, and no other text.
    Required,
    /// Exactly one call of this function is made.
    Named(String),
}

/// A part of an output. Adjacent parts of one kind belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputDelta {
    /// An addition to the content.
    Content(String),
    /// An addition to the reasoning.
    Reasoning(String),
    /// A call begins.
    CallStart {
        /// The number of the call, from 0 without gaps.
        index: usize,
        /// The complete name of the function.
        name: String,
    },
    /// An addition to the arguments of a call.
    CallArguments {
        /// The number of the call; always the one that began last.
        index: usize,
        /// The text to append.
        text: String,
    },
}

/// Parses the text of one choice.
#[derive(Debug)]
pub struct OutputParser {
    reasoning: ReasoningParser,
    calls: CallParser,
    sink: Sink,
}

impl OutputParser {
    /// Creates a parser for the beginning of an output.
    #[must_use]
    pub fn new(spec: Arc<OutputSpec>) -> Self {
        let forced = matches!(spec.calls, Calls::Required | Calls::Named(_));
        let reasoning = if forced { Reasoning::None } else { spec.reasoning };
        Self { reasoning: ReasoningParser::new(reasoning), sink: Sink::new(&spec), calls: CallParser::new(spec) }
    }

    /// Adds `text`, and returns the deltas that are certain now; there may be none.
    #[must_use]
    pub fn push(&mut self, text: &str) -> Vec<OutputDelta> {
        for c in text.chars() {
            let Self { reasoning, calls, sink } = self;
            reasoning.push(c, &mut |part, c| match part {
                OutputPart::Thought => sink.reasoning(c),
                OutputPart::Said => calls.push(c, sink),
            });
        }
        self.sink.take()
    }

    /// Ends the output, and returns the text that was held back. Nothing may be pushed afterwards.
    #[must_use]
    pub fn finish(&mut self) -> Vec<OutputDelta> {
        let Self { reasoning, calls, sink } = self;
        reasoning.finish(&mut |part, c| match part {
            OutputPart::Thought => sink.reasoning(c),
            OutputPart::Said => calls.push(c, sink),
        });
        calls.finish(sink);
        sink.end_call();
        sink.take()
    }

    /// True if a call began, so that the finish reason `stop` becomes `tool_calls`.
    #[must_use]
    pub fn has_calls(&self) -> bool {
        self.sink.has_calls()
    }

    /// True if the only call that counts is complete, so that generation may stop: `parallel` is false, or one function
    /// was named.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.calls.is_done()
    }
}
