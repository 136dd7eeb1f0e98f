//! The objects of the Messages API as they stand in JSON: messages, blocks, events of a stream, usage.
//!
//! Source: the `anthropic` package, `types/message.py`, `types/raw_message_stream_event.py`, `types/usage.py`;
//! `warnings` is ours. `format.rs` fills them.

use crate::api::respond::Usage;
use serde::Serialize;
use serde_json::{Map, Value};

/// Anthropic's `Message`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct MessageObject {
    pub(super) id: String,
    pub(super) r#type: &'static str,
    pub(super) role: &'static str,
    pub(super) model: String,
    pub(super) content: Vec<Block>,
    pub(super) stop_reason: Option<&'static str>,
    pub(super) stop_sequence: Option<String>,
    pub(super) usage: AnthropicUsageObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warnings: Option<Vec<String>>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    /// Text of the answer.
    Text { text: String },
    /// Reasoning. It is not signed: the signature is empty, and a block that a client sends back may have any.
    Thinking { thinking: String, signature: &'static str },
    /// A tool call. `input` is empty where a stream begins the block.
    ToolUse { id: String, name: String, input: Map<String, Value> },
}

/// An addition to a block of a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub(super) enum BlockDelta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'static str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum MessageStreamEvent {
    MessageStart { message: MessageObject },
    ContentBlockStart { index: usize, content_block: Block },
    ContentBlockDelta { index: usize, delta: BlockDelta },
    ContentBlockStop { index: usize },
    MessageDelta { delta: MessageEndObject, usage: AnthropicUsageObject },
    MessageStop,
    Ping,
}

impl MessageStreamEvent {
    /// The `event` field of its SSE frame: the same word as its `type`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
        }
    }
}

/// The reason why a message ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct MessageEndObject {
    pub(super) stop_reason: Option<&'static str>,
    pub(super) stop_sequence: Option<String>,
}

/// Anthropic's `Usage`. The prompt's tokens are the sum of `input_tokens`, `cache_creation_input_tokens` and
/// `cache_read_input_tokens`: cached tokens count in `cache_read_input_tokens` and not in `input_tokens`.
/// `cache_creation_input_tokens` is always 0, because every prompt fills the cache and nothing is charged for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct AnthropicUsageObject {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    output_tokens_details: AnthropicOutputTokensDetails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct AnthropicOutputTokensDetails {
    thinking_tokens: u64,
}

impl AnthropicUsageObject {
    /// The usage of a request; `thinking_tokens` of its completion tokens are reasoning.
    pub(super) fn of(usage: &Usage, thinking_tokens: u64) -> Self {
        Self {
            input_tokens: usage.prompt_tokens.saturating_sub(usage.cached_tokens),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens: usage.completion_tokens,
            output_tokens_details: AnthropicOutputTokensDetails { thinking_tokens },
        }
    }
}

/// The answer of `/v1/messages/count_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct TokenCount {
    /// Tokens of the whole prompt, cached or not.
    pub(super) input_tokens: usize,
}
