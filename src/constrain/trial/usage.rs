//! CPU time and memory of a process, as the kernel counts them.

use procfs::process::Process;
use std::time::Duration;

/// CPU time of all threads of a process since it began, exact to 10 ms. `None` if the process is gone.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
    let ticks = stat.utime + stat.stime;
    Some(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
}

/// Memory that a process holds, bytes. `None` if the process is gone.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = Process::new(i32::try_from(pid).ok()?).ok()?.statm().ok()?;
    Some(statm.resident * procfs::page_size())
}

/// Memory that this process holds, bytes.
pub(super) fn own_resident_bytes() -> Option<u64> {
    resident_bytes(std::process::id())
}

/// Address space that this process has mapped, bytes; `RLIMIT_AS` limits it.
pub(super) fn own_address_space() -> Option<u64> {
    let statm = Process::myself().ok()?.statm().ok()?;
    Some(statm.size * procfs::page_size())
}
