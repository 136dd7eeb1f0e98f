//! CPU time and memory of a process, as the kernel counts them.

use procfs::process::Process;
use std::time::Duration;

/// CPU time of all threads of a process since it began, to 10 ms. `None` if it is gone.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
    let ticks = stat.utime + stat.stime;
    Some(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
}

/// Bytes of memory that a process holds. `None` if it is gone.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = Process::new(i32::try_from(pid).ok()?).ok()?.statm().ok()?;
    Some(statm.resident * procfs::page_size())
}

/// Bytes of memory that this process holds.
pub(super) fn own_resident_bytes() -> Option<u64> {
    resident_bytes(std::process::id())
}

/// Bytes of addresses that this process has mapped; `RLIMIT_AS` limits them.
pub(super) fn own_address_space() -> Option<u64> {
    let statm = Process::myself().ok()?.statm().ok()?;
    Some(statm.size * procfs::page_size())
}
