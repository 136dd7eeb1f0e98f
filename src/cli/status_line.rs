//! A log line on the load of the server at each interval in which there was work, as vLLM's servers write it.
//!
//! Owns the counts of the last line. Rates are those of the interval.

use crate::{
    gateway::handle::EngineHandle,
    protocol::{EngineGauges, EngineTotals},
};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Writes lines for ever.
pub(super) async fn report(engine: EngineHandle, interval: Duration) {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Counts::of(&engine);
    loop {
        ticks.tick().await;
        let now = Counts::of(&engine);
        if let Some(status) = LoadStatus::of(&before, &now) {
            status.log();
        }
        before = now;
    }
}

/// The counts of an engine at a time.
#[derive(Debug, Clone, Copy)]
struct Counts {
    at: Instant,
    /// Tokens generated since the start of the server.
    generated: u64,
    /// Tests of the idle engine since then.
    tests: u64,
    totals: EngineTotals,
    gauges: EngineGauges,
}

impl Counts {
    fn of(engine: &EngineHandle) -> Self {
        let stats = engine.stats();
        Self { at: Instant::now(), generated: engine.generated_tokens(), tests: engine.tests(), totals: stats.totals, gauges: stats.gauges }
    }
}

/// The load of a server during an interval. Rates have one decimal, shares are percent.
#[derive(Debug, Clone, PartialEq)]
struct LoadStatus {
    prompt_tokens_per_second: f64,
    generated_tokens_per_second: f64,
    running: u32,
    waiting: u32,
    kv_cache_percent: f64,
    /// The share of prompt tokens that the prefix cache had; `None` if no prompt was looked up.
    prefix_hit_percent: Option<f64>,
}

impl LoadStatus {
    /// The status between two counts; `None` if the server was idle.
    fn of(before: &Counts, now: &Counts) -> Option<Self> {
        let EngineGauges { running, waiting, kv_cells_used, kv_cells_total, .. } = now.gauges;
        let generated = now.generated.saturating_sub(before.generated);
        let computed = now.totals.prefill_rows.saturating_sub(before.totals.prefill_rows);
        // A test of the idle engine is no load.
        let tests = now.tests.saturating_sub(before.tests);
        if generated.max(computed) <= tests && running + waiting == 0 {
            return None;
        }
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        let queries = now.totals.prefix_queries.saturating_sub(before.totals.prefix_queries);
        let hits = now.totals.prefix_hits.saturating_sub(before.totals.prefix_hits);
        Some(Self {
            prompt_tokens_per_second: ratio(computed as f64, seconds).unwrap_or(0.0),
            generated_tokens_per_second: ratio(generated as f64, seconds).unwrap_or(0.0),
            running,
            waiting,
            kv_cache_percent: ratio(100.0 * f64::from(kv_cells_used), f64::from(kv_cells_total)).unwrap_or(0.0),
            prefix_hit_percent: ratio(100.0 * hits as f64, queries as f64),
        })
    }

    fn log(&self) {
        let Self { prompt_tokens_per_second, generated_tokens_per_second, running, waiting, kv_cache_percent, prefix_hit_percent } = *self;
        tracing::info!(
            prompt_tokens_per_second,
            generated_tokens_per_second,
            running,
            waiting,
            kv_cache_percent,
            prefix_hit_percent,
            "status"
        );
    }
}

/// A quotient with one decimal; `None` for nothing divided.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| (10.0 * part / whole).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(at: Instant, generated: u64, totals: EngineTotals) -> Counts {
        Counts { at, generated, tests: 0, totals, gauges: EngineGauges { kv_cells_total: 400, ..EngineGauges::default() } }
    }

    #[test]
    fn rates_are_those_of_the_interval() {
        let begun = Instant::now();
        let before = counts(begun, 100, EngineTotals { prefill_rows: 50, prefix_queries: 60, prefix_hits: 10, ..EngineTotals::default() });
        let totals = EngineTotals { prefill_rows: 250, prefix_queries: 360, prefix_hits: 110, ..EngineTotals::default() };
        let mut now = counts(begun + Duration::from_secs(10), 1105, totals);
        (now.gauges.running, now.gauges.waiting, now.gauges.kv_cells_used) = (3, 2, 50);

        let expected = LoadStatus {
            prompt_tokens_per_second: 20.0,
            generated_tokens_per_second: 100.5,
            running: 3,
            waiting: 2,
            kv_cache_percent: 12.5,
            prefix_hit_percent: Some(33.3),
        };
        assert_eq!(LoadStatus::of(&before, &now), Some(expected));
    }

    #[test]
    fn an_idle_server_has_no_line_and_one_whose_sequences_only_wait_has() {
        let begun = Instant::now();
        let before = counts(begun, 7, EngineTotals::default());
        let mut now = counts(begun + Duration::from_secs(10), 7, EngineTotals::default());

        assert_eq!(LoadStatus::of(&before, &now), None);
        let tested = Counts { generated: 8, tests: 1, totals: EngineTotals { prefill_rows: 1, ..now.totals }, ..now };
        assert_eq!(LoadStatus::of(&before, &tested), None, "a test");
        now.gauges.waiting = 1;
        let status = LoadStatus::of(&before, &now).unwrap();
        assert_eq!((status.waiting, status.generated_tokens_per_second, status.prefix_hit_percent), (1, 0.0, None));
    }
}
