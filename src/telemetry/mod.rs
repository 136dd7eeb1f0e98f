//! Metrics and logs.

pub mod generation;

pub use generation::{GenerationRecord, Outcome, record_generation, record_itl};
