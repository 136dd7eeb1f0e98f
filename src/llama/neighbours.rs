//! How many cores other programs keep busy, by the kernel's counts for each core that this process may run on.
//!
//! Reads `/proc/stat` four times a second at most; where that cannot be read, or says nothing of our cores, nothing is
//! known.

use procfs::{CpuTime, CurrentSI, KernelStats};
use rustix::{
    thread::{CpuSet, sched_getaffinity},
    time::{ClockId, clock_gettime},
};
use std::time::{Duration, Instant};

/// Between two looks, at least: the kernel counts in hundredths of a second.
const WINDOW: Duration = Duration::from_millis(250);
/// A look longer ago says nothing of the present.
const STALE: Duration = Duration::from_secs(2);

/// The use of the cores between two looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CoreUse {
    /// Cores that this process may run on.
    pub(super) cores: f64,
    /// Cores that other programs kept busy, from 0 to `cores`.
    pub(super) others: f64,
}

/// Looks now and then, where there are as many cores as threads: of two hardware threads on one core the kernel's
/// counts do not say whether they are in each other's way, nor do those of a whole machine say what a quota of it
/// leaves.
#[derive(Debug)]
pub(super) struct Neighbours {
    threads: u32,
    last: Option<Look>,
    /// When the last look was tried.
    tried: Option<Instant>,
}

/// Totals at one time.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    /// Of all cores together that this process may run on.
    idle: Duration,
    /// CPU time of this process.
    ours: Duration,
    cores: u32,
}

impl Neighbours {
    /// Of a process that computes with so many threads at most.
    pub(super) fn new(threads: u32) -> Self {
        Self { threads, last: None, tried: None }
    }

    /// The use of the cores since the last look, if that is long enough ago.
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
        // Lines have the order of the cores that are online. Where one is not, the numbers of those after it are
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

    /// `None` after a long time.
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

/// Waiting for a disk is idle too.
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
