//! What was seen of one request. Times are seconds; those of a run count from its beginning.

use super::workload::Group;
use serde::Serialize;
use std::time::Duration;

/// One request. A line of `--records`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Record {
    pub(super) group: Group,
    /// When it was sent.
    pub(super) start: f64,
    /// When each piece of text came, from its start. A piece may be several tokens.
    pub(super) pieces: Vec<f64>,
    /// When it ended, from its start.
    pub(super) total: f64,
    /// As the server counted them, or one for each piece of text where it did not.
    pub(super) completion_tokens: u64,
    /// As the server counted them; 0 where it did not.
    pub(super) prompt_tokens: u64,
    /// Of these, taken from a cache.
    pub(super) cached_tokens: u64,
    /// What was generated, reasoning left out.
    pub(super) text: String,
    /// What went wrong.
    pub(super) error: Option<String>,
}

impl Record {
    /// Time to first token.
    pub(super) fn ttft(&self) -> Option<f64> {
        self.pieces.first().copied()
    }

    /// Time per output token: of the tokens behind the first. `None` with fewer than two.
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
pub(super) struct Run {
    /// In order of their ends.
    pub(super) records: Vec<Record>,
    /// From the first request to the end of the last.
    pub(super) duration: Duration,
}

impl Run {
    /// A JSON object per line and request.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn json_lines(&self) -> anyhow::Result<String> {
        let line = |record| Ok(serde_json::to_string(record)? + "\n");
        self.records.iter().map(line).collect()
    }
}
