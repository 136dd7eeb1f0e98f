//! The writer of `/v1/chat/completions`: turns a generation into a `chat.completion`, or into chunks of one.
//!
//! Feeds each choice's text to an [`OutputParser`] and turns the parser's findings into deltas. Owns the ids of calls,
//! the finish reason and the count of reasoning tokens. `object.rs` defines the objects' shapes; `api/respond` decides
//! when bytes are sent.

use super::{
    logprobs::ChatLogprobs,
    object::{CallDelta, CalledDelta, ChatChoiceObject, ChatChunk, ChatChunkChoice, ChatCompletion, ChatDelta},
};
use crate::{
    api::{
        openai::{
            completions::format::stop_reason,
            shared::answer::{ResponseHead, UsageField, UsageObject},
        },
        respond::{ProgressChunk, PromptProgress, Usage, WireFormat, finish_reason, sse},
    },
    chat::{
        messages::{CUSTOM, FUNCTION},
        output::{OutputDelta, OutputParser, OutputSpec},
    },
    gateway::handle::GenerationEvent,
    protocol::Finish,
};
use axum::body::Bytes;
use std::sync::Arc;

/// The parts of an answer that a request asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChatView {
    /// Number of choices, at least 1.
    pub(super) n: usize,
    /// True if log-probabilities were asked for.
    pub(super) logprobs: bool,
    /// True if the answer contains reasoning (vLLM's `include_reasoning`).
    pub(super) reasoning: bool,
    /// `stream_options.include_usage`; `None` for an answer without streaming, which always has the usage.
    pub(super) stream_usage: Option<bool>,
    /// The seed that the request gave or that was drawn for it.
    pub(super) seed: i64,
    /// Warnings for the body, if the request asked for them there (in answers without streaming).
    pub(super) warnings: Option<Vec<String>>,
    /// The request's stop strings.
    pub(super) stop: Vec<String>,
}

/// Writes one response. See the module.
#[derive(Debug)]
pub(super) struct ChatFormat {
    head: Arc<ResponseHead>,
    view: ChatView,
    /// The progress of each choice.
    places: Vec<ChatChoiceState>,
    /// The chunks of each choice so far, joined, for an answer without streaming.
    whole: Vec<ChatChoiceObject>,
    shows_progress: bool,
}

/// The progress of one choice.
#[derive(Debug)]
struct ChatChoiceState {
    parser: OutputParser,
    spec: Arc<OutputSpec>,
    /// True if the input of the tool that was called last is a text.
    calls_text: bool,
    /// Log-probabilities of tokens that no chunk contained yet. There is at most one for each token of the choice.
    logprobs: Option<ChatLogprobs>,
    tokens: u64,
    /// Number of tokens up to the last one whose event contained reasoning.
    reasoning_tokens: u64,
}

impl ChatFormat {
    /// A format for `view.n` choices whose text is parsed by `spec`.
    pub(super) fn new(head: ResponseHead, view: ChatView, spec: &Arc<OutputSpec>) -> Self {
        let place = |_| ChatChoiceState {
            parser: OutputParser::new(Arc::clone(spec)),
            spec: Arc::clone(spec),
            calls_text: false,
            logprobs: view.logprobs.then(ChatLogprobs::default),
            tokens: 0,
            reasoning_tokens: 0,
        };
        let places = (0..view.n).map(place).collect();
        let whole = (0..view.n).map(|index| ChatChoiceObject::new(index, view.logprobs)).collect();
        Self { head: Arc::new(head), view, places, whole, shows_progress: false }
    }

    /// The same format; if `shown`, its streams have chunks that tell how far the prompt is.
    pub(super) fn with_progress(mut self, shown: bool) -> Self {
        self.shows_progress = shown;
        self
    }

    fn chunk(&self, choice: Option<ChatChunkChoice>) -> ChatChunk {
        let usage = if self.view.stream_usage == Some(true) { UsageField::Null } else { UsageField::Absent };
        ChatChunk { head: Arc::clone(&self.head), choice, usage }
    }

    fn usage(&self, usage: &Usage) -> UsageField {
        let reasoning_tokens = self.places.iter().map(|place| place.reasoning_tokens).sum();
        UsageField::Full(UsageObject::of(*usage, reasoning_tokens))
    }
}

impl ChatChoiceState {
    /// The deltas of an event. If the event ends the choice, the last delta is empty.
    fn read(&mut self, text: &str, tokens: u64, ends: bool) -> Vec<ChatDelta> {
        self.tokens += tokens;
        let mut found = self.parser.push(text);
        if ends {
            found.extend(self.parser.finish());
        }
        if found.iter().any(|delta| matches!(delta, OutputDelta::Reasoning(_))) {
            self.reasoning_tokens = self.tokens;
        }
        let mut deltas: Vec<ChatDelta> = found.into_iter().map(|found| self.delta(found)).collect();
        if ends {
            deltas.push(ChatDelta::default());
        }
        deltas
    }

    /// A finding of the parser as the delta that a client adds to its message.
    fn delta(&mut self, found: OutputDelta) -> ChatDelta {
        let call = |index, id, kind, call| ChatDelta { tool_calls: vec![CallDelta { index, id, kind, call }], ..ChatDelta::default() };
        match found {
            OutputDelta::Content(text) => ChatDelta { content: Some(text), ..ChatDelta::default() },
            OutputDelta::Reasoning(text) => ChatDelta { reasoning_content: Some(text), ..ChatDelta::default() },
            OutputDelta::CallStart { index, name } => {
                self.calls_text = self.spec.tools.iter().any(|tool| tool.name == name && tool.is_text());
                let kind = if self.calls_text { CUSTOM } else { FUNCTION };
                call(index, Some(call_id()), Some(kind), self.called(Some(name), String::new()))
            }
            OutputDelta::CallArguments { index, text } => call(index, None, None, self.called(None, text)),
        }
    }

    fn called(&self, name: Option<String>, input: String) -> CalledDelta {
        if self.calls_text { CalledDelta::Custom { name, input } } else { CalledDelta::Function { name, arguments: input } }
    }

    /// OpenAI's finish reason of a choice.
    fn finish_reason(&self, finish: &Finish) -> Option<&'static str> {
        finish_reason(finish).map(|reason| if reason == "stop" && self.parser.has_calls() { "tool_calls" } else { reason })
    }
}

impl WireFormat for ChatFormat {
    type Chunk = ChatChunk;
    type Chunks = Vec<ChatChunk>;
    type Whole = ChatCompletion;

    fn opening(&mut self) -> Vec<ChatChunk> {
        let first = |index| {
            let delta = ChatDelta { role: Some("assistant"), content: Some(String::new()), ..ChatDelta::default() };
            self.chunk(Some(ChatChunkChoice { index, delta, logprobs: None, finish_reason: None, stop_reason: None }))
        };
        (0..self.view.n).map(first).collect()
    }

    fn chunks(&mut self, event: GenerationEvent) -> Vec<ChatChunk> {
        let (index, output) = (event.choice, event.output);
        let Some(place) = self.places.get_mut(index) else { return Vec::new() };
        if let Some(logprobs) = &mut place.logprobs {
            logprobs.extend(output.logprobs);
        }
        let tokens = u64::try_from(output.tokens.len()).unwrap_or(u64::MAX);
        let mut deltas = place.read(&output.text, tokens, output.finish.is_some());
        if !self.view.reasoning {
            deltas.retain(|delta| delta.reasoning_content.is_none());
        }
        let mut choices: Vec<ChatChunkChoice> = deltas
            .into_iter()
            .map(|delta| {
                // The first chunk takes all log-probabilities: it is not known which token belongs to which delta.
                let logprobs = place.logprobs.as_mut().map(std::mem::take).filter(|logprobs| !logprobs.is_empty());
                ChatChunkChoice { index, delta, logprobs, finish_reason: None, stop_reason: None }
            })
            .collect();
        if let (Some(finish), Some(last)) = (&output.finish, choices.last_mut()) {
            last.finish_reason = place.finish_reason(finish);
            last.stop_reason = stop_reason(finish, &self.view.stop);
        }
        choices.into_iter().map(|choice| self.chunk(Some(choice))).collect()
    }

    fn shows_progress(&self) -> bool {
        self.shows_progress
    }

    fn progress(&self, progress: &PromptProgress) -> Bytes {
        if !self.shows_progress {
            return progress.comment();
        }
        let (index, delta) = (progress.choice, ChatDelta::default());
        let chunk = self.chunk(Some(ChatChunkChoice { index, delta, logprobs: None, finish_reason: None, stop_reason: None }));
        sse::frame(None, &ProgressChunk { chunk, prompt_progress: *progress })
    }

    fn closing(&mut self, usage: &Usage) -> Vec<ChatChunk> {
        let wanted = self.view.stream_usage == Some(true);
        wanted.then(|| ChatChunk { head: Arc::clone(&self.head), choice: None, usage: self.usage(usage) }).into_iter().collect()
    }

    fn absorb(&mut self, chunk: ChatChunk) {
        if let Some(choice) = chunk.choice
            && let Some(whole) = self.whole.get_mut(choice.index)
        {
            whole.append(choice);
        }
    }

    fn listed_tokens(&self, usage: &Usage) -> u64 {
        if self.view.logprobs { usage.completion_tokens } else { 0 }
    }

    fn whole(mut self, usage: &Usage) -> ChatCompletion {
        let usage = self.usage(usage);
        let (choices, warnings) = (std::mem::take(&mut self.whole), self.view.warnings.take());
        ChatCompletion { head: self.head, choices, usage, seed: self.view.seed, warnings }
    }
}

/// An id of `call_` and 24 random characters, like OpenAI's.
fn call_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("call_{}", random.chars().take(24).collect::<String>())
}

#[cfg(test)]
mod tests;
