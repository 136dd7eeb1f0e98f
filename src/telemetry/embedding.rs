//! Writes the record of a request for embeddings or scores, exactly once, at the request's end.
//!
//! The API makes the records; this module only writes them. They contain neither text nor keys.

use super::{
    Outcome,
    generation::record_prompt,
    logged_seconds,
    metrics::name,
    traces::{self, TraceContext},
};
use metrics::{counter, histogram};
use std::time::Duration;

/// The record of one request, from its acceptance by the parser to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingRecord {
    /// The route: `embeddings`, `rerank` or `score`.
    pub endpoint: &'static str,
    /// The model as the client named it (one of the served names).
    pub model: String,
    /// Number of vectors or scores that were to be computed.
    pub inputs: usize,
    /// Number of tokens of all inputs.
    pub prompt_tokens: usize,
    /// Time from receipt to the end.
    pub total: Duration,
    /// The warnings of the request; `None` if it was done as asked.
    pub warnings: Option<String>,
    /// The way in which the request ended.
    pub outcome: Outcome,
    /// Its place in a trace; `None` if traces are off.
    pub trace: Option<TraceContext>,
}

/// Writes one log line and counts. Called once per request, from a `Drop`: it neither blocks nor panics.
pub fn record_embedding(record: &EmbeddingRecord) {
    let (outcome, detail, reason) = match &record.outcome {
        Outcome::Finished => ("finished", "", "stop"),
        Outcome::ClientGone => ("client_gone", "", "abort"),
        Outcome::Failed { code, detail } => (*code, detail.as_str(), "error"),
    };
    tracing::info!(
        endpoint = record.endpoint,
        model = record.model,
        inputs = record.inputs,
        prompt_tokens = record.prompt_tokens,
        total_seconds = logged_seconds(record.total),
        warnings = record.warnings.as_deref(),
        outcome,
        detail,
        "embedding"
    );
    traces::embedding(record);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    counter!(name::SUCCESS, "finished_reason" => reason).increment(1);
    if record.outcome == Outcome::Finished {
        record_prompt(count(record.prompt_tokens), 0);
        counter!(name::EMBEDDED_TOTAL).increment(count(record.inputs));
        histogram!(name::E2E).record(record.total);
        // Exact below 2^32, more than any request has.
        histogram!(name::PROMPT_TOKENS).record(f64::from(u32::try_from(record.prompt_tokens).unwrap_or(u32::MAX)));
    }
}
