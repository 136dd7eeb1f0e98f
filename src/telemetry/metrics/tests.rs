//! The page of metrics: names and values, and what is there before anything has happened.

use super::*;
use crate::protocol::{EngineGauges, EngineTotals};
use std::sync::{Mutex, PoisonError};

fn reading(stats: EngineStats) -> EngineReading {
    let process = ProcessReading { cpu_seconds: 1.25, resident_bytes: 4096, virtual_bytes: 8192, threads: 3 };
    let cache = CacheFacts { kv_cells: 100, kv_type: "q8_0".to_owned(), swap_bytes: 1000 };
    EngineReading {
        up: true,
        still: Duration::from_secs(3),
        stats,
        deaths: BTreeMap::from([("signal_9", 1), ("stalled", 0)]),
        process,
        cache: Some(cache),
    }
}

/// The page after a reading. Tests of this process share the recorder, so one test at a time observes and renders.
fn page_of(stats: EngineStats) -> String {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    install("test-model").unwrap();
    render(&reading(stats))
}

#[test]
fn the_page_has_vllms_names_and_values() {
    let gauges =
        EngineGauges { running: 2, waiting: 3, deferred: 1, kv_cells_used: 25, kv_cells_total: 100, threads: 3, parked_bytes: 500 };
    let totals = EngineTotals { steps: 14, prefix_hits: 5, ..EngineTotals::default() };

    let page = page_of(EngineStats { gauges, totals });

    for line in [
        "vllm:num_requests_running{model_name=\"test-model\"} 2",
        "vllm:num_requests_waiting_by_reason{model_name=\"test-model\",reason=\"capacity\"} 2",
        "vllm:num_requests_waiting_by_reason{model_name=\"test-model\",reason=\"deferred\"} 1",
        "vllm:kv_cache_usage_perc{model_name=\"test-model\"} 0.25",
        "vllm:gpu_cache_usage_perc{model_name=\"test-model\"} 0.25",
        "vllm:cpu_cache_usage_perc{model_name=\"test-model\"} 0.5",
        "vllm:gpu_prefix_cache_hits_total{model_name=\"test-model\"} 5",
        "llamero:engine_steps_total{model_name=\"test-model\"} 14",
        "llamero:engine_threads{model_name=\"test-model\"} 3",
        "llamero:engine_deaths_total{model_name=\"test-model\",cause=\"signal_9\"} 1",
        "llamero:engine_deaths_total{model_name=\"test-model\",cause=\"stalled\"} 0",
        "llamero:engine_process_resident_memory_bytes{model_name=\"test-model\"} 4096",
        "llamero:engine_process_cpu_seconds_total{model_name=\"test-model\"} 1.25",
        "llamero:log_lines_lost_total{model_name=\"test-model\"} 0",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
    let info = page.lines().find(|line| line.starts_with("vllm:cache_config_info{")).unwrap();
    assert!(info.contains("num_gpu_blocks=\"100\"") && info.contains("cache_dtype=\"q8_0\"") && info.ends_with(" 1"), "{info}");
}

#[test]
fn every_series_of_a_closed_set_is_there_before_anything_has_happened() {
    let page = page_of(EngineStats::default());

    for (name, buckets, _) in HISTOGRAMS.iter().filter(|(name, ..)| *name != name::HTTP_SECONDS) {
        let of_buckets = page.lines().filter(|line| line.starts_with(&format!("{name}_bucket{{"))).count();
        assert_eq!(of_buckets, buckets.len() + 1, "{name}");
    }
    // Those of routes are registered with the routes.
    for (name, _) in COUNTERS.iter().filter(|(name, _)| *name != name::HTTP_REQUESTS) {
        assert!(page.contains(&format!("\n{name}{{")), "{name} is missing in\n{page}");
    }
    for (name, _) in GAUGES {
        assert!(page.contains(&format!("\n{name}{{")), "{name} is missing in\n{page}");
    }
    for status in REFUSED_STATUSES {
        assert!(page.contains(&format!("llamero:requests_refused_total{{model_name=\"test-model\",status=\"{status}\"}}")), "{status}");
    }
}

#[test]
fn bounds_of_buckets_are_written_as_vllm_writes_them() {
    let page = page_of(EngineStats::default());

    for bound in ["1.0", "0.75", "10.0", "+Inf"] {
        let bucket = format!("vllm:time_to_first_token_seconds_bucket{{model_name=\"test-model\",le=\"{bound}\"}}");
        assert!(page.contains(&bucket), "{bucket} is missing in\n{page}");
    }
}
