//! The model of this folder's tests.

use std::path::{Path, PathBuf};

/// The file in `LLAMERO_TEST_MODEL`, or the default model in this repository. Without either, prints that and returns
/// `None`.
pub(super) fn model_path() -> Option<PathBuf> {
    let path = std::env::var_os("LLAMERO_TEST_MODEL")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models/smollm2-135m-instruct.gguf"), PathBuf::from);
    let found = path.is_file();
    if !found {
        eprintln!("SKIPPED: no model at {}; set LLAMERO_TEST_MODEL", path.display());
    }
    found.then_some(path)
}
