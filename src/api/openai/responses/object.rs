//! The objects of the Responses API as they stand in JSON: the response, its items and their parts, and the events of a
//! stream.
//!
//! Source: OpenAI's `Response`, `OutputItem` and `ResponseStreamEvent`; `seed` and `warnings` are ours. `format.rs`
//! fills them.

use crate::api::{openai::chat::logprobs::TokenLogprobs, respond::Usage};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::sync::Arc;

/// An id like OpenAI's: the prefix of its kind, and 32 hexadecimal digits.
pub(super) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::new_v4().simple())
}

/// The state of a response or of an item in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    /// Cut off by a limit of tokens.
    Incomplete,
    Failed,
}

/// OpenAI's `Response`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ResponseObject {
    pub(super) id: String,
    pub(super) object: &'static str,
    /// Unix time, s.
    pub(super) created_at: u64,
    pub(super) status: Status,
    pub(super) completed_at: Option<u64>,
    pub(super) error: Option<Failure>,
    pub(super) incomplete_details: Option<IncompleteDetails>,
    pub(super) model: String,
    pub(super) output: Vec<Item>,
    pub(super) usage: Option<ResponseUsage>,
    #[serde(flatten)]
    pub(super) echo: Echo,
    pub(super) seed: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warnings: Option<Vec<String>>,
}

/// The keys that repeat the request. The events that contain a response share them, because instructions and tools can
/// be long.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Echo(pub(super) Arc<Map<String, Value>>);

impl Serialize for Echo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// OpenAI's `ResponseError`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// The reason why a response is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct IncompleteDetails {
    pub(super) reason: &'static str,
}

/// OpenAI's `ResponseUsage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct ResponseUsage {
    input_tokens: u64,
    input_tokens_details: InputTokensDetails,
    output_tokens: u64,
    output_tokens_details: OutputTokensDetails,
    total_tokens: u64,
}

/// OpenAI's details of input tokens. `cache_write_tokens` is always 0, because every prompt stays cached while there is
/// room; SDKs require the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct InputTokensDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct OutputTokensDetails {
    reasoning_tokens: u64,
}

impl ResponseUsage {
    /// The usage of a request; `reasoning_tokens` of its completion tokens are reasoning.
    pub(super) fn of(usage: Usage, reasoning_tokens: u64) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputTokensDetails { cached_tokens: usage.cached_tokens, cache_write_tokens: 0 },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputTokensDetails { reasoning_tokens },
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
        }
    }
}

/// OpenAI's `OutputItem`, of the kinds that a model makes without tools of the server.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item {
    /// Reasoning. There is no summary of it.
    Reasoning { id: String, summary: [(); 0], content: Vec<ContentPart>, status: Status },
    /// Text of the answer.
    Message { id: String, role: &'static str, content: Vec<ContentPart>, status: Status },
    /// A call of a function; the arguments are JSON as text.
    FunctionCall {
        id: String,
        call_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        arguments: String,
        status: Status,
    },
    /// A call of a tool whose input is a text.
    CustomToolCall {
        id: String,
        call_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        input: String,
        status: Status,
    },
}

/// A part of an item's content. An item has one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ContentPart {
    ReasoningText { text: String },
    OutputText { text: String, annotations: [(); 0], logprobs: TokenLogprobs },
}

impl Item {
    /// A reasoning item without content yet.
    pub(super) fn reasoning() -> Self {
        Self::Reasoning { id: new_id("rs"), summary: [], content: Vec::new(), status: Status::InProgress }
    }

    /// A message without content yet.
    pub(super) fn message() -> Self {
        Self::Message { id: new_id("msg"), role: "assistant", content: Vec::new(), status: Status::InProgress }
    }

    /// A call of a function without arguments yet.
    pub(super) fn call((namespace, name): (Option<String>, String)) -> Self {
        let (id, call_id) = (new_id("fc"), new_id("call"));
        Self::FunctionCall { id, call_id, namespace, name, arguments: String::new(), status: Status::InProgress }
    }

    /// A call without input yet, of a tool whose input is a text.
    pub(super) fn text_call((namespace, name): (Option<String>, String)) -> Self {
        let (id, call_id) = (new_id("ctc"), new_id("call"));
        Self::CustomToolCall { id, call_id, namespace, name, input: String::new(), status: Status::InProgress }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::Reasoning { id, .. } | Self::Message { id, .. } | Self::FunctionCall { id, .. } | Self::CustomToolCall { id, .. } => id,
        }
    }

    pub(super) fn set_status(&mut self, new: Status) {
        match self {
            Self::Reasoning { status, .. }
            | Self::Message { status, .. }
            | Self::FunctionCall { status, .. }
            | Self::CustomToolCall { status, .. } => *status = new,
        }
    }
}

/// OpenAI's `ResponseStreamEvent`, as far as this server sends them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ResponseStreamEvent {
    /// The event's `type`, which is also the name of its frame.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// The number of the event in its stream: 0, 1, 2 …
    pub(super) sequence_number: u64,
    #[serde(flatten)]
    pub(super) body: EventBody,
}

/// The contents of an event, by kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum EventBody {
    /// The response so far.
    Response { response: Box<ResponseObject> },
    /// An item, begun or whole.
    Item { output_index: usize, item: Item },
    /// A part of an item, begun or whole.
    Part { item_id: String, output_index: usize, content_index: usize, part: ContentPart },
    /// An addition to the text of a message.
    TextDelta { item_id: String, output_index: usize, content_index: usize, delta: String, logprobs: TokenLogprobs },
    /// The complete text of a message.
    TextDone { item_id: String, output_index: usize, content_index: usize, text: String, logprobs: TokenLogprobs },
    /// An addition to a reasoning item.
    ReasoningDelta { item_id: String, output_index: usize, content_index: usize, delta: String },
    /// The complete text of a reasoning item.
    ReasoningDone { item_id: String, output_index: usize, content_index: usize, text: String },
    /// An addition to a call's arguments.
    ArgumentsDelta { item_id: String, output_index: usize, delta: String },
    /// The complete input of a call of a tool whose input is a text; its additions are as those of arguments.
    InputDone { item_id: String, output_index: usize, input: String },
    /// The complete arguments of a call.
    ArgumentsDone { item_id: String, output_index: usize, name: String, arguments: String },
    /// The error that ended the stream.
    Error { code: Option<&'static str>, message: String, param: Option<String> },
}
