//! How `/v1/completions` writes a generation: the same `text_completion` object streamed and not.
//!
//! Owns ids, choice indices, echo, character offsets and the usage object. When and how bytes are sent is `api/respond`'s.

use super::logprobs::{CharacterOffset, Logprobs};
use crate::{
    api::respond::{Usage, WireFormat, finish_reason},
    gateway::handle::GenerationEvent,
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::sync::Arc;

/// What all chunks of a response have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `cmpl-` and 32 hexadecimal digits.
    pub id: String,
    /// Unix time of the response, s.
    pub created: u64,
    /// As the request named it.
    pub model: String,
    /// `fp_` and a digest of server and model: when it changes, the same seed may give another text.
    pub system_fingerprint: String,
}

/// What a request wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Choices per prompt, at least 1.
    pub n: usize,
    /// Whether log-probabilities were asked for.
    pub logprobs: bool,
    /// Whether each choice begins with its prompt.
    pub echo: bool,
    /// `None` for an answer without streaming, which always has the usage; else `stream_options.include_usage`.
    pub stream_usage: Option<bool>,
    /// The seed that the request gave or that was drawn for it (an extension, in answers without streaming).
    pub seed: i64,
}

/// Writes one response. See the module.
#[derive(Debug)]
pub struct CompletionFormat {
    head: Arc<Head>,
    view: View,
    /// Per prompt, its text; empty strings where the view needs none.
    prompts: Vec<String>,
    /// Per choice, where its next token begins.
    offsets: Vec<CharacterOffset>,
    /// Per choice, what was absorbed.
    whole: Vec<Choice>,
}

impl CompletionFormat {
    /// For `prompts.len() × view.n` choices. The prompts' texts matter only for echo and for character offsets.
    #[must_use]
    pub fn new(head: Head, view: View, prompts: Vec<String>) -> Self {
        let characters = |prompt: &String| prompt.chars().fold(0_u64, |count, _| count + 1);
        let choices = prompts.len() * view.n;
        let offsets = (0..choices).map(|choice| CharacterOffset::after(characters(&prompts[choice / view.n]))).collect();
        let whole = (0..choices).map(|index| Choice::new(index, view.logprobs)).collect();
        Self { head: Arc::new(head), view, prompts, offsets, whole }
    }

    fn object(&self, choices: Vec<Choice>, usage: UsageField) -> CompletionObject {
        CompletionObject { head: Arc::clone(&self.head), choices, usage, seed: None }
    }

    fn running(&self, choice: Choice) -> CompletionObject {
        let usage = if self.view.stream_usage == Some(true) { UsageField::Null } else { UsageField::Absent };
        self.object(vec![choice], usage)
    }
}

impl WireFormat for CompletionFormat {
    type Chunk = CompletionObject;
    type Whole = CompletionObject;

    fn opening(&mut self) -> Vec<CompletionObject> {
        if !self.view.echo {
            return Vec::new();
        }
        let echo = |index: usize| {
            let mut choice = Choice::new(index, self.view.logprobs);
            choice.text.clone_from(&self.prompts[index / self.view.n]);
            self.running(choice)
        };
        (0..self.whole.len()).map(echo).collect()
    }

    fn chunk(&mut self, event: GenerationEvent) -> Option<CompletionObject> {
        let output = event.output;
        if output.text.is_empty() && output.logprobs.is_empty() && output.finish.is_none() {
            return None;
        }
        let offset = self.offsets.get_mut(event.choice)?;
        let choice = Choice {
            text: output.text,
            index: event.choice,
            logprobs: self.view.logprobs.then(|| Logprobs::of(&output.logprobs, offset)),
            finish_reason: output.finish.as_ref().and_then(finish_reason),
        };
        Some(self.running(choice))
    }

    fn closing(&mut self, usage: &Usage) -> Option<CompletionObject> {
        (self.view.stream_usage == Some(true)).then(|| self.object(Vec::new(), UsageField::Full(*usage)))
    }

    fn absorb(&mut self, chunk: CompletionObject) {
        for choice in chunk.choices {
            if let Some(whole) = self.whole.get_mut(choice.index) {
                whole.append(choice);
            }
        }
    }

    fn whole(mut self, usage: &Usage) -> CompletionObject {
        let choices = std::mem::take(&mut self.whole);
        CompletionObject { seed: Some(self.view.seed), ..self.object(choices, UsageField::Full(*usage)) }
    }
}

/// One choice, or a part of it. All four keys are always written.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Choice {
    text: String,
    index: usize,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

impl Choice {
    fn new(index: usize, logprobs: bool) -> Self {
        Self { text: String::new(), index, logprobs: logprobs.then(Logprobs::default), finish_reason: None }
    }

    fn append(&mut self, later: Self) {
        self.text.push_str(&later.text);
        if let (Some(logprobs), Some(later)) = (&mut self.logprobs, later.logprobs) {
            logprobs.append(later);
        }
        self.finish_reason = later.finish_reason.or(self.finish_reason);
    }
}

/// OpenAI's `text_completion`: a whole response or a chunk of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionObject {
    head: Arc<Head>,
    choices: Vec<Choice>,
    usage: UsageField,
    seed: Option<i64>,
}

/// Clients of a stream expect the key only if they asked for it, and then in every chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UsageField {
    Absent,
    Null,
    Full(Usage),
}

impl Serialize for CompletionObject {
    /// By hand: chunks share one `Head`, and `usage` is absent, null or an object.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("CompletionObject", 8)?;
        object.serialize_field("id", &self.head.id)?;
        object.serialize_field("object", "text_completion")?;
        object.serialize_field("created", &self.head.created)?;
        object.serialize_field("model", &self.head.model)?;
        object.serialize_field("system_fingerprint", &self.head.system_fingerprint)?;
        object.serialize_field("choices", &self.choices)?;
        match self.usage {
            UsageField::Absent => object.skip_field("usage")?,
            UsageField::Null => object.serialize_field("usage", &None::<()>)?,
            UsageField::Full(usage) => object.serialize_field("usage", &UsageObject::from(usage))?,
        }
        match self.seed {
            None => object.skip_field("seed")?,
            Some(seed) => object.serialize_field("seed", &seed)?,
        }
        object.end()
    }
}

/// OpenAI's `CompletionUsage`.
#[derive(Serialize)]
struct UsageObject {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokensDetails,
    completion_tokens_details: CompletionTokensDetails,
}

#[derive(Serialize)]
struct PromptTokensDetails {
    cached_tokens: u64,
}

/// Nothing here reasons or predicts; SDKs want the keys.
#[derive(Default, Serialize)]
struct CompletionTokensDetails {
    reasoning_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl From<Usage> for UsageObject {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: usage.cached_tokens },
            completion_tokens_details: CompletionTokensDetails::default(),
        }
    }
}

#[cfg(test)]
mod tests;
