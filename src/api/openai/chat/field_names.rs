//! The names that each route has for the fields that chat's errors and warnings mention.
//!
//! Requests to chat, responses and messages become one type, [`ChatRequest`](super::request::ChatRequest). Later errors
//! and warnings name the client's own fields: each route has a table of its own, and no rendered sentence is edited.

/// The fields of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct FieldNames {
    /// The field with the conversation, for refusals by a template and for prompts that are too long.
    pub(in crate::api) conversation: &'static str,
    /// The path of a message, for keys that a template ignores.
    pub(in crate::api) message: &'static str,
    /// The path of the tool calls in a message.
    pub(in crate::api) calls: &'static str,
    /// The path of the reasoning in a message.
    pub(in crate::api) thoughts: &'static str,
    /// The path of the function of a tool.
    pub(in crate::api) function: &'static str,
    /// The path of the fields of a tool whose input is a text.
    pub(in crate::api) text_tool: &'static str,
    /// The words that name a request to continue the last message.
    pub(in crate::api) continuation: &'static str,
}

/// The names in `/v1/chat/completions`.
pub(in crate::api) const CHAT: FieldNames = FieldNames {
    conversation: "messages",
    message: "messages[]",
    calls: "messages[].tool_calls",
    thoughts: "messages[].reasoning_content",
    function: "tools[].function",
    text_tool: "tools[].custom",
    continuation: "`continue_final_message`",
};
