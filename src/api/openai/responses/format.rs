//! The writer of `/v1/responses`: turns a generation into a `response`, or into the events that build one.
//!
//! Feeds the text to an [`OutputParser`] and makes items of the parser's findings: reasoning, messages and calls, in
//! the order in which the text arrived, each whole before the next begins. Owns ids, indices and sequence numbers.
//! `object.rs` defines the objects' shapes; `api/respond` decides when bytes are sent.
//!
//! ```text
//! created · in_progress · (item added · (part added · delta … · text done · part done) · item done) … · completed
//! ```

use super::{
    names::ToolNames,
    object::{
        ContentPart, Echo, EventBody, Failure, IncompleteDetails, Item, ResponseObject, ResponseStreamEvent, ResponseUsage, Status, new_id,
    },
};
use crate::{
    api::{
        error::ApiError,
        openai::{chat::logprobs::TokenLogprobs, shared::answer::unix_time},
        respond::{Usage, WireFormat, sse},
    },
    chat::output::{OutputDelta, OutputParser, OutputSpec},
    gateway::handle::GenerationEvent,
    protocol::Finish,
};
use axum::body::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The parts of an answer that a request asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ResponseView {
    /// The model's name as the request gave it.
    pub(super) model: String,
    /// True if log-probabilities were asked for.
    pub(super) logprobs: bool,
    /// True if the answer contains reasoning (vLLM's `include_reasoning`).
    pub(super) reasoning: bool,
    /// The seed that the request gave or that was drawn for it.
    pub(super) seed: i64,
    /// Warnings for the body, if the request asked for them there.
    pub(super) warnings: Option<Vec<String>>,
    /// The keys of the response that repeat the request.
    pub(super) echo: Map<String, Value>,
    /// The names by which the client knows the tools.
    pub(super) names: ToolNames,
}

/// Writes one response. See the module.
#[derive(Debug)]
pub(super) struct ResponsesFormat {
    /// The response so far; `output` has the items that are whole.
    response: ResponseObject,
    parser: OutputParser,
    spec: Arc<OutputSpec>,
    names: ToolNames,
    shows_logprobs: bool,
    shows_reasoning: bool,
    /// The number of the next event.
    sequence_number: u64,
    /// The item that has begun and not ended.
    open: Option<Item>,
    /// Log-probabilities of tokens that no event contained yet. There is at most one for each token of the answer.
    logprobs: TokenLogprobs,
    tokens: u64,
    /// Number of tokens up to the last one whose event contained reasoning.
    reasoning_tokens: u64,
}

impl ResponsesFormat {
    /// A format for an answer that begins now and whose text is parsed by `spec`.
    pub(super) fn new(view: ResponseView, spec: &Arc<OutputSpec>) -> Self {
        let response = ResponseObject {
            id: new_id("resp"),
            object: "response",
            created_at: unix_time(),
            status: Status::InProgress,
            completed_at: None,
            error: None,
            incomplete_details: None,
            model: view.model,
            output: Vec::new(),
            usage: None,
            echo: Echo(Arc::new(view.echo)),
            seed: view.seed,
            warnings: view.warnings,
        };
        Self {
            response,
            parser: OutputParser::new(Arc::clone(spec)),
            spec: Arc::clone(spec),
            names: view.names,
            shows_logprobs: view.logprobs,
            shows_reasoning: view.reasoning,
            sequence_number: 0,
            open: None,
            logprobs: TokenLogprobs::default(),
            tokens: 0,
            reasoning_tokens: 0,
        }
    }

    fn event(&mut self, kind: &'static str, body: EventBody) -> ResponseStreamEvent {
        let sequence_number = self.sequence_number;
        self.sequence_number += 1;
        ResponseStreamEvent { kind, sequence_number, body }
    }

    /// An event with the response so far.
    fn snapshot(&mut self, kind: &'static str) -> ResponseStreamEvent {
        let response = Box::new(self.response.clone());
        self.event(kind, EventBody::Response { response })
    }

    /// Adds a delta to the open item if both are of one kind, else to a new item.
    fn add(&mut self, delta: OutputDelta, events: &mut Vec<ResponseStreamEvent>) {
        match delta {
            OutputDelta::Reasoning(_) if !self.shows_reasoning => {}
            OutputDelta::Reasoning(delta) => {
                if !matches!(self.open, Some(Item::Reasoning { .. })) {
                    self.begin(Item::reasoning(), events);
                }
                self.extend(&delta, events);
            }
            OutputDelta::Content(delta) => {
                if !matches!(self.open, Some(Item::Message { .. })) {
                    self.begin(Item::message(), events);
                }
                self.extend(&delta, events);
            }
            OutputDelta::CallStart { name, .. } => {
                let is_text = self.spec.tools.iter().any(|tool| tool.name == name && tool.is_text());
                let name = self.names.for_client(name);
                self.begin(if is_text { Item::text_call(name) } else { Item::call(name) }, events);
            }
            OutputDelta::CallArguments { text, .. } => self.extend(&text, events),
        }
    }

    /// Ends the open item and begins this one.
    fn begin(&mut self, mut item: Item, events: &mut Vec<ResponseStreamEvent>) {
        self.end(Status::Completed, events);
        let (item_id, output_index) = (item.id().to_owned(), self.response.output.len());
        events.push(self.event("response.output_item.added", EventBody::Item { output_index, item: item.clone() }));
        let part = match &mut item {
            Item::Reasoning { content, .. } => Some((content, ContentPart::ReasoningText { text: String::new() })),
            Item::Message { content, .. } => {
                let logprobs = TokenLogprobs::default();
                Some((content, ContentPart::OutputText { text: String::new(), annotations: [], logprobs }))
            }
            Item::FunctionCall { .. } | Item::CustomToolCall { .. } => None,
        };
        if let Some((content, part)) = part {
            content.push(part.clone());
            let body = EventBody::Part { item_id, output_index, content_index: 0, part };
            events.push(self.event("response.content_part.added", body));
        }
        self.open = Some(item);
    }

    /// Adds a text to the open item.
    fn extend(&mut self, more: &str, events: &mut Vec<ResponseStreamEvent>) {
        let output_index = self.response.output.len();
        let Some(item) = &mut self.open else { return };
        let (item_id, delta) = (item.id().to_owned(), more.to_owned());
        let (kind, body) = match item {
            Item::FunctionCall { arguments, .. } => {
                arguments.push_str(more);
                ("response.function_call_arguments.delta", EventBody::ArgumentsDelta { item_id, output_index, delta })
            }
            Item::CustomToolCall { input, .. } => {
                input.push_str(more);
                ("response.custom_tool_call_input.delta", EventBody::ArgumentsDelta { item_id, output_index, delta })
            }
            Item::Reasoning { content, .. } | Item::Message { content, .. } => match content.first_mut() {
                Some(ContentPart::ReasoningText { text }) => {
                    text.push_str(more);
                    ("response.reasoning_text.delta", EventBody::ReasoningDelta { item_id, output_index, content_index: 0, delta })
                }
                Some(ContentPart::OutputText { text, logprobs, .. }) => {
                    text.push_str(more);
                    // The first delta takes all log-probabilities: it is not known which token belongs to which delta.
                    let shown = std::mem::take(&mut self.logprobs);
                    logprobs.append(shown.clone());
                    let body = EventBody::TextDelta { item_id, output_index, content_index: 0, delta, logprobs: shown };
                    ("response.output_text.delta", body)
                }
                None => return,
            },
        };
        events.push(self.event(kind, body));
    }

    /// Ends the open item, if there is one.
    fn end(&mut self, status: Status, events: &mut Vec<ResponseStreamEvent>) {
        let output_index = self.response.output.len();
        let Some(mut item) = self.open.take() else { return };
        item.set_status(status);
        let item_id = item.id().to_owned();
        match &item {
            Item::FunctionCall { name, arguments, .. } => {
                let body = EventBody::ArgumentsDone { item_id, output_index, name: name.clone(), arguments: arguments.clone() };
                events.push(self.event("response.function_call_arguments.done", body));
            }
            Item::CustomToolCall { input, .. } => {
                let body = EventBody::InputDone { item_id, output_index, input: input.clone() };
                events.push(self.event("response.custom_tool_call_input.done", body));
            }
            Item::Reasoning { content, .. } | Item::Message { content, .. } => {
                for (content_index, part) in content.iter().enumerate() {
                    let (item_id, part) = (item_id.clone(), part.clone());
                    let (kind, body) = match &part {
                        ContentPart::ReasoningText { text } => {
                            let (item_id, text) = (item_id.clone(), text.clone());
                            ("response.reasoning_text.done", EventBody::ReasoningDone { item_id, output_index, content_index, text })
                        }
                        ContentPart::OutputText { text, logprobs, .. } => {
                            let (item_id, text, logprobs) = (item_id.clone(), text.clone(), logprobs.clone());
                            let body = EventBody::TextDone { item_id, output_index, content_index, text, logprobs };
                            ("response.output_text.done", body)
                        }
                    };
                    events.push(self.event(kind, body));
                    let body = EventBody::Part { item_id, output_index, content_index, part };
                    events.push(self.event("response.content_part.done", body));
                }
            }
        }
        events.push(self.event("response.output_item.done", EventBody::Item { output_index, item: item.clone() }));
        self.response.output.push(item);
    }

    /// Ends the answer. An answer that was not cut off before its first text has a message or a call, because clients
    /// expect one.
    fn finish(&mut self, finish: &Finish, events: &mut Vec<ResponseStreamEvent>) {
        let cut = *finish == Finish::Length;
        let status = if cut { Status::Incomplete } else { Status::Completed };
        let is_thought = |item: &Item| matches!(item, Item::Reasoning { .. });
        let nothing_said = self.response.output.iter().chain(&self.open).all(is_thought);
        let nothing_thought = self.response.output.is_empty() && self.open.is_none();
        if nothing_said && (nothing_thought || !cut) {
            self.begin(Item::message(), events);
        }
        self.end(status, events);
        self.response.status = status;
        self.response.completed_at = (!cut).then(unix_time);
        self.response.incomplete_details = cut.then_some(IncompleteDetails { reason: "max_output_tokens" });
    }
}

impl WireFormat for ResponsesFormat {
    type Chunk = ResponseStreamEvent;
    type Chunks = Vec<ResponseStreamEvent>;
    type Whole = ResponseObject;

    const ENDS_WITH_DONE: bool = false;

    fn opening(&mut self) -> Vec<ResponseStreamEvent> {
        vec![self.snapshot("response.created"), self.snapshot("response.in_progress")]
    }

    fn chunks(&mut self, event: GenerationEvent) -> Vec<ResponseStreamEvent> {
        let output = event.output;
        self.tokens += u64::try_from(output.tokens.len()).unwrap_or(u64::MAX);
        let mut deltas = self.parser.push(&output.text);
        if output.finish.is_some() {
            deltas.extend(self.parser.finish());
        }
        if deltas.iter().any(|delta| matches!(delta, OutputDelta::Reasoning(_))) {
            self.reasoning_tokens = self.tokens;
        }
        if self.shows_logprobs {
            self.logprobs.extend(output.logprobs);
        }
        if !deltas.is_empty() && !deltas.iter().any(|delta| matches!(delta, OutputDelta::Content(_))) {
            // These tokens are reasoning or calls; only messages have log-probabilities here.
            self.logprobs = TokenLogprobs::default();
        }
        let mut events = Vec::new();
        for delta in deltas {
            self.add(delta, &mut events);
        }
        if let Some(finish) = &output.finish {
            self.finish(finish, &mut events);
        }
        events
    }

    fn closing(&mut self, usage: &Usage) -> Vec<ResponseStreamEvent> {
        self.response.usage = Some(ResponseUsage::of(*usage, self.reasoning_tokens));
        let cut = self.response.status == Status::Incomplete;
        vec![self.snapshot(if cut { "response.incomplete" } else { "response.completed" })]
    }

    fn event_name(event: &ResponseStreamEvent) -> Option<&'static str> {
        Some(event.kind)
    }

    fn failing(&mut self, error: &ApiError) -> Vec<Bytes> {
        let (message, param) = (error.to_string(), error.param().map(str::to_owned));
        let told = self.event("error", EventBody::Error { code: error.code(), message: message.clone(), param });
        if let Some(mut item) = self.open.take() {
            item.set_status(Status::Incomplete);
            self.response.output.push(item);
        }
        self.response.status = Status::Failed;
        // OpenAI's code for every fault of a server.
        self.response.error = Some(Failure { code: "server_error", message });
        let failed = self.snapshot("response.failed");
        [told, failed].iter().map(|event| sse::frame(Some(event.kind), event)).collect()
    }

    /// Does nothing: the format keeps the items in any case, because the last event of a stream contains them.
    fn absorb(&mut self, _event: ResponseStreamEvent) {}

    fn listed_tokens(&self, usage: &Usage) -> u64 {
        if self.shows_logprobs { usage.completion_tokens } else { 0 }
    }

    fn whole(mut self, usage: &Usage) -> ResponseObject {
        self.response.usage = Some(ResponseUsage::of(*usage, self.reasoning_tokens));
        self.response
    }
}

#[cfg(test)]
mod tests;
