//! The writer of `/completion` and `/infill`: turns a generation into llama-server's objects, in pieces if streamed,
//! else whole.
//!
//! Owns the timings of each answer. A stream has `content`, `tokens` and counts in each chunk, and everything else in
//! the last one of an answer, whose `stop` is true; no `[DONE]` follows. `response_fields` choose keys of the last
//! object. Without streaming several answers are an array.

use super::options::AnswerView;
use crate::{
    api::respond::{ProgressChunk, PromptProgress, Usage, WireFormat, sse},
    gateway::handle::GenerationEvent,
    protocol::{Finish, Started, Token, TokenAlternative, TokenLogprob},
};
use axum::body::Bytes;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Facts about the answers to a prompt that are known before the first token.
#[derive(Debug, Clone)]
pub(in crate::api) struct PromptHead {
    /// The model's name as the request gave it.
    pub(in crate::api) model: String,
    /// The prompt's text, if the answer contains it.
    pub(in crate::api) prompt: Option<String>,
    /// The prompt's length, tokens.
    pub(in crate::api) prompt_tokens: usize,
    /// llama-server's `generation_settings`.
    pub(in crate::api) settings: Value,
    /// The request's stop strings.
    pub(in crate::api) stop: Vec<String>,
    /// The number of tokens that were asked for and fit; 0 computes the prompt only.
    pub(in crate::api) max_tokens: u32,
    /// True if the context had no room for all tokens that were asked for.
    pub(in crate::api) is_cut_short: bool,
}

/// Writes one response. See the module.
#[derive(Debug)]
pub(in crate::api) struct LlamaFormat {
    heads: Vec<PromptHead>,
    view: AnswerView,
    /// True if log-probabilities were asked for.
    has_probabilities: bool,
    answers: Vec<AnswerState>,
}

/// The progress of one answer.
#[derive(Debug)]
struct AnswerState {
    clock: Clock,
    cached_tokens: u32,
    predicted: u64,
    has_new_line: bool,
    /// The text, the token ids and the log-probabilities; empty in a stream, which has sent them.
    content: String,
    tokens: Vec<Value>,
    probabilities: Vec<Value>,
    finish: Option<Finish>,
}

/// The times of an answer's events.
#[derive(Debug)]
struct Clock {
    submitted: Instant,
    queue: Duration,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl LlamaFormat {
    /// A format for a generation that was just submitted, with `n` answers for each prompt.
    pub(in crate::api) fn new(heads: Vec<PromptHead>, n: usize, view: AnswerView, has_probabilities: bool) -> Self {
        let answers = (0..heads.len() * n).map(|_| AnswerState::new()).collect();
        Self { heads, view, has_probabilities, answers }
    }

    /// The prompt that an answer belongs to. All prompts have the same number of answers.
    fn head(&self, index: usize) -> &PromptHead {
        &self.heads[index * self.heads.len() / self.answers.len()]
    }

    /// An object of a stream that is not the last of its answer.
    fn part(&self, index: usize, content: &str, tokens: &[Token]) -> Value {
        json!({
            "index": index,
            "content": content,
            "tokens": ids(tokens),
            "stop": false,
            "id_slot": -1,
            "tokens_predicted": self.answers[index].predicted,
            "tokens_evaluated": self.head(index).prompt_tokens,
        })
    }

    /// The last object of an answer; it has the text and tokens only if the answer is not streamed.
    fn last(&self, index: usize, is_whole: bool) -> Value {
        let (head, answer) = (self.head(index), &self.answers[index]);
        let (stop_type, stopping_word) = match &answer.finish {
            Some(Finish::EndOfGeneration | Finish::StopToken(_)) => ("eos", ""),
            Some(Finish::StopString(index)) => {
                ("word", usize::try_from(*index).ok().and_then(|index| head.stop.get(index)).map_or("", String::as_str))
            }
            Some(Finish::Length) => ("limit", ""),
            Some(Finish::Failed(_)) | None => ("none", ""),
        };
        let is_full = answer.finish == Some(Finish::Length) && answer.predicted >= u64::from(head.max_tokens);
        let tokens: &[Value] = if is_whole && self.view.return_tokens { &answer.tokens } else { &[] };
        let mut whole = json!({
            "index": index,
            "content": if is_whole { answer.content.as_str() } else { "" },
            "tokens": tokens,
            "id_slot": -1,
            "stop": true,
            "model": head.model,
            "tokens_predicted": answer.predicted,
            "tokens_evaluated": head.prompt_tokens,
            "tokens_cached": answer.cached_tokens,
            "generation_settings": head.settings,
            "prompt": head.prompt,
            "has_new_line": answer.has_new_line,
            "truncated": is_full && head.is_cut_short,
            "stop_type": stop_type,
            "stopping_word": stopping_word,
            "timings": answer.timings(head),
        });
        if is_whole && self.has_probabilities {
            whole["completion_probabilities"] = answer.probabilities.clone().into();
        }
        if self.view.response_fields.is_empty() { whole } else { choose(&whole, &self.view.response_fields) }
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

/// A token with its alternatives, as llama-server writes it.
fn probability(token: TokenLogprob) -> Value {
    let alternative = |TokenAlternative { token, bytes, logprob }: TokenAlternative| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        json!({"id": token.0, "token": text, "bytes": bytes, "logprob": logprob})
    };
    let mut object = alternative(token.chosen);
    object["top_logprobs"] = token.top.into_iter().map(alternative).collect();
    object
}

impl AnswerState {
    fn new() -> Self {
        Self {
            clock: Clock { submitted: Instant::now(), queue: Duration::ZERO, first: None, last: None },
            cached_tokens: 0,
            predicted: 0,
            has_new_line: false,
            content: String::new(),
            tokens: Vec::new(),
            probabilities: Vec::new(),
            finish: None,
        }
    }

    fn start(&mut self, Started { cached_tokens, queue_us }: Started) {
        self.cached_tokens = cached_tokens;
        self.clock.queue = Duration::from_micros(queue_us);
    }

    fn timings(&self, head: &PromptHead) -> Value {
        let clock = &self.clock;
        let cached = u64::from(self.cached_tokens);
        let computed = u64::try_from(head.prompt_tokens).unwrap_or(u64::MAX).saturating_sub(cached);
        let prompt = clock.first.map_or(Duration::ZERO, |first| (first - clock.submitted).saturating_sub(clock.queue));
        let answer = clock.first.zip(clock.last).map_or(Duration::ZERO, |(first, last)| last - first);
        let (prompt_ms, predicted_ms) = (milliseconds(prompt), milliseconds(answer));
        json!({
            "cache_n": cached,
            "prompt_n": computed,
            "prompt_ms": prompt_ms,
            "prompt_per_token_ms": ratio(prompt_ms, computed as f64),
            "prompt_per_second": ratio(computed as f64 * 1000.0, prompt_ms),
            "predicted_n": self.predicted,
            "predicted_ms": predicted_ms,
            "predicted_per_token_ms": ratio(predicted_ms, self.predicted as f64),
            "predicted_per_second": ratio(self.predicted as f64 * 1000.0, predicted_ms),
        })
    }
}

impl Clock {
    fn tick(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// 0 where there is nothing to divide by: JSON has no infinity.
fn ratio(number: f64, by: f64) -> f64 {
    if by > 0.0 { number / by } else { 0.0 }
}

impl WireFormat for LlamaFormat {
    type Chunk = Value;
    type Chunks = Option<Value>;
    type Whole = Value;

    const ENDS_WITH_DONE: bool = false;

    fn opening(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn chunks(&mut self, event: GenerationEvent) -> Option<Value> {
        let mut output = event.output;
        let (index, is_silent) = (event.choice, self.head(event.choice).max_tokens == 0);
        let answer = self.answers.get_mut(index)?;
        if let Some(started) = output.started {
            answer.start(started);
        }
        if !output.tokens.is_empty() {
            answer.clock.tick();
        }
        if output.finish.is_some() {
            answer.finish = output.finish;
        }
        if is_silent {
            // The engine samples at least one token; this one is not part of the answer.
            output.tokens.clear();
            output.text.clear();
            output.logprobs.clear();
            answer.finish = answer.finish.take().map(|_| Finish::Length);
        }
        if output.tokens.is_empty() && output.text.is_empty() && output.logprobs.is_empty() {
            return None;
        }
        answer.predicted += u64::try_from(output.tokens.len()).unwrap_or(u64::MAX);
        answer.has_new_line |= output.text.contains('\n');
        let (head, answer) = (self.head(index), &self.answers[index]);
        let mut chunk = self.part(index, &output.text, &output.tokens);
        if self.has_probabilities {
            chunk["completion_probabilities"] = output.logprobs.into_iter().map(probability).collect();
        }
        if self.view.timings_per_token {
            chunk["timings"] = answer.timings(head);
        }
        Some(chunk)
    }

    fn shows_progress(&self) -> bool {
        self.view.return_progress
    }

    fn progress(&self, progress: &PromptProgress) -> Bytes {
        if !self.view.return_progress || progress.choice >= self.answers.len() {
            return progress.comment();
        }
        sse::frame(None, &ProgressChunk { chunk: self.part(progress.choice, "", &[]), prompt_progress: *progress })
    }

    fn closing(&mut self, _usage: &Usage) -> Vec<Value> {
        (0..self.answers.len()).map(|index| self.last(index, false)).collect()
    }

    fn absorb(&mut self, mut chunk: Value) {
        let index = chunk["index"].as_u64().and_then(|index| usize::try_from(index).ok());
        let Some(answer) = index.and_then(|index| self.answers.get_mut(index)) else { return };
        if let Value::String(text) = chunk["content"].take() {
            answer.content.push_str(&text);
        }
        if let Value::Array(ids) = chunk["tokens"].take() {
            answer.tokens.extend(ids);
        }
        if let Some(Value::Array(probabilities)) = chunk.get_mut("completion_probabilities").map(Value::take) {
            answer.probabilities.extend(probabilities);
        }
    }

    fn listed_tokens(&self, usage: &Usage) -> u64 {
        if self.has_probabilities || self.view.return_tokens { usage.completion_tokens } else { 0 }
    }

    fn whole(self, _usage: &Usage) -> Value {
        let mut answers: Vec<Value> = (0..self.answers.len()).map(|index| self.last(index, true)).collect();
        if answers.len() == 1 { answers.remove(0) } else { Value::Array(answers) }
    }
}

#[cfg(test)]
mod tests;
