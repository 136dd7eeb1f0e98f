//! The table of metrics, the recorder, and the only place that renders them.
//!
//! Metrics have vLLM's names, meanings and buckets where vLLM has such a metric, so that its dashboards and the
//! schedulers that read it work unchanged; all others begin with `llamero:`. Labels come from closed sets, so that no
//! client can enlarge the page.

use super::log_writer;
use crate::protocol::EngineStats;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Names used elsewhere in `telemetry`; each is in a row of the tables below.
pub(super) mod name {
    pub(in crate::telemetry) const TTFT: &str = "vllm:time_to_first_token_seconds";
    pub(in crate::telemetry) const ITL: &str = "vllm:inter_token_latency_seconds";
    pub(in crate::telemetry) const TPOT: &str = "vllm:request_time_per_output_token_seconds";
    pub(in crate::telemetry) const E2E: &str = "vllm:e2e_request_latency_seconds";
    pub(in crate::telemetry) const QUEUE: &str = "vllm:request_queue_time_seconds";
    pub(in crate::telemetry) const PROMPT_TOKENS: &str = "vllm:request_prompt_tokens";
    pub(in crate::telemetry) const GENERATION_TOKENS: &str = "vllm:request_generation_tokens";
    pub(in crate::telemetry) const PROMPT_TOTAL: &str = "vllm:prompt_tokens_total";
    pub(in crate::telemetry) const GENERATION_TOTAL: &str = "vllm:generation_tokens_total";
    pub(in crate::telemetry) const CACHED_TOTAL: &str = "llamero:cached_prompt_tokens_total";
    pub(in crate::telemetry) const EMBEDDED_TOTAL: &str = "llamero:embedded_inputs_total";
    pub(in crate::telemetry) const SUCCESS: &str = "vllm:request_success_total";
    pub(in crate::telemetry) const REFUSED: &str = "llamero:requests_refused_total";
    pub(in crate::telemetry) const LOG_LINES_LOST: &str = "llamero:log_lines_lost_total";
}

/// vLLM's buckets, seconds (vllm/v1/metrics/loggers.py).
const TTFT_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0];
const ITL_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
const REQUEST_BUCKETS: &[f64] =
    &[0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0];
/// Buckets in 1-2-5 steps, tokens.
const TOKEN_BUCKETS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0, 100_000.0, 200_000.0];

/// Name, buckets and help text of each histogram.
const HISTOGRAMS: &[(&str, &[f64], &str)] = &[
    (name::TTFT, TTFT_BUCKETS, "From receipt of the request to its first token."),
    (name::ITL, ITL_BUCKETS, "Gap between neighbouring tokens of a choice, one value per gap."),
    (name::TPOT, ITL_BUCKETS, "(last - first token) / (completion tokens - 1), one value per request."),
    (name::E2E, REQUEST_BUCKETS, "From receipt of the request to its last byte."),
    (name::QUEUE, REQUEST_BUCKETS, "From the engine's receipt of a sequence to its first scheduled row."),
    (name::PROMPT_TOKENS, TOKEN_BUCKETS, "Prompt tokens of a request."),
    (name::GENERATION_TOKENS, TOKEN_BUCKETS, "Completion tokens of a request, over all its choices."),
];

/// Name and help text of each counter.
const COUNTERS: &[(&str, &str)] = &[
    (name::PROMPT_TOTAL, "Prompt tokens of finished requests."),
    (name::GENERATION_TOTAL, "Completion tokens of finished requests."),
    (name::CACHED_TOTAL, "Prompt tokens that were taken from the prefix cache."),
    (name::EMBEDDED_TOTAL, "Inputs that vectors or scores were computed for."),
    (name::SUCCESS, "Generations, and requests for vectors, by how they ended: stop, length, abort (the client left), error."),
    (name::REFUSED, "Requests answered with an error status, by status."),
    ("vllm:num_preemptions_total", "Sequences put back to wait because the KV cache was full."),
    ("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache."),
    ("vllm:prefix_cache_hits_total", "Prompt tokens found there."),
    ("llamero:parked_tokens_total", "Tokens whose KV was saved to host memory (--swap-space)."),
    ("llamero:loaded_tokens_total", "Tokens whose KV was loaded from there instead of being computed."),
    ("llamero:restored_tokens_total", "Tokens whose KV was read from disk at the start (--prefix-cache-dir)."),
    ("llamero:kv_cache_resets_total", "Times that the KV cache was dropped because its record contradicted itself; a bug."),
    ("llamero:prefill_rows_total", "Prompt rows computed."),
    ("llamero:forced_tokens_total", "Tokens that a constraint left no choice about, computed together with the one before."),
    ("vllm:spec_decode_num_draft_tokens_total", "Tokens guessed ahead and computed to see whether they are right."),
    ("vllm:spec_decode_num_accepted_tokens_total", "Of these, the ones that were."),
    ("llamero:engine_steps_total", "Steps the engine finished."),
    ("llamero:engine_deaths_total", "Engine processes that ended unasked, by cause."),
    (name::LOG_LINES_LOST, "Log lines that could not be written: standard error was closed or full, or its reader stalled."),
];

/// Name and help text of each gauge.
const GAUGES: &[(&str, &str)] = &[
    ("vllm:num_requests_running", "Sequences that hold a slot."),
    ("vllm:num_requests_waiting", "Sequences that wait for one."),
    ("vllm:kv_cache_usage_perc", "Share of KV cells that running sequences hold, 0-1."),
    ("llamero:engine_threads", "CPU threads of a step at the moment; fewer than at the start while other programs want the cores."),
    ("llamero:parked_bytes", "Bytes of KV in host memory (--swap-space)."),
    ("llamero:engine_up", "1 while the engine serves."),
];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
static INSTALLING: Mutex<()> = Mutex::new(());
/// The values that `/metrics` reads from the gateway for each scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineReading {
    /// True if the engine serves.
    pub up: bool,
    /// The engine's latest report, with totals since the gateway started.
    pub stats: EngineStats,
    /// Deaths so far by cause; the causes are a closed set of labels.
    pub deaths: Vec<(String, u64)>,
}

/// Installs the recorder of this process. The second and later calls change nothing.
///
/// # Errors
/// Another recorder is installed already.
pub fn install(model_name: &str) -> Result<(), BuildError> {
    // One call at a time: the recorder is set before the handle is kept. Poison means that another call panicked;
    // then `HANDLE` shows whether it had finished.
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if HANDLE.get().is_some() {
        return Ok(());
    }
    let mut builder = PrometheusBuilder::new().add_global_label("model_name", model_name);
    for (name, buckets, _) in HISTOGRAMS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
    }
    // It cannot be set already: the lock is held and it was empty.
    drop(HANDLE.set(builder.install_recorder()?));
    describe();
    Ok(())
}

fn describe() {
    for (name, _, help) in HISTOGRAMS {
        describe_histogram!(*name, *help);
    }
    for (name, help) in COUNTERS {
        describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(*name, *help);
    }
    metrics_process::Collector::default().describe();
    // These labels exist from the first scrape on, so that a rate over them has a start.
    for reason in ["stop", "length", "abort", "error"] {
        counter!(name::SUCCESS, "finished_reason" => reason).absolute(0);
    }
    for name in [name::PROMPT_TOTAL, name::GENERATION_TOTAL, name::CACHED_TOTAL, name::EMBEDDED_TOTAL] {
        counter!(name).absolute(0);
    }
}

/// Folds samples into their buckets; otherwise histograms grow for ever (the exporter's documentation). To be called
/// every few seconds.
pub fn run_upkeep() {
    if let Some(handle) = HANDLE.get() {
        handle.run_upkeep();
    }
}

/// Counts a request that was answered with this error status; the server's statuses are a closed set.
pub fn count_refusal(status: u16) {
    counter!(name::REFUSED, "status" => status.to_string()).increment(1);
}

/// The text of `/metrics`; empty before [`install`].
#[must_use]
pub fn render(engine: &EngineReading) -> String {
    let Some(handle) = HANDLE.get() else { return String::new() };
    observe(engine);
    metrics_process::Collector::default().collect();
    handle.render()
}

fn observe(engine: &EngineReading) {
    let EngineStats { gauges, totals } = &engine.stats;
    counter!(name::LOG_LINES_LOST).absolute(log_writer::lines_lost());
    gauge!("llamero:engine_up").set(f64::from(u8::from(engine.up)));
    gauge!("vllm:num_requests_running").set(f64::from(gauges.running));
    gauge!("vllm:num_requests_waiting").set(f64::from(gauges.waiting));
    gauge!("llamero:engine_threads").set(f64::from(gauges.threads));
    let used = if gauges.kv_cells_total == 0 { 0.0 } else { f64::from(gauges.kv_cells_used) / f64::from(gauges.kv_cells_total) };
    gauge!("vllm:kv_cache_usage_perc").set(used);
    // Exact up to 2⁵³ bytes.
    gauge!("llamero:parked_bytes").set(gauges.parked_bytes as f64);
    for (name, total) in [
        ("llamero:engine_steps_total", totals.steps),
        ("llamero:parked_tokens_total", totals.parked_tokens),
        ("llamero:loaded_tokens_total", totals.loaded_tokens),
        ("llamero:restored_tokens_total", totals.restored_tokens),
        ("llamero:kv_cache_resets_total", totals.cache_resets),
        ("llamero:prefill_rows_total", totals.prefill_rows),
        ("llamero:forced_tokens_total", totals.forced_rows),
        ("vllm:spec_decode_num_draft_tokens_total", totals.draft_rows),
        ("vllm:spec_decode_num_accepted_tokens_total", totals.drafts_accepted),
        ("vllm:num_preemptions_total", totals.preemptions),
        ("vllm:prefix_cache_queries_total", totals.prefix_queries),
        ("vllm:prefix_cache_hits_total", totals.prefix_hits),
    ] {
        counter!(name).absolute(total);
    }
    for (cause, count) in &engine.deaths {
        counter!("llamero:engine_deaths_total", "cause" => cause.clone()).absolute(*count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{EngineGauges, EngineTotals};

    #[test]
    fn the_page_has_vllms_names_and_values() {
        install("test-model").unwrap();
        let stats = EngineStats {
            gauges: EngineGauges { running: 2, kv_cells_used: 25, kv_cells_total: 100, threads: 3, ..EngineGauges::default() },
            totals: EngineTotals { steps: 14, ..EngineTotals::default() },
        };

        let page = render(&EngineReading { up: true, stats, deaths: vec![("signal_9".to_owned(), 1)] });

        for line in [
            "vllm:num_requests_running{model_name=\"test-model\"} 2",
            "vllm:kv_cache_usage_perc{model_name=\"test-model\"} 0.25",
            "llamero:engine_steps_total{model_name=\"test-model\"} 14",
            "llamero:engine_threads{model_name=\"test-model\"} 3",
            "llamero:engine_deaths_total{model_name=\"test-model\",cause=\"signal_9\"} 1",
            "llamero:log_lines_lost_total{model_name=\"test-model\"} 0",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn every_histogram_has_rising_buckets() {
        for (name, buckets, _) in HISTOGRAMS {
            assert!(buckets.is_sorted_by(|a, b| a < b), "{name}");
        }
    }
}
