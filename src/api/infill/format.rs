//! The writer of `/infill`: turns a generation into llama-server's object, in pieces if streamed, else whole.
//!
//! Owns the timings. A stream has `content`, `tokens` and counts in each chunk, and everything else in the last one,
//! whose `stop` is true; no `[DONE]` follows. `response_fields` choose keys of the last object.

use super::request::InfillRequest;
use crate::{
    api::respond::{ProgressChunk, PromptProgress, Usage, WireFormat, sse},
    gateway::handle::GenerationEvent,
    protocol::{Finish, SequenceRequest, Token},
};
use axum::body::Bytes;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Facts about a generation that are known before its first token.
#[derive(Debug)]
pub(super) struct InfillHead {
    /// The model's name as the request gave it.
    pub(super) model: String,
    /// The prompt's text, if the answer contains it.
    pub(super) prompt: Option<String>,
    /// The prompt's length, tokens.
    pub(super) prompt_tokens: usize,
    /// llama-server's `generation_settings`.
    pub(super) settings: Value,
    /// The number of tokens that were asked for and fit; 0 computes the prompt only.
    pub(super) max_tokens: u32,
    /// True if the context had no room for all tokens that were asked for.
    pub(super) is_cut_short: bool,
}

/// llama-server's `generation_settings`, as far as this server has them.
pub(super) fn settings(sequence: &SequenceRequest, seed: i64, max_tokens: u32, stream: bool) -> Value {
    let sampling = &sequence.sampling;
    json!({
        "n_predict": max_tokens,
        "seed": seed,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stop": sequence.stop,
        "ignore_eos": sequence.ignore_eos,
        "stream": stream,
    })
}

/// Writes one response. See the module.
#[derive(Debug)]
pub(super) struct InfillFormat {
    head: InfillHead,
    stop: Vec<String>,
    response_fields: Vec<String>,
    /// True if an answer without streaming contains the tokens; a stream always does.
    return_tokens: bool,
    shows_progress: bool,
    clock: Clock,
    content: String,
    tokens: Vec<Token>,
    predicted: u64,
    finish: Option<Finish>,
}

/// The times of the generation's events.
#[derive(Debug)]
struct Clock {
    submitted: Instant,
    queue: Duration,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl InfillFormat {
    /// A format for a generation that was just submitted.
    pub(super) fn new(head: InfillHead, request: InfillRequest) -> Self {
        Self {
            head,
            stop: request.stop,
            response_fields: request.response_fields,
            return_tokens: request.return_tokens,
            shows_progress: request.return_progress,
            clock: Clock { submitted: Instant::now(), queue: Duration::ZERO, first: None, last: None },
            content: String::new(),
            tokens: Vec::new(),
            predicted: 0,
            finish: None,
        }
    }

    /// An object of a stream that is not the last.
    fn part(&self, content: &str, tokens: &[Token]) -> Value {
        json!({
            "index": 0,
            "content": content,
            "tokens": ids(tokens),
            "stop": false,
            "id_slot": -1,
            "tokens_predicted": self.predicted,
            "tokens_evaluated": self.head.prompt_tokens,
        })
    }

    /// The last object, with `content` and `tokens` as given.
    fn last(&self, content: &str, tokens: &[Token], usage: &Usage) -> Value {
        let (stop_type, stopping_word) = match &self.finish {
            Some(Finish::EndOfGeneration | Finish::StopToken(_)) => ("eos", ""),
            Some(Finish::StopString(index)) => {
                ("word", usize::try_from(*index).ok().and_then(|index| self.stop.get(index)).map_or("", String::as_str))
            }
            Some(Finish::Length) => ("limit", ""),
            Some(Finish::Failed(_)) | None => ("none", ""),
        };
        let is_full = self.finish == Some(Finish::Length) && self.predicted >= u64::from(self.head.max_tokens);
        let whole = json!({
            "index": 0,
            "content": content,
            "tokens": ids(tokens),
            "id_slot": -1,
            "stop": true,
            "model": self.head.model,
            "tokens_predicted": self.predicted,
            "tokens_evaluated": usage.prompt_tokens,
            "tokens_cached": usage.cached_tokens,
            "generation_settings": self.head.settings,
            "prompt": self.head.prompt,
            "has_new_line": self.content.contains('\n'),
            "truncated": is_full && self.head.is_cut_short,
            "stop_type": stop_type,
            "stopping_word": stopping_word,
            "timings": self.clock.timings(usage, self.predicted),
        });
        if self.response_fields.is_empty() { whole } else { choose(&whole, &self.response_fields) }
    }
}

/// An object with the values at these paths of `whole`. Its keys are whole paths, such as `timings/prompt_n`; paths
/// without a value are left out.
fn choose(whole: &Value, paths: &[String]) -> Value {
    let found = |path: &String| Some((path.clone(), path.split('/').try_fold(whole, |value, key| value.get(key))?.clone()));
    Value::Object(paths.iter().filter_map(found).collect::<Map<_, _>>())
}

fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|token| token.0).collect()
}

impl Clock {
    fn timings(&self, usage: &Usage, predicted: u64) -> Value {
        let computed = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
        let prompt = self.first.map_or(Duration::ZERO, |first| (first - self.submitted).saturating_sub(self.queue));
        let answer = self.first.zip(self.last).map_or(Duration::ZERO, |(first, last)| last - first);
        let (prompt_ms, predicted_ms) = (milliseconds(prompt), milliseconds(answer));
        json!({
            "cache_n": usage.cached_tokens,
            "prompt_n": computed,
            "prompt_ms": prompt_ms,
            "prompt_per_token_ms": ratio(prompt_ms, computed as f64),
            "prompt_per_second": ratio(computed as f64 * 1000.0, prompt_ms),
            "predicted_n": predicted,
            "predicted_ms": predicted_ms,
            "predicted_per_token_ms": ratio(predicted_ms, predicted as f64),
            "predicted_per_second": ratio(predicted as f64 * 1000.0, predicted_ms),
        })
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// 0 where there is nothing to divide by: JSON has no infinity.
fn ratio(number: f64, by: f64) -> f64 {
    if by > 0.0 { number / by } else { 0.0 }
}

impl WireFormat for InfillFormat {
    type Chunk = Value;
    type Chunks = Option<Value>;
    type Whole = Value;

    const ENDS_WITH_DONE: bool = false;

    fn opening(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn chunks(&mut self, event: GenerationEvent) -> Option<Value> {
        let mut output = event.output;
        if let Some(started) = output.started {
            self.clock.queue = Duration::from_micros(started.queue_us);
        }
        if !output.tokens.is_empty() {
            let now = Instant::now();
            self.clock.first.get_or_insert(now);
            self.clock.last = Some(now);
        }
        if output.finish.is_some() {
            self.finish = output.finish;
        }
        if self.head.max_tokens == 0 {
            // The engine samples at least one token; this one is not part of the answer.
            output.tokens.clear();
            output.text.clear();
            self.finish = self.finish.take().map(|_| Finish::Length);
        }
        if output.tokens.is_empty() && output.text.is_empty() {
            return None;
        }
        self.predicted += u64::try_from(output.tokens.len()).unwrap_or(u64::MAX);
        self.content.push_str(&output.text);
        self.tokens.extend_from_slice(&output.tokens);
        Some(self.part(&output.text, &output.tokens))
    }

    fn shows_progress(&self) -> bool {
        self.shows_progress
    }

    fn progress(&self, progress: &PromptProgress) -> Bytes {
        if !self.shows_progress {
            return progress.comment();
        }
        sse::frame(None, &ProgressChunk { chunk: self.part("", &[]), prompt_progress: *progress })
    }

    fn closing(&mut self, usage: &Usage) -> Vec<Value> {
        vec![self.last("", &[], usage)]
    }

    fn absorb(&mut self, _chunk: Value) {
        // `chunks` has kept the text and tokens that the whole needs.
    }

    fn whole(self, usage: &Usage) -> Value {
        self.last(&self.content, if self.return_tokens { &self.tokens } else { &[] }, usage)
    }
}

#[cfg(test)]
mod tests;
