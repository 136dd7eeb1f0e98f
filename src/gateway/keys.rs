//! API keys: hashed in memory, compared in constant time.

/// The accepted keys.
#[derive(Debug)]
pub struct KeyRing {}
