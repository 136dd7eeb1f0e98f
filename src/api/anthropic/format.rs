//! The writer of `/v1/messages`: turns a generation into a `message`, or into the events that make one.
//!
//! Feeds the text to an [`OutputParser`] and turns the parser's findings into blocks, one open at a time, numbered
//! without gaps. Owns ids, the stop reason and the count of thinking tokens. `object.rs` defines the objects' shapes;
//! `api/respond` decides when bytes are sent.

use super::{
    error::ErrorObject,
    object::{AnthropicUsageObject, Block, BlockDelta, MessageEndObject, MessageObject, MessageStreamEvent},
};
use crate::{
    api::{
        error::ApiError,
        request_id::RequestId,
        respond::{PromptProgress, Usage, WireFormat, sse},
    },
    chat::output::{OutputDelta, OutputParser, OutputSpec},
    gateway::handle::GenerationEvent,
    protocol::Finish,
};
use axum::body::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The parts of an answer that a request asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageView {
    /// True if thinking blocks contain their text.
    pub(super) thoughts: bool,
    /// The request's stop strings.
    pub(super) stop_sequences: Vec<String>,
    /// Number of tokens in the prompt.
    pub(super) prompt_tokens: usize,
    /// Warnings for the body, if the request asked for them there (in answers without streaming).
    pub(super) warnings: Option<Vec<String>>,
    /// The request's id, for an error within a stream.
    pub(super) request_id: Option<RequestId>,
}

/// Writes one response. See the module.
#[derive(Debug)]
pub(super) struct MessageFormat {
    id: String,
    model: String,
    view: MessageView,
    parser: OutputParser,
    /// True if `message_start` was sent.
    begun: bool,
    /// The kind of the open block; `None` between blocks.
    open: Option<BlockKind>,
    /// The number of blocks that have begun.
    blocks: usize,
    tokens: u64,
    /// Number of tokens up to the last one whose event contained reasoning.
    thinking_tokens: u64,
    finish: Option<Finish>,
    /// The blocks of all chunks so far, for an answer without streaming.
    whole: Vec<WholeBlock>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Text,
    Thinking,
    Call,
}

/// A block that grows by deltas.
#[derive(Debug)]
struct WholeBlock {
    block: Block,
    /// The input of a call so far, JSON text.
    input: String,
}

impl MessageFormat {
    /// A format for an answer under this model's name, whose text is parsed by `spec`.
    pub(super) fn new(model: String, view: MessageView, spec: Arc<OutputSpec>) -> Self {
        Self {
            id: id("msg"),
            model,
            view,
            parser: OutputParser::new(spec),
            begun: false,
            open: None,
            blocks: 0,
            tokens: 0,
            thinking_tokens: 0,
            finish: None,
            whole: Vec::new(),
        }
    }

    /// The message before its first block, with the usage that is known by then.
    fn start(&self, cached_tokens: u32) -> MessageStreamEvent {
        let prompt_tokens = u64::try_from(self.view.prompt_tokens).unwrap_or(u64::MAX);
        let usage = Usage { prompt_tokens, cached_tokens: u64::from(cached_tokens).min(prompt_tokens), ..Usage::default() };
        MessageStreamEvent::MessageStart {
            message: MessageObject {
                id: self.id.clone(),
                r#type: "message",
                role: "assistant",
                model: self.model.clone(),
                content: Vec::new(),
                stop_reason: None,
                stop_sequence: None,
                usage: AnthropicUsageObject::of(&usage, 0),
                warnings: None,
            },
        }
    }

    fn add_output(&mut self, found: OutputDelta, events: &mut Vec<MessageStreamEvent>) {
        match found {
            OutputDelta::Content(text) => {
                self.enter(BlockKind::Text, || Block::Text { text: String::new() }, events);
                self.add(BlockDelta::Text { text }, events);
            }
            OutputDelta::Reasoning(thinking) => {
                self.enter(BlockKind::Thinking, || Block::Thinking { thinking: String::new(), signature: "" }, events);
                if self.view.thoughts {
                    self.add(BlockDelta::Thinking { thinking }, events);
                }
            }
            OutputDelta::CallStart { name, .. } => {
                self.leave(events);
                self.enter(BlockKind::Call, || Block::ToolUse { id: id("toolu"), name, input: Map::new() }, events);
            }
            OutputDelta::CallArguments { text, .. } => self.add(BlockDelta::InputJson { partial_json: text }, events),
        }
    }

    /// Begins a block, unless one of this kind is open.
    fn enter(&mut self, kind: BlockKind, block: impl FnOnce() -> Block, events: &mut Vec<MessageStreamEvent>) {
        if self.open == Some(kind) {
            return;
        }
        self.leave(events);
        events.push(MessageStreamEvent::ContentBlockStart { index: self.blocks, content_block: block() });
        self.open = Some(kind);
        self.blocks += 1;
    }

    /// Ends the open block.
    fn leave(&mut self, events: &mut Vec<MessageStreamEvent>) {
        let Some(kind) = self.open else { return };
        if kind == BlockKind::Thinking {
            // Clients keep a thinking block for the next request only if it has a signature, whatever its value.
            self.add(BlockDelta::Signature { signature: "" }, events);
        }
        events.push(MessageStreamEvent::ContentBlockStop { index: self.blocks - 1 });
        self.open = None;
    }

    /// Adds a delta to the open block.
    fn add(&self, delta: BlockDelta, events: &mut Vec<MessageStreamEvent>) {
        if let Some(index) = self.blocks.checked_sub(1).filter(|_| self.open.is_some()) {
            events.push(MessageStreamEvent::ContentBlockDelta { index, delta });
        }
    }

    /// Anthropic's reason for the end. A stop string takes precedence over calls, because it may have cut one.
    fn ending(&self) -> MessageEndObject {
        let plain = |stop_reason| MessageEndObject { stop_reason: Some(stop_reason), stop_sequence: None };
        match &self.finish {
            Some(Finish::StopString(index)) => MessageEndObject {
                stop_reason: Some("stop_sequence"),
                stop_sequence: usize::try_from(*index).ok().and_then(|index| self.view.stop_sequences.get(index).cloned()),
            },
            Some(Finish::StopToken(_) | Finish::EndOfGeneration) if self.parser.has_calls() => plain("tool_use"),
            Some(Finish::StopToken(_) | Finish::EndOfGeneration) => plain("end_turn"),
            Some(Finish::Length) => plain("max_tokens"),
            Some(Finish::Failed(_)) | None => MessageEndObject { stop_reason: None, stop_sequence: None },
        }
    }
}

impl WireFormat for MessageFormat {
    type Chunk = MessageStreamEvent;
    type Chunks = Vec<MessageStreamEvent>;
    type Whole = MessageObject;

    const ENDS_WITH_DONE: bool = false;

    /// No chunks: `message_start` contains the number of cached tokens, which arrives with the first event.
    fn opening(&mut self) -> Vec<MessageStreamEvent> {
        Vec::new()
    }

    fn chunks(&mut self, event: GenerationEvent) -> Vec<MessageStreamEvent> {
        let output = event.output;
        let mut events = Vec::new();
        if !self.begun {
            self.begun = true;
            events.push(self.start(output.started.map_or(0, |started| started.cached_tokens)));
        }
        self.tokens += u64::try_from(output.tokens.len()).unwrap_or(u64::MAX);
        let mut found = self.parser.push(&output.text);
        if output.finish.is_some() {
            found.extend(self.parser.finish());
        }
        if found.iter().any(|delta| matches!(delta, OutputDelta::Reasoning(_))) {
            self.thinking_tokens = self.tokens;
        }
        for delta in found {
            self.add_output(delta, &mut events);
        }
        if output.finish.is_some() {
            self.leave(&mut events);
            self.finish = output.finish;
        }
        events
    }

    fn closing(&mut self, usage: &Usage) -> Vec<MessageStreamEvent> {
        let usage = AnthropicUsageObject::of(usage, self.thinking_tokens);
        vec![MessageStreamEvent::MessageDelta { delta: self.ending(), usage }, MessageStreamEvent::MessageStop]
    }

    /// A comment with the numbers, and a `ping` once the message has begun.
    fn progress(&self, progress: &PromptProgress) -> Bytes {
        [progress.comment(), self.keep_alive()].concat().into()
    }

    fn keep_alive(&self) -> Bytes {
        if self.begun { sse::frame(Some(MessageStreamEvent::Ping.name()), &MessageStreamEvent::Ping) } else { sse::PING }
    }

    fn event_name(event: &MessageStreamEvent) -> Option<&'static str> {
        Some(event.name())
    }

    fn failing(&mut self, error: &ApiError) -> Vec<Bytes> {
        vec![sse::frame(Some("error"), &ErrorObject::new(error, self.view.request_id.as_ref()))]
    }

    fn absorb(&mut self, event: MessageStreamEvent) {
        match event {
            MessageStreamEvent::ContentBlockStart { content_block, .. } => {
                self.whole.push(WholeBlock { block: content_block, input: String::new() })
            }
            MessageStreamEvent::ContentBlockDelta { index, delta } => {
                if let Some(part) = self.whole.get_mut(index) {
                    part.append(delta);
                }
            }
            // The message is made at its end.
            MessageStreamEvent::MessageStart { .. }
            | MessageStreamEvent::ContentBlockStop { .. }
            | MessageStreamEvent::MessageDelta { .. }
            | MessageStreamEvent::MessageStop
            | MessageStreamEvent::Ping => {}
        }
    }

    fn whole(mut self, usage: &Usage) -> MessageObject {
        let MessageEndObject { stop_reason, stop_sequence } = self.ending();
        MessageObject {
            content: std::mem::take(&mut self.whole).into_iter().map(WholeBlock::into_block).collect(),
            id: self.id,
            r#type: "message",
            role: "assistant",
            model: self.model,
            stop_reason,
            stop_sequence,
            usage: AnthropicUsageObject::of(usage, self.thinking_tokens),
            warnings: self.view.warnings,
        }
    }
}

impl WholeBlock {
    fn append(&mut self, delta: BlockDelta) {
        match (delta, &mut self.block) {
            (BlockDelta::Text { text: more }, Block::Text { text }) => text.push_str(&more),
            (BlockDelta::Thinking { thinking: more }, Block::Thinking { thinking, .. }) => thinking.push_str(&more),
            (BlockDelta::InputJson { partial_json }, Block::ToolUse { .. }) => self.input.push_str(&partial_json),
            // The signature is empty, and no block gets a delta of another kind.
            (_, Block::Text { .. } | Block::Thinking { .. } | Block::ToolUse { .. }) => {}
        }
    }

    fn into_block(self) -> Block {
        match self.block {
            Block::ToolUse { id, name, .. } => Block::ToolUse { id, name, input: complete_members(&self.input) },
            block @ (Block::Text { .. } | Block::Thinking { .. }) => block,
        }
    }
}

/// Parses `text` as a JSON object. If `max_tokens` cut it, the object has the members that were complete by then; an
/// array or object that was cut keeps its complete elements. The SDKs do the same with the events of a stream.
fn complete_members(text: &str) -> Map<String, Value> {
    if let Ok(whole) = serde_json::from_str(text) {
        return whole;
    }
    // Brackets that are open at the end were also open at the last position where the text may be cut, because each
    // bracket is such a position.
    let (mut open, mut in_string, mut escaped, mut cut) = (Vec::new(), false, false, 0);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' | '[' => {
                open.push(if c == '{' { '}' } else { ']' });
                cut = at + 1;
            }
            '}' | ']' => {
                open.pop();
                cut = at + 1;
            }
            ',' => cut = at,
            _ => {}
        }
    }
    let closed: String = text[..cut].chars().chain(open.into_iter().rev()).collect();
    serde_json::from_str(&closed).unwrap_or_default()
}

/// An id of a prefix and 24 random characters, about as long as Anthropic's.
fn id(prefix: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}_{}", random.chars().take(24).collect::<String>())
}

#[cfg(test)]
mod tests;
