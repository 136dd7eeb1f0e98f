//! From records to figures: rates, percentiles, goodput. Percentiles are values that were measured (nearest rank).

use super::{plan::Slo, record::RequestRecord};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The figures of one kind of request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) requests: usize,
    pub(super) failed: usize,
    /// Errors, with the number of requests that had each.
    pub(super) errors: BTreeMap<String, usize>,
    pub(super) prompt_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) completion_tokens: u64,
    /// Requests that succeeded, per second of the run.
    pub(super) requests_per_second: f64,
    /// Requests that met the objective, per second of the run.
    pub(super) goodput_per_second: f64,
    pub(super) output_tokens_per_second: f64,
    /// Time from sending a request to its first token, ms.
    pub(super) ttft_ms: Times,
    /// Time per token after the first, ms; one value per request.
    pub(super) tpot_ms: Times,
    /// Gaps between pieces of text, ms; one value per gap.
    pub(super) itl_ms: Times,
    /// Time from sending a request to its last byte, ms.
    pub(super) e2e_ms: Times,
}

/// A distribution of times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Times {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Times {
    /// One of its figures; `None` if nothing was measured.
    pub(super) fn figure(&self, of: fn(&Self) -> f64) -> Option<f64> {
        (self.count > 0).then(|| of(self))
    }

    /// The distribution, in milliseconds, of times in seconds.
    pub(super) fn of(seconds: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = seconds.map(|value| value * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(max), count) = (sorted.last().copied(), sorted.len()) else { return Self::default() };
        // The rank is in range; the cast cuts no fraction.
        let at = |quantile: f64| sorted[((quantile * count as f64).ceil() as usize).clamp(1, count) - 1];
        Self {
            count: u64::try_from(count).unwrap_or(u64::MAX),
            mean: sorted.iter().sum::<f64>() / count as f64,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max,
        }
    }
}

impl Summary {
    /// The figures of records of one kind, in a run that took `seconds`.
    pub(super) fn of(records: &[&RequestRecord], seconds: f64, slo: Slo) -> Self {
        let well: Vec<&RequestRecord> = records.iter().copied().filter(|record| record.error.is_none()).collect();
        let mut errors = BTreeMap::new();
        for error in records.iter().filter_map(|record| record.error.clone()) {
            *errors.entry(error).or_insert(0) += 1;
        }
        let sum = |of: fn(&RequestRecord) -> u64| well.iter().map(|record| of(record)).sum::<u64>();
        let completion_tokens = sum(|record| record.completion_tokens);
        let good = well.iter().filter(|record| is_good(record, slo)).count();
        Self {
            requests: records.len(),
            failed: records.len() - well.len(),
            errors,
            prompt_tokens: sum(|record| record.prompt_tokens),
            cached_tokens: sum(|record| record.cached_tokens),
            completion_tokens,
            requests_per_second: well.len() as f64 / seconds,
            goodput_per_second: good as f64 / seconds,
            output_tokens_per_second: completion_tokens as f64 / seconds,
            ttft_ms: Times::of(well.iter().filter_map(|record| record.ttft())),
            tpot_ms: Times::of(well.iter().filter_map(|record| record.tpot())),
            itl_ms: Times::of(well.iter().flat_map(|record| record.gaps())),
            e2e_ms: Times::of(well.iter().map(|record| record.total)),
        }
    }
}

/// True if the request met the objective. A part that does not apply (the time per token after the first, if there is
/// one token) counts as met.
fn is_good(record: &RequestRecord, slo: Slo) -> bool {
    let within = |seconds: Option<f64>, limit: Option<f64>| match (seconds, limit) {
        (Some(seconds), Some(limit)) => seconds * 1e3 <= limit,
        (None, _) | (_, None) => true,
    };
    within(record.ttft(), slo.ttft_ms) && within(record.tpot(), slo.tpot_ms) && within(Some(record.total), slo.e2e_ms)
}
