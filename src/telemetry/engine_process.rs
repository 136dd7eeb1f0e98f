//! CPU time and memory of the engine process, by the kernel's counts. Those of the gateway process itself are collected
//! by the crate `metrics-process`.

use procfs::process::Process;

/// Readings of a process; all zero if there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessReading {
    /// CPU time since its start, user and system, s.
    pub cpu_seconds: f64,
    /// Resident memory, bytes; pages of the model's file that are mapped count too.
    pub resident_bytes: u64,
    /// Virtual memory, bytes.
    pub virtual_bytes: u64,
    /// Number of threads.
    pub threads: u64,
}

impl ProcessReading {
    /// Reads `/proc`. A process that is not there, or ends meanwhile, has zeros.
    #[must_use]
    pub fn read(pid: Option<u32>) -> Self {
        let process = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(|pid| Process::new(pid).ok());
        let Some(stat) = process.and_then(|process| process.stat().ok()) else { return Self::default() };
        Self {
            // Exact: ticks of a process are far below 2⁵³.
            cpu_seconds: stat.utime.saturating_add(stat.stime) as f64 / procfs::ticks_per_second() as f64,
            resident_bytes: stat.rss.saturating_mul(procfs::page_size()),
            virtual_bytes: stat.vsize,
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_has_readings_and_one_that_is_gone_has_zeros() {
        let own = ProcessReading::read(Some(std::process::id()));

        assert!(own.resident_bytes > 0 && own.virtual_bytes >= own.resident_bytes && own.threads > 0, "{own:?}");
        assert_eq!(ProcessReading::read(None), ProcessReading::default());
        assert_eq!(ProcessReading::read(Some(u32::MAX)), ProcessReading::default());
    }
}
