//! Exact steps.
