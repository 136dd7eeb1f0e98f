//! Metrics, the request log and process readings.
//!
//! Names, units and buckets are in one table (`metrics`); `generation` and `embedding` record each generation or
//! request exactly once; `log_writer` writes log lines and never delays the threads that log. Never sees a prompt, a
//! completion or a key.

pub mod embedding;
pub mod generation;
pub mod log_writer;
pub mod metrics;

/// A time in seconds for a log line: of a tenth of a millisecond, because more digits would only be noise.
#[must_use]
pub fn logged_seconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 1e4
}

pub use embedding::{EmbeddingRecord, record_embedding};
pub use generation::{GenerationRecord, Outcome, record_generation, record_itl};
