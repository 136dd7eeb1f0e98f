//! The origin of this binary: release, commit, engine versions and Cargo features; stamped by `build.rs`.
//!
//! Read by `llamero --version` and the start-up summary. Says nothing about the machine that the binary runs on.

/// The release, from Cargo.toml.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Git commit in 12 hex digits, or `unknown` when it was built outside a git checkout.
pub const COMMIT: &str = env!("LLAMERO_COMMIT");

/// The engine's crates and ggml with their versions, as in `vendor/engine.toml`.
pub const ENGINE: &str = env!("LLAMERO_ENGINE");

/// Cargo features such as `cuda`, sorted and joined by commas; empty for the plain CPU build.
pub const FEATURES: &str = env!("LLAMERO_FEATURES");

/// Release, commit, engine and features in lines, for `llamero --version`; the first line continues the program's name.
#[must_use]
pub fn long_version() -> String {
    let features = if FEATURES.is_empty() { "none (CPU)" } else { FEATURES };
    format!("{VERSION} (commit {COMMIT})\nengine: {ENGINE}\nfeatures: {features}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_version_names_release_commit_engine_and_features() {
        let text = long_version();

        assert!(text.starts_with(VERSION), "{text}");
        assert!(text.contains(&format!("commit {COMMIT}")), "{text}");
        assert!(text.contains("llama-cpp-2 0."), "{text}");
        assert!(text.contains("\nfeatures: "), "{text}");
    }

    #[test]
    fn the_commit_is_short_hex_or_unknown() {
        let is_hex = COMMIT.len() >= 12 && COMMIT.bytes().all(|byte| byte.is_ascii_hexdigit());

        assert!(is_hex || COMMIT == "unknown", "{COMMIT:?}");
    }
}
