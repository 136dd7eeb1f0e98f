//! Measures how many cores other programs keep busy, by the kernel's counts for each core that this process may run on.
//!
//! Reads `/proc/stat` at most four times a second. The result is unknown if that cannot be read, or lacks counts for
//! these cores.

use procfs::{CpuTime, CurrentSI, KernelStats};
use rustix::{
    thread::{CpuSet, sched_getaffinity},
    time::{ClockId, clock_gettime},
};
use std::time::{Duration, Instant};

/// Minimum time between two readings: the kernel counts in hundredths of a second.
const WINDOW: Duration = Duration::from_millis(250);
/// An earlier reading that is older than this says nothing about the present.
const STALE: Duration = Duration::from_secs(2);

/// The use of the cores between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CoreUse {
    /// Cores that this process may run on.
    pub(super) cores: f64,
    /// Cores that other programs kept busy, from 0 to `cores`.
    pub(super) others: f64,
}

/// Reads the counts from time to time, if there are as many cores as threads. Otherwise they tell too little: they do
/// not show whether two hardware threads of one core slow each other down, and those of a whole machine do not show how
/// much of a quota is left.
#[derive(Debug)]
pub(super) struct Neighbours {
    threads: u32,
    last: Option<Look>,
    /// Time of the last attempt to read the counts.
    tried: Option<Instant>,
}

/// Totals of the kernel's counts at one time.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    /// Idle time of all cores together that this process may run on.
    idle: Duration,
    /// CPU time of this process.
    ours: Duration,
    cores: u32,
}

impl Neighbours {
    /// Creates a reader for a process that computes with at most `threads` threads.
    pub(super) fn new(threads: u32) -> Self {
        Self { threads, last: None, tried: None }
    }

    /// The use of the cores since the last reading; `None` if that was too short or too long ago, or the use is
    /// unknown.
    pub(super) fn look(&mut self) -> Option<CoreUse> {
        let now = Instant::now();
        if self.tried.is_some_and(|tried| now - tried < WINDOW) {
            return None;
        }
        self.tried = Some(now);
        let look = Look::take(now, self.threads);
        let before = std::mem::replace(&mut self.last, look);
        look?.since(&before?)
    }
}

impl Look {
    fn take(at: Instant, cores: u32) -> Option<Self> {
        let allowed = sched_getaffinity(None).ok().filter(|allowed| allowed.count() == cores)?;
        let stats = KernelStats::current().ok()?;
        // The lines are in the order of the cores that are online. If one is offline, the numbers of those after it are
        // unknown.
        if stats.cpu_time.len() <= (0..CpuSet::MAX_CPU).rfind(|cpu| allowed.is_set(*cpu))? {
            return None;
        }
        let idle: Vec<Duration> =
            stats.cpu_time.iter().enumerate().filter(|(cpu, _)| allowed.is_set(*cpu)).map(|(_, time)| idle(time)).collect();
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let ours = Duration::new(used.tv_sec.try_into().ok()?, used.tv_nsec.try_into().ok()?);
        Some(Self { at, idle: idle.iter().sum(), ours, cores })
    }

    /// The use since the reading `before`; `None` if that is too old.
    fn since(&self, before: &Self) -> Option<CoreUse> {
        let elapsed = self.at - before.at;
        if elapsed > STALE {
            return None;
        }
        let (cores, elapsed) = (f64::from(self.cores), elapsed.as_secs_f64());
        let share = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / elapsed;
        let others = cores - share(self.idle, before.idle) - share(self.ours, before.ours);
        Some(CoreUse { cores, others: others.clamp(0.0, cores) })
    }
}

/// Idle time of a core; waiting for a disk counts as idle.
fn idle(time: &CpuTime) -> Duration {
    time.idle_duration() + time.iowait_duration().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Instant, idle: f64, ours: f64, cores: u32) -> Look {
        Look { at, idle: Duration::from_secs_f64(idle), ours: Duration::from_secs_f64(ours), cores }
    }

    #[test]
    fn what_is_neither_idle_nor_ours_is_others() {
        let begun = Instant::now();
        let before = look(begun, 100.0, 10.0, 4);

        let after = look(begun + Duration::from_secs(2), 102.0, 12.0, 4);

        assert_eq!(after.since(&before), Some(CoreUse { cores: 4.0, others: 2.0 }));
    }

    #[test]
    fn counts_that_do_not_add_up_give_no_impossible_number_and_old_ones_none() {
        let begun = Instant::now();
        let before = look(begun, 100.0, 10.0, 2);
        let at = begun + Duration::from_secs(1);

        assert_eq!(look(at, 102.0, 11.0, 2).since(&before), Some(CoreUse { cores: 2.0, others: 0.0 }));
        assert_eq!(look(at, 90.0, 0.0, 2).since(&before), Some(CoreUse { cores: 2.0, others: 2.0 }));
        assert_eq!(look(begun + Duration::from_secs(60), 160.0, 11.0, 2).since(&before), None, "a mean over a minute is not the present");
    }

    #[test]
    fn where_there_are_not_as_many_cores_as_threads_nothing_is_known() {
        let cores = sched_getaffinity(None).unwrap().count();

        for other in [cores - 1, cores + 1, 8 * cores] {
            assert!(Look::take(Instant::now(), other).is_none(), "{other} threads on {cores} cores");
        }
    }

    #[test]
    fn two_looks_at_once_are_one() {
        let mut neighbours = Neighbours::new(2);

        assert_eq!(neighbours.look(), None, "the first has nothing to compare with");
        assert_eq!(neighbours.look(), None);
    }
}
