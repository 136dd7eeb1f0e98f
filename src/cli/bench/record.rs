//! The measurements of one request. Times are seconds; those of a run count from the run's beginning.

use super::workload::Group;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// The measurements of one request; a line of `--records`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RequestRecord {
    pub(super) group: Group,
    /// The request's place in the workload, from 0.
    pub(super) index: usize,
    /// The prompt as it was sent: a text, token ids or messages.
    pub(super) prompt: Value,
    /// Time at which the request was sent, since the beginning of the run.
    pub(super) start: f64,
    /// Times at which pieces of text came, since `start`. A piece may be several tokens.
    pub(super) pieces: Vec<f64>,
    /// Time from `start` to the end of the request.
    pub(super) total: f64,
    /// Generated tokens, as the server counted them; one for each piece of text if it did not count.
    pub(super) completion_tokens: u64,
    /// Prompt tokens, as the server counted them; 0 if it did not count.
    pub(super) prompt_tokens: u64,
    /// Prompt tokens that the server took from a cache.
    pub(super) cached_tokens: u64,
    /// The generated text, without reasoning.
    pub(super) text: String,
    /// The error, if the request failed.
    pub(super) error: Option<String>,
}

impl RequestRecord {
    /// Time to first token.
    pub(super) fn ttft(&self) -> Option<f64> {
        self.pieces.first().copied()
    }

    /// Time per output token after the first. `None` with fewer than two tokens.
    pub(super) fn tpot(&self) -> Option<f64> {
        let (first, last) = (self.pieces.first()?, self.pieces.last()?);
        let further = self.completion_tokens.checked_sub(1).filter(|further| *further > 0)?;
        Some((last - first) / further as f64)
    }

    /// Gaps between neighbouring pieces.
    pub(super) fn gaps(&self) -> impl Iterator<Item = f64> + '_ {
        self.pieces.windows(2).map(|pair| pair[1] - pair[0])
    }
}

/// A whole measurement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BenchRun {
    /// In the order of the workload.
    pub(super) records: Vec<RequestRecord>,
    /// Time from the first request to the end of the last.
    pub(super) duration: Duration,
}

impl BenchRun {
    /// The records as text, with one JSON object per line.
    ///
    /// # Errors
    /// None is known.
    pub(super) fn json_lines(&self) -> anyhow::Result<String> {
        let line = |record| Ok(serde_json::to_string(record)? + "\n");
        self.records.iter().map(line).collect()
    }
}
