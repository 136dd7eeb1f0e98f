//! Takes the times and counts of one generation, and passes the record to telemetry when the recorder is dropped.

use super::{
    finish_reason,
    run::{Usage, wide},
};
use crate::{
    api::{error::ApiError, request_log, trace},
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
    choices: Vec<ChoiceProgress>,
    /// The time at which the first row of any choice was scheduled.
    first_row: Option<Instant>,
    record: GenerationRecord,
}

/// The tokens of a choice so far.
#[derive(Debug, Clone, Copy, Default)]
struct ChoiceProgress {
    /// The time at which the choice last had tokens.
    last: Option<Instant>,
    /// Number of its tokens.
    tokens: u64,
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
            n: 0,
            max_tokens: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            longest_choice: 0,
            queue: None,
            first_token: None,
            prefill: None,
            inference: None,
            total: Duration::ZERO,
            finish_reasons: Vec::new(),
            warnings: None,
            outcome: Outcome::ClientGone,
            trace: trace::present(),
        };
        Self { received, span: tracing::Span::current(), choices: Vec::new(), first_row: None, record }
    }

    /// Sets the warnings of the request.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Option<String>) -> Self {
        self.record.warnings = warnings;
        self
    }

    /// Sets the number of choices, `n` for each prompt.
    pub(super) fn expect_choices(&mut self, choices: usize, n: usize) {
        (self.record.choices, self.record.n) = (choices, n);
        self.choices = vec![ChoiceProgress::default(); choices];
    }

    /// Sets the largest number of tokens that a choice may generate.
    pub(super) fn expect_tokens(&mut self, max_tokens: u32) {
        self.record.max_tokens = max_tokens;
    }

    /// Records an event's times and finish.
    pub(super) fn observe(&mut self, event: &GenerationEvent) {
        let output = &event.output;
        if let Some(started) = output.started {
            self.record.queue = self.record.queue.max(Some(Duration::from_micros(started.queue_us)));
            self.first_row.get_or_insert_with(Instant::now);
        }
        if !output.tokens.is_empty() {
            self.observe_tokens(event.choice, wide(output.tokens.len()), Instant::now());
        }
        if let Some(reason) = output.finish.as_ref().and_then(finish_reason) {
            self.record.finish_reasons.push(reason);
        }
    }

    /// Records the times of tokens that arrived `now`.
    fn observe_tokens(&mut self, choice: usize, tokens: u64, now: Instant) {
        let since_first_row = self.first_row.map(|first_row| now - first_row);
        if self.record.first_token.is_none() {
            let first_token = now - self.received;
            telemetry::record_first_token(first_token);
            self.record.first_token = Some(first_token);
            self.record.prefill = since_first_row;
        }
        self.record.inference = since_first_row;
        let Some(choice) = self.choices.get_mut(choice) else { return };
        choice.tokens += tokens;
        self.record.longest_choice = self.record.longest_choice.max(choice.tokens);
        if let Some(before) = choice.last.replace(now) {
            telemetry::record_itl(now - before);
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
