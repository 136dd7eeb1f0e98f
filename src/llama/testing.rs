//! The model of this folder's tests, and a measure of work that does not depend on the machine's other programs.

use rustix::time::{ClockId, clock_gettime};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The file in `LLAMERO_TEST_MODEL`, or the default model in this repository; without either, says so and is `None`.
pub(super) fn model_path() -> Option<PathBuf> {
    let path = std::env::var_os("LLAMERO_TEST_MODEL")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models/smollm2-135m-instruct.gguf"), PathBuf::from);
    let found = path.is_file();
    if !found {
        eprintln!("SKIPPED: no model at {}; set LLAMERO_TEST_MODEL", path.display());
    }
    found.then_some(path)
}

/// The CPU time of this thread that `work` takes, and what it gives. Unlike the time of a clock it is the same beside other programs.
pub(super) fn cpu_time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let used = || {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec.try_into().unwrap(), used.tv_nsec.try_into().unwrap())
    };
    let before = used();
    let result = work();
    (result, used() - before)
}
