//! A measure of work that is the same beside other programs.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The CPU time of this thread that `work` takes, and what it gives.
pub(crate) fn cpu_time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let used = || {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec.try_into().unwrap(), used.tv_nsec.try_into().unwrap())
    };
    let before = used();
    let result = work();
    (result, used() - before)
}
