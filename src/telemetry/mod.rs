//! Metrics, the request log and process readings.
//!
//! Names, units and buckets stand in one table (`metrics`); `generation` records each request exactly once.
//! Never sees a prompt, a completion or a key.

pub mod metrics;
