//! Tells by CPU time whether work grows with its size or with its square. The answer is the same on slow machines and
//! beside other programs.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Maximum growth of the CPU time for four times the size: a linear pass takes four times as long, a quadratic one
/// sixteen times.
const MAX_GROWTH: u32 = 9;
/// A CPU time below this says nothing: caches and page faults dominate it.
const NOISE: Duration = Duration::from_millis(50);

/// Does `work` on this thread for a quarter of `size` and for all of it, and fails if the time grows far more than the
/// size. Returns the result for all of it.
#[track_caller]
pub(crate) fn assert_linear<T>(what: &str, size: usize, work: impl Fn(usize) -> T) -> T {
    let (_, quarter) = cpu_time(|| work(size / 4));
    let (result, whole) = cpu_time(|| work(size));
    assert!(whole < MAX_GROWTH * quarter.max(NOISE), "{what}, {size}: {whole:?} after {quarter:?}");
    result
}

fn cpu_time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let used = || {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec.try_into().unwrap(), used.tv_nsec.try_into().unwrap())
    };
    let before = used();
    let result = work();
    (result, used() - before)
}
