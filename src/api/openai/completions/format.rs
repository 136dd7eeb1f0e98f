//! The writer of `/v1/completions`: turns a generation into `text_completion` objects, the same with and without
//! streaming.
//!
//! Owns choice indices, echo and character offsets; `answer.rs` owns ids and the usage object. `api/respond` decides
//! when and how bytes are sent.

use super::prompt_logprobs::PromptLogprobs;
use crate::{
    api::{
        openai::shared::{
            answer::{ResponseHead, UsageField, UsageObject},
            logprobs::{CharacterOffset, LogprobsObject},
        },
        respond::{ProgressChunk, PromptProgress, Usage, WireFormat, finish_reason, sse},
    },
    gateway::handle::GenerationEvent,
    protocol::{Finish, SequenceOutput, Token},
};
use axum::body::Bytes;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::sync::Arc;

/// The parts of an answer that a request asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionView {
    /// Number of choices per prompt, at least 1.
    pub n: usize,
    /// Number of candidates per prompt, at least `n`; more only without streaming.
    pub candidates: usize,
    /// True if log-probabilities were asked for; with `echo` those of the prompt too.
    pub logprobs: bool,
    /// True if vLLM's `prompt_logprobs` were asked for.
    pub prompt_logprobs: bool,
    /// True if each choice begins with its prompt.
    pub echo: bool,
    /// True if the answer contains token ids (vLLM's `return_token_ids`).
    pub token_ids: bool,
    /// `stream_options.include_usage`; `None` for an answer without streaming, which always has the usage.
    pub stream_usage: Option<bool>,
    /// The seed that the request gave or that was drawn for it (an extension, in answers without streaming).
    pub seed: i64,
    /// Warnings for the body, if the request asked for them there (in answers without streaming).
    pub warnings: Option<Vec<String>>,
    /// The request's stop strings.
    pub stop: Vec<String>,
}

/// The parts of a prompt that its answer needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptView {
    /// The prompt's text; empty where neither echo nor character offsets need it.
    pub text: String,
    /// The prompt's tokens; empty unless the answer contains them.
    pub ids: Vec<Token>,
}

/// Writes one response. See the module.
#[derive(Debug)]
pub struct CompletionFormat {
    head: Arc<ResponseHead>,
    view: CompletionView,
    prompts: Vec<PromptView>,
    /// The progress of each candidate.
    places: Vec<CandidateState>,
    /// The chunks of each candidate so far, joined, for an answer without streaming.
    whole: Vec<CompletionChoiceObject>,
    shows_progress: bool,
}

/// The progress of one candidate.
#[derive(Debug)]
struct CandidateState {
    /// The offset of the candidate's next token, characters.
    offset: CharacterOffset,
    /// Number of characters in the candidate's prompt, counted once: the prompt may be long, and each token needs the
    /// number.
    prompt_end: u64,
    /// True if a chunk contained prompt tokens.
    in_prompt: bool,
    /// Sum and number of the log-probabilities of the candidate's tokens.
    score: (f64, u32),
}

impl CompletionFormat {
    /// A format for `prompts.len() × view.candidates` candidates.
    #[must_use]
    pub fn new(head: ResponseHead, view: CompletionView, prompts: Vec<PromptView>) -> Self {
        let candidates = prompts.len() * view.candidates;
        let place = |candidate: usize| {
            let prompt_end = characters(&prompts[candidate / view.candidates].text);
            let start = if view.echo { 0 } else { prompt_end };
            CandidateState { offset: CharacterOffset::after(start), prompt_end, in_prompt: false, score: (0.0, 0) }
        };
        let places = (0..candidates).map(place).collect();
        let whole = (0..candidates).map(|index| CompletionChoiceObject::new(index, &view)).collect();
        Self { head: Arc::new(head), view, prompts, places, whole, shows_progress: false }
    }

    /// The same format; if `shown`, its streams have chunks that tell how far a prompt is.
    #[must_use]
    pub fn with_progress(mut self, shown: bool) -> Self {
        self.shows_progress = shown;
        self
    }

    fn object(&self, choices: Vec<CompletionChoiceObject>, usage: UsageField) -> CompletionObject {
        CompletionObject { head: Arc::clone(&self.head), choices, usage, seed: None, warnings: None }
    }

    fn running(&self, choice: CompletionChoiceObject) -> CompletionObject {
        let usage = if self.view.stream_usage == Some(true) { UsageField::Null } else { UsageField::Absent };
        self.object(vec![choice], usage)
    }

    /// The `logprobs` object of an event: of prompt tokens where they are echoed, then of generated ones.
    fn logprobs(&mut self, index: usize, output: &SequenceOutput) -> Option<LogprobsObject> {
        let place = self.places.get_mut(index)?;
        for token in &output.logprobs {
            place.score = (place.score.0 + f64::from(token.chosen.logprob), place.score.1 + 1);
        }
        if !self.view.logprobs {
            return None;
        }
        let text = &self.prompts[index / self.view.candidates].text;
        let mut logprobs = LogprobsObject::default();
        if self.view.echo {
            for token in &output.prompt_logprobs {
                let first = !std::mem::replace(&mut place.in_prompt, true);
                logprobs.push_prompt(token, first, text, &mut place.offset);
            }
            if place.in_prompt && !output.logprobs.is_empty() {
                // Generated text begins after the prompt's text, whatever the lengths of the prompt's pieces add up to.
                place.offset = std::mem::take(&mut place.offset).at_least(place.prompt_end);
            }
        }
        logprobs.append(LogprobsObject::of(&output.logprobs, &mut place.offset));
        Some(logprobs)
    }

    /// The `n` candidates of each prompt with the highest log-probability per token, best first.
    fn best(&mut self) -> Vec<CompletionChoiceObject> {
        let (n, candidates) = (self.view.n, self.view.candidates);
        let mut choices = std::mem::take(&mut self.whole);
        if candidates == n {
            return choices;
        }
        let mean = |choice: &CompletionChoiceObject| {
            let (sum, tokens) = self.places[choice.index].score;
            if tokens == 0 { f64::NEG_INFINITY } else { sum / f64::from(tokens) }
        };
        let mut best = Vec::new();
        for prompt in choices.chunks_mut(candidates) {
            prompt.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
            best.extend(prompt.iter().take(n).cloned());
        }
        for (index, choice) in best.iter_mut().enumerate() {
            choice.index = index;
        }
        best
    }
}

fn characters(text: &str) -> u64 {
    text.chars().fold(0, |count, _| count + 1)
}

impl WireFormat for CompletionFormat {
    type Chunk = CompletionObject;
    type Chunks = Option<CompletionObject>;
    type Whole = CompletionObject;

    fn opening(&mut self) -> Vec<CompletionObject> {
        if !self.view.echo && !self.view.token_ids {
            return Vec::new();
        }
        let opening = |index: usize| {
            let prompt = &self.prompts[index / self.view.candidates];
            let mut choice = CompletionChoiceObject::new(index, &self.view);
            if self.view.echo {
                choice.text.clone_from(&prompt.text);
            }
            choice.prompt_token_ids = self.view.token_ids.then(|| prompt.ids.clone());
            self.running(choice)
        };
        (0..self.whole.len()).map(opening).collect()
    }

    fn chunks(&mut self, event: GenerationEvent) -> Option<CompletionObject> {
        let output = event.output;
        let scored = !output.prompt_logprobs.is_empty() && ((self.view.logprobs && self.view.echo) || self.view.prompt_logprobs);
        let named = self.view.token_ids && !output.tokens.is_empty();
        if output.text.is_empty() && output.logprobs.is_empty() && output.finish.is_none() && !scored && !named {
            return None;
        }
        let choice = CompletionChoiceObject {
            index: event.choice,
            logprobs: self.logprobs(event.choice, &output),
            finish_reason: output.finish.as_ref().and_then(finish_reason),
            stop_reason: output.finish.as_ref().and_then(|finish| stop_reason(finish, &self.view.stop)),
            prompt_logprobs: self.view.prompt_logprobs.then(|| PromptLogprobs::of(output.prompt_logprobs)),
            token_ids: self.view.token_ids.then_some(output.tokens),
            prompt_token_ids: None,
            text: output.text,
        };
        Some(self.running(choice))
    }

    fn shows_progress(&self) -> bool {
        self.shows_progress
    }

    fn progress(&self, progress: &PromptProgress) -> Bytes {
        if !self.shows_progress {
            return progress.comment();
        }
        let chunk = self.running(CompletionChoiceObject::new(progress.choice, &self.view));
        sse::frame(None, &ProgressChunk { chunk, prompt_progress: *progress })
    }

    fn closing(&mut self, usage: &Usage) -> Vec<CompletionObject> {
        let wanted = self.view.stream_usage == Some(true);
        wanted.then(|| self.object(Vec::new(), UsageField::Full(UsageObject::of(*usage, 0)))).into_iter().collect()
    }

    fn absorb(&mut self, chunk: CompletionObject) {
        for choice in chunk.choices {
            if let Some(whole) = self.whole.get_mut(choice.index) {
                whole.append(choice);
            }
        }
    }

    fn listed_tokens(&self, usage: &Usage) -> u64 {
        let CompletionView { logprobs, prompt_logprobs, echo, token_ids, .. } = self.view;
        let of_prompt = if token_ids || prompt_logprobs || (echo && logprobs) { usage.prompt_tokens } else { 0 };
        let of_completion = if token_ids || logprobs { usage.completion_tokens } else { 0 };
        of_prompt + of_completion
    }

    fn whole(mut self, usage: &Usage) -> CompletionObject {
        let choices = self.best();
        let (seed, warnings) = (Some(self.view.seed), self.view.warnings.take());
        CompletionObject { seed, warnings, ..self.object(choices, UsageField::Full(UsageObject::of(*usage, 0))) }
    }
}

/// The stop string or token of the request that ended a choice (vLLM's `stop_reason`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum StopReason {
    /// The stop string.
    String(String),
    /// The stop token.
    Token(Token),
}

/// vLLM's `stop_reason` of a finish; `stop` are the request's stop strings.
#[must_use]
pub fn stop_reason(finish: &Finish, stop: &[String]) -> Option<StopReason> {
    match finish {
        Finish::StopString(index) => stop.get(usize::try_from(*index).ok()?).cloned().map(StopReason::String),
        Finish::StopToken(token) => Some(StopReason::Token(*token)),
        Finish::EndOfGeneration | Finish::Length | Finish::Failed(_) => None,
    }
}

/// One choice, or a part of it. OpenAI's four keys are always written, vLLM's if the request asked for them or they
/// have a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct CompletionChoiceObject {
    text: String,
    index: usize,
    logprobs: Option<LogprobsObject>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<StopReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_logprobs: Option<PromptLogprobs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Option<Vec<Token>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<Vec<Token>>,
}

impl CompletionChoiceObject {
    fn new(index: usize, view: &CompletionView) -> Self {
        Self {
            text: String::new(),
            index,
            logprobs: view.logprobs.then(LogprobsObject::default),
            finish_reason: None,
            stop_reason: None,
            prompt_logprobs: view.prompt_logprobs.then(PromptLogprobs::default),
            prompt_token_ids: None,
            token_ids: view.token_ids.then(Vec::new),
        }
    }

    fn append(&mut self, later: Self) {
        self.text.push_str(&later.text);
        if let (Some(logprobs), Some(later)) = (&mut self.logprobs, later.logprobs) {
            logprobs.append(later);
        }
        if let (Some(logprobs), Some(later)) = (&mut self.prompt_logprobs, later.prompt_logprobs) {
            logprobs.append(later);
        }
        if let (Some(ids), Some(mut later)) = (&mut self.token_ids, later.token_ids) {
            ids.append(&mut later);
        }
        self.prompt_token_ids = later.prompt_token_ids.or(self.prompt_token_ids.take());
        self.finish_reason = later.finish_reason.or(self.finish_reason);
        self.stop_reason = later.stop_reason.or(self.stop_reason.take());
    }
}

/// OpenAI's `text_completion`: a whole response or a chunk of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionObject {
    head: Arc<ResponseHead>,
    choices: Vec<CompletionChoiceObject>,
    usage: UsageField,
    seed: Option<i64>,
    warnings: Option<Vec<String>>,
}

impl Serialize for CompletionObject {
    /// Written by hand, because chunks share one `ResponseHead`, and `usage` is absent, null or an object.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("CompletionObject", 9)?;
        self.head.serialize_into::<S>(&mut object, "text_completion")?;
        object.serialize_field("choices", &self.choices)?;
        self.usage.serialize_into::<S>(&mut object)?;
        match self.seed {
            None => object.skip_field("seed")?,
            Some(seed) => object.serialize_field("seed", &seed)?,
        }
        match &self.warnings {
            None => object.skip_field("warnings")?,
            Some(warnings) => object.serialize_field("warnings", warnings)?,
        }
        object.end()
    }
}

#[cfg(test)]
mod tests;
