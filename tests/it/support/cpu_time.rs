//! Whether work grows with its size or with its square, by CPU time: the answer is the same on slow machines and beside
//! other programs.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Four times the size may take nine times the CPU time: a linear pass takes four times as much, a quadratic one
/// sixteen times.
const MAX_GROWTH: u32 = 9;
/// Less CPU time than this says nothing: caches and page faults decide it.
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
