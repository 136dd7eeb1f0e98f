//! How a route calls the fields that chat's code speaks of once they were read.
//!
//! Chat, responses and messages become one [`ChatRequest`](super::request::ChatRequest). What is said of it afterwards names
//! the fields that the client knows: each route has a table of its own, and no sentence is edited.

/// The fields of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct FieldNames {
    /// The field with the conversation, for what a template refuses and for what is too long.
    pub(in crate::api) conversation: &'static str,
    /// The field that limits the tokens of the answer.
    pub(in crate::api) max_tokens: &'static str,
    /// The place of messages, for keys that a template does not show.
    pub(in crate::api) message: &'static str,
    /// The place of calls that were made.
    pub(in crate::api) calls: &'static str,
    /// The place of thoughts.
    pub(in crate::api) thoughts: &'static str,
    /// The place of the function of a tool.
    pub(in crate::api) function: &'static str,
    /// The words for what asks that the answer continues the last message.
    pub(in crate::api) continuation: &'static str,
}

/// Chat's own.
pub(in crate::api) const CHAT: FieldNames = FieldNames {
    conversation: "messages",
    max_tokens: "max_tokens",
    message: "messages[]",
    calls: "messages[].tool_calls",
    thoughts: "messages[].reasoning_content",
    function: "tools[].function",
    continuation: "`continue_final_message`",
};
