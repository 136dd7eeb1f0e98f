//! Metrics, the request log and process readings.
//!
//! Names, units and buckets are in one table (`metrics/table.rs`); `generation` and `embedding` record each generation
//! or request exactly once, `steps` counts tokens step by step, `http` counts requests by route, and `engine_process`
//! reads the engine's memory and CPU time; `log_writer` writes log lines and never delays the threads that log;
//! `traces` makes OpenTelemetry's spans from the records. Never
//! sees a prompt, a completion or a key.

pub mod embedding;
pub mod engine_process;
pub mod generation;
pub mod http;
mod log_file;
pub mod log_writer;
pub mod metrics;
pub mod steps;
pub mod traces;

/// A time in seconds for a log line: of a tenth of a millisecond, because more digits would only be noise.
#[must_use]
pub fn logged_seconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 1e4
}

pub use embedding::{EmbeddingRecord, record_embedding};
pub use generation::{GenerationRecord, Outcome, record_first_token, record_generation, record_itl, record_prompt};
pub use metrics::record_warnings;
