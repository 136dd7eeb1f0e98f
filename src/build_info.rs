//! What this binary was built from; stamped by `build.rs`.
