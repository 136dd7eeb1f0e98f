//! What stands between HTTP and an engine: keys, limits, admission, supervision, replay.
//!
//! Never names llama.cpp and knows no status code.

pub mod handle;
pub mod keys;
pub mod limits;
pub mod supervisor;
