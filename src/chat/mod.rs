//! Conversations: messages and tools are rendered as a prompt, and the model's text is parsed into an answer.
//!
//! ```text
//! conversation, tools, kwargs ─ guard (marks text that could form a control token) ─ Jinja ─ marks out ─▶ text + barriers
//! text of a choice ─ output ─▶ reasoning, content, calls
//! ```
//!
//! Owns compiled templates, their limits, the choice among a model's templates, the conversation that all routes read,
//! the shapes of OpenAI's chat messages and the syntaxes of model families. It uses no HTTP, no clock and no engine;
//! the caller tokenizes the text with the barriers
//! ([`SpecialText::RecognisedOutside`](crate::protocol::SpecialText::RecognisedOutside)) and passes the answer back.

mod abilities;
mod conversation;
mod cuts;
mod environment;
mod fit;
mod fold;
mod generic;
mod guard;
mod json;
mod mentions;
pub mod messages;
pub mod output;
mod rendering;
mod samples;
mod select;
mod single_calls;
mod template;

pub use abilities::{Abilities, SystemMessages};
pub use conversation::{CALL_ID, Conversation, Message, Part, REASONING, Role, TOOL_CALLS, ToolCall};
pub use fit::FittedPrompt;
pub use fold::Folding;
pub use generic::{GenericTools, OfferedTools};
pub use mentions::Mentions;
pub use rendering::{ChatInput, ContinuationError, RenderedPrompt, TemplateError, TemplateTokens};
pub use select::{ChatTemplates, FALLBACK, FALLBACK_MARKS};
pub use single_calls::SINGLE_CALLS;
pub use template::ChatTemplate;

#[cfg(test)]
mod fixtures;
