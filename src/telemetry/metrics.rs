//! The recorder of metrics, and the one place that renders them. The metrics themselves stand in `table`.
//!
//! Every series with a closed set of labels exists from the first scrape on: `increase()` does not count the first
//! value of a series that was not there before.

mod page;
mod table;

pub use table::{REFUSED_STATUSES, WarningName};
pub(super) use table::{STATUS_CLASSES, name};

use super::{engine_process::ProcessReading, log_writer};
use crate::protocol::EngineStats;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};
use table::{COUNTERS, FINISHED_REASONS, GAUGES, HISTOGRAMS, PROMPT_SOURCES};

static HANDLE: OnceLock<Recording> = OnceLock::new();
static INSTALLING: Mutex<()> = Mutex::new(());

/// The installed recorder.
struct Recording {
    handle: PrometheusHandle,
    model_name: String,
}

/// The values that `/metrics` reads from the gateway for each scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineReading {
    /// True if the engine serves.
    pub up: bool,
    /// Time since the engine last did what it has to.
    pub still: Duration,
    /// The engine's latest report, with totals since the gateway started.
    pub stats: EngineStats,
    /// Deaths so far by cause: all causes of a closed set.
    pub deaths: BTreeMap<&'static str, u64>,
    /// The engine's process; zeros while there is none.
    pub process: ProcessReading,
    /// The KV cache of the model, once it was loaded and if it generates.
    pub cache: Option<CacheFacts>,
}

/// The labels of `vllm:cache_config_info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFacts {
    /// Number of KV cells, tokens.
    pub kv_cells: u32,
    /// Storage type of keys and values.
    pub kv_type: String,
    /// Host memory for cached prompts, bytes.
    pub swap_bytes: u64,
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
    let recording = Recording { handle: builder.install_recorder()?, model_name: model_name.to_owned() };
    // It cannot be set already: the lock is held and it was empty.
    drop(HANDLE.set(recording));
    describe();
    begin_at_zero();
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
}

/// Registers every series whose labels are known. Those of routes are registered by `http`, and those of deaths are
/// read from the gateway.
fn begin_at_zero() {
    for (name, ..) in HISTOGRAMS.iter().filter(|(name, ..)| *name != name::HTTP_SECONDS) {
        // A histogram without values has all of its buckets.
        let _registered = histogram!(*name);
    }
    for name in [name::PROMPT_TOTAL, name::GENERATION_TOTAL, name::CACHED_TOTAL, name::EMBEDDED_TOTAL] {
        counter!(name).absolute(0);
    }
    for source in PROMPT_SOURCES {
        counter!(name::PROMPT_SOURCES, "source" => source).absolute(0);
    }
    for reason in FINISHED_REASONS {
        counter!(name::SUCCESS, "finished_reason" => reason).absolute(0);
    }
    for warning in WarningName::ALL {
        counter!(name::WARNINGS, "warning" => warning.text()).absolute(0);
    }
    for status in REFUSED_STATUSES {
        counter!(name::REFUSED, "status" => status.to_string()).absolute(0);
    }
}

/// Counts the warnings of a request.
pub fn record_warnings(names: &[WarningName]) {
    for warning in names {
        counter!(name::WARNINGS, "warning" => warning.text()).increment(1);
    }
}

/// Folds samples into their buckets; otherwise histograms grow for ever (the exporter's documentation). To be called
/// every few seconds.
pub fn run_upkeep() {
    if let Some(recording) = HANDLE.get() {
        recording.handle.run_upkeep();
    }
}

/// Counts a request that was answered with this error status; the server's statuses are a closed set.
pub fn count_refusal(status: u16) {
    counter!(name::REFUSED, "status" => status.to_string()).increment(1);
}

/// The text of `/metrics`; empty before [`install`].
#[must_use]
pub fn render(engine: &EngineReading) -> String {
    let Some(Recording { handle, model_name }) = HANDLE.get() else { return String::new() };
    observe(engine);
    metrics_process::Collector::default().collect();
    let mut text = page::with_float_bounds(&handle.render());
    page::write_engine_process(&mut text, model_name, &engine.process);
    text
}

fn observe(engine: &EngineReading) {
    let EngineStats { gauges, totals } = &engine.stats;
    counter!(name::LOG_LINES_LOST).absolute(log_writer::lines_lost());
    observe_gauges(engine);
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
        ("vllm:gpu_prefix_cache_queries_total", totals.prefix_queries),
        ("vllm:gpu_prefix_cache_hits_total", totals.prefix_hits),
    ] {
        counter!(name).absolute(total);
    }
    for (cause, count) in &engine.deaths {
        counter!(name::DEATHS, "cause" => *cause).absolute(*count);
    }
    let waiting = gauges.waiting.saturating_sub(gauges.deferred);
    for (reason, number) in [("capacity", waiting), ("deferred", gauges.deferred)] {
        gauge!(name::WAITING_BY_REASON, "reason" => reason).set(f64::from(number));
    }
    if let Some(CacheFacts { kv_cells, kv_type, swap_bytes }) = &engine.cache {
        let labels = [
            ("block_size", "1".to_owned()),
            ("num_gpu_blocks", kv_cells.to_string()),
            ("cache_dtype", kv_type.clone()),
            ("enable_prefix_caching", "True".to_owned()),
            ("swap_space_bytes", swap_bytes.to_string()),
        ];
        gauge!(name::CACHE_CONFIG, &labels).set(1.0);
    }
}

fn observe_gauges(engine: &EngineReading) {
    let gauges = &engine.stats.gauges;
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let cells = share(f64::from(gauges.kv_cells_used), f64::from(gauges.kv_cells_total));
    // Exact up to 2⁵³ bytes; the same below.
    let parked = gauges.parked_bytes as f64;
    let swap_space = engine.cache.as_ref().map_or(0.0, |cache| cache.swap_bytes as f64);
    for (name, value) in [
        ("llamero:engine_up", f64::from(u8::from(engine.up))),
        ("llamero:engine_still_seconds", engine.still.as_secs_f64()),
        ("llamero:engine_threads", f64::from(gauges.threads)),
        ("llamero:parked_bytes", parked),
        ("llamero:engine_process_resident_memory_bytes", engine.process.resident_bytes as f64),
        ("llamero:engine_process_virtual_memory_bytes", engine.process.virtual_bytes as f64),
        ("llamero:engine_process_threads", engine.process.threads as f64),
        ("vllm:num_requests_running", f64::from(gauges.running)),
        ("vllm:num_requests_waiting", f64::from(gauges.waiting)),
        ("vllm:num_requests_swapped", 0.0),
        ("vllm:kv_cache_usage_perc", cells),
        ("vllm:gpu_cache_usage_perc", cells),
        ("vllm:cpu_cache_usage_perc", share(parked, swap_space)),
    ] {
        gauge!(name).set(value);
    }
}

#[cfg(test)]
mod tests;
