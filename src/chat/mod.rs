//! Conversations → prompts: a model's own chat template, with a user's words kept from becoming control tokens.
//!
//! ```text
//! messages, tools, kwargs ─ guard (marks what could spell a control token) ─ Jinja ─ marks out ─▶ text + barriers
//! ```
//!
//! Owns compiled templates, their limits and the choice among a model's templates. It knows no HTTP and no engine; the
//! caller says what a message may hold, tokenizes the text with the barriers
//! ([`SpecialText::RecognisedOutside`](crate::protocol::SpecialText::RecognisedOutside)) and reads the answer.

mod environment;
mod guard;
mod json;
mod select;
mod template;

pub use select::{ChatTemplates, FALLBACK};
pub use template::{ChatInput, ChatTemplate, RenderedPrompt, TemplateError, TemplateTokens};

#[cfg(test)]
mod fixtures;
