//! The one integration binary: each test binary links all of llama.cpp.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

mod support;

mod batch_invariance;
mod constraints;
mod fairness;
mod families;
mod http;
mod model;
mod prefix_cache;
mod speculation;
mod tidy;
mod windowed;
