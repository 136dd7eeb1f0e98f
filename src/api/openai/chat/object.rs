//! The objects of chat as they stand in JSON: `chat.completion`, `chat.completion.chunk`, messages, deltas, tool calls.
//!
//! Source: OpenAI's `CreateChatCompletionResponse` and `CreateChatCompletionStreamResponse`; `reasoning_content` is
//! DeepSeek's and vLLM's, `stop_reason` vLLM's, `seed` and `warnings` ours. `format.rs` fills them.

use super::logprobs::ChatLogprobs;
use crate::{
    api::openai::{
        completions::format::StopReason,
        shared::answer::{ResponseHead, UsageField},
    },
    chat::messages::{CUSTOM, FUNCTION},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::sync::Arc;

/// A chunk of a stream: one choice, or none and the usage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChatChunk {
    pub(super) head: Arc<ResponseHead>,
    pub(super) choice: Option<ChatChunkChoice>,
    pub(super) usage: UsageField,
}

/// A part of a choice. OpenAI's four keys are always written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ChatChunkChoice {
    pub(super) index: usize,
    pub(super) delta: ChatDelta,
    pub(super) logprobs: Option<ChatLogprobs>,
    pub(super) finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_reason: Option<StopReason>,
}

/// The addition of a chunk to its message. Clients concatenate strings, so no text is repeated.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct ChatDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<String>,
    /// At most one tool call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<CallDelta>,
}

/// A part of a tool call: the first has `id`, `type` and the name, later ones only more input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct CallDelta {
    pub(super) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(flatten)]
    pub(super) call: CalledDelta,
}

/// The tool's part of a [`CallDelta`], under the key of its kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CalledDelta {
    /// A function; the arguments are JSON as text.
    Function {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        arguments: String,
    },
    /// A tool whose input is a text.
    Custom {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        input: String,
    },
}

/// The answer without streaming.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChatCompletion {
    pub(super) head: Arc<ResponseHead>,
    pub(super) choices: Vec<ChatChoiceObject>,
    pub(super) usage: UsageField,
    pub(super) seed: i64,
    pub(super) warnings: Option<Vec<String>>,
}

/// A whole choice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ChatChoiceObject {
    pub(super) index: usize,
    pub(super) message: ResponseMessage,
    pub(super) logprobs: Option<ChatLogprobs>,
    pub(super) finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_reason: Option<StopReason>,
}

/// The message that the model generated.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ResponseMessage {
    pub(super) content: String,
    pub(super) reasoning: String,
    pub(super) calls: Vec<ToolCallObject>,
}

/// A whole tool call.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ToolCallObject {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON as text; the text itself for a tool whose input is a text.
    pub(super) input: String,
    /// True for a tool whose input is a text.
    pub(super) is_text: bool,
}

impl ChatChoiceObject {
    /// A choice before its first chunk.
    pub(super) fn new(index: usize, logprobs: bool) -> Self {
        let logprobs = logprobs.then(ChatLogprobs::default);
        Self { index, message: ResponseMessage::default(), logprobs, finish_reason: None, stop_reason: None }
    }

    /// Adds a chunk of this choice.
    pub(super) fn append(&mut self, chunk: ChatChunkChoice) {
        self.message.append(chunk.delta);
        if let (Some(logprobs), Some(later)) = (&mut self.logprobs, chunk.logprobs) {
            logprobs.append(later);
        }
        self.finish_reason = chunk.finish_reason.or(self.finish_reason);
        self.stop_reason = chunk.stop_reason.or(self.stop_reason.take());
    }
}

impl ResponseMessage {
    fn append(&mut self, delta: ChatDelta) {
        self.content.push_str(&delta.content.unwrap_or_default());
        self.reasoning.push_str(&delta.reasoning_content.unwrap_or_default());
        for CallDelta { index, id, call: called, .. } in delta.tool_calls {
            if index == self.calls.len() {
                self.calls.push(ToolCallObject::default());
            }
            if let Some(call) = self.calls.get_mut(index) {
                call.id.push_str(&id.unwrap_or_default());
                call.is_text = matches!(called, CalledDelta::Custom { .. });
                let (CalledDelta::Function { name, arguments: input } | CalledDelta::Custom { name, input }) = called;
                call.name.push_str(&name.unwrap_or_default());
                call.input.push_str(&input);
            }
        }
    }
}

impl Serialize for ChatChunk {
    /// Written by hand, because chunks share one `ResponseHead`, and `usage` is absent, null or an object.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("ChatChunk", 7)?;
        self.head.serialize_into::<S>(&mut object, "chat.completion.chunk")?;
        object.serialize_field("choices", self.choice.as_slice())?;
        self.usage.serialize_into::<S>(&mut object)?;
        object.end()
    }
}

impl Serialize for ChatCompletion {
    /// Written by hand, for the reasons given at [`ChatChunk`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("ChatCompletion", 9)?;
        self.head.serialize_into::<S>(&mut object, "chat.completion")?;
        object.serialize_field("choices", &self.choices)?;
        self.usage.serialize_into::<S>(&mut object)?;
        object.serialize_field("seed", &self.seed)?;
        match &self.warnings {
            None => object.skip_field("warnings")?,
            Some(warnings) => object.serialize_field("warnings", warnings)?,
        }
        object.end()
    }
}

impl Serialize for ResponseMessage {
    /// `content` is null only beside tool calls, because clients expect a text everywhere else; `refusal` is always
    /// present.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("ResponseMessage", 5)?;
        object.serialize_field("role", "assistant")?;
        let silent = self.content.is_empty() && !self.calls.is_empty();
        object.serialize_field("content", &(!silent).then_some(&self.content))?;
        object.serialize_field("refusal", &None::<()>)?;
        if self.reasoning.is_empty() {
            object.skip_field("reasoning_content")?;
        } else {
            object.serialize_field("reasoning_content", &self.reasoning)?;
        }
        if self.calls.is_empty() {
            object.skip_field("tool_calls")?;
        } else {
            object.serialize_field("tool_calls", &self.calls)?;
        }
        object.end()
    }
}

impl Serialize for ToolCallObject {
    /// A whole call looks like the first chunk of a call, but has no `index`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            arguments: &'a str,
        }
        #[derive(Serialize)]
        struct Custom<'a> {
            name: &'a str,
            input: &'a str,
        }
        let mut object = serializer.serialize_struct("ToolCallObject", 3)?;
        object.serialize_field("id", &self.id)?;
        let (name, input) = (&self.name, &self.input);
        if self.is_text {
            object.serialize_field("type", CUSTOM)?;
            object.serialize_field(CUSTOM, &Custom { name, input })?;
        } else {
            object.serialize_field("type", FUNCTION)?;
            object.serialize_field(FUNCTION, &Function { name, arguments: input })?;
        }
        object.end()
    }
}
