//! Requests per minute of each key (GCRA by `governor`).

/// Counts requests per principal.
#[derive(Debug)]
pub struct RequestLimiter {}
