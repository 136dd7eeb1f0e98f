//! The measurements of one request. Times are seconds; those of a run count from its beginning.

use super::workload::Group;
use serde::Serialize;
use std::time::Duration;

/// One request. A line of `--records`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RequestRecord {
    pub(super) group: Group,
    /// Time at which it was sent.
    pub(super) start: f64,
    /// Time at which each piece of text came, from its start. A piece may be several tokens.
    pub(super) pieces: Vec<f64>,
    /// Time at which it ended, from its start.
    pub(super) total: f64,
    /// As the server counted them, or one for each piece of text where it did not.
    pub(super) completion_tokens: u64,
    /// As the server counted them; 0 where it did not.
    pub(super) prompt_tokens: u64,
    /// Of these, taken from a cache.
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

    /// Time per output token: of the tokens after the first. `None` with fewer than two.
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
    /// In order of their ends.
    pub(super) records: Vec<RequestRecord>,
    /// From the first request to the end of the last.
    pub(super) duration: Duration,
}

impl BenchRun {
    /// A JSON object per line and request.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn json_lines(&self) -> anyhow::Result<String> {
        let line = |record| Ok(serde_json::to_string(record)? + "\n");
        self.records.iter().map(line).collect()
    }
}
