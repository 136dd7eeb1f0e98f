//! Takes the times and counts of one generation, and passes the record to telemetry when the recorder is dropped.

use super::{finish_reason, run::Usage};
use crate::{
    api::{error::ApiError, request_log},
    gateway::handle::GenerationEvent,
    telemetry::{self, GenerationRecord, Outcome},
};
use std::time::Duration;
use tokio::time::Instant;

/// A guard: whatever happens to a generation, exactly one record of it is written, in the span of its request.
#[derive(Debug)]
pub struct Recorder {
    received: Instant,
    span: tracing::Span,
    /// The time at which each choice last had tokens.
    last_tokens: Vec<Option<Instant>>,
    record: GenerationRecord,
}

impl Recorder {
    /// A recorder for a request to `endpoint` whose handler was entered at `received`. Until another outcome is set,
    /// the record says that the client disconnected.
    #[must_use]
    pub fn new(endpoint: &'static str, model: &str, stream: bool, received: Instant) -> Self {
        let record = GenerationRecord {
            endpoint,
            model: model.to_owned(),
            stream,
            choices: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            queue: None,
            first_token: None,
            total: Duration::ZERO,
            finish_reasons: Vec::new(),
            outcome: Outcome::ClientGone,
        };
        Self { received, span: tracing::Span::current(), last_tokens: Vec::new(), record }
    }

    /// Sets the number of choices.
    pub(super) fn expect_choices(&mut self, choices: usize) {
        self.record.choices = choices;
        self.last_tokens = vec![None; choices];
    }

    /// Records an event's times and finish.
    pub(super) fn observe(&mut self, event: &GenerationEvent) {
        let output = &event.output;
        if let Some(started) = output.started {
            self.record.queue = self.record.queue.max(Some(Duration::from_micros(started.queue_us)));
        }
        if !output.tokens.is_empty() {
            let now = Instant::now();
            self.record.first_token.get_or_insert(now - self.received);
            if let Some(last) = self.last_tokens.get_mut(event.choice)
                && let Some(before) = last.replace(now)
            {
                telemetry::record_itl(now - before);
            }
        }
        if let Some(reason) = output.finish.as_ref().and_then(finish_reason) {
            self.record.finish_reasons.push(reason);
        }
    }

    /// Records the counts so far.
    pub(super) fn count(&mut self, usage: Usage) {
        self.record.prompt_tokens = usage.prompt_tokens;
        self.record.cached_tokens = usage.cached_tokens;
        self.record.completion_tokens = usage.completion_tokens;
    }

    /// Records that every choice has finished.
    pub(super) fn finished(&mut self) {
        self.record.outcome = Outcome::Finished;
    }

    /// Records that the generation was refused or failed; `detail` is for the log.
    pub(super) fn failed(&mut self, error: &ApiError, detail: String) {
        self.record.outcome = Outcome::Failed { code: error.code().unwrap_or("error"), detail };
    }

    #[cfg(test)]
    pub(super) fn record(&self) -> &GenerationRecord {
        &self.record
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.record.total = self.received.elapsed();
        request_log::has_line();
        self.span.in_scope(|| telemetry::record_generation(&self.record));
    }
}
