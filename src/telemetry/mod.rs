//! Metrics and logs.

pub mod generation;

pub use generation::{GenerationRecord, Outcome, record_generation, record_itl};

/// The page of `/metrics`, in Prometheus' text format.
#[must_use]
pub fn render() -> String {
    String::new()
}
