//! Watches the progress of a load, by the engine's own reports and by the kernel's counts for its process.
//!
//! Mapped weights come in by page faults, of which llama.cpp knows nothing: a slow disk would look like a hung one.
//! Owns the reading of `/proc` (a few small files that the kernel writes from memory without waiting) and the log lines
//! about progress.

use super::launcher::LoadWork;
use crate::protocol::EngineOptions;
use procfs::process::Process;

/// Ticks between two log lines.
const LOG_TICKS: u32 = 15;
/// Maximum share before the engine serves: after all weights are read, the engine still has to fill memory for KV cells
/// and to run a first step.
const MAX_SHARE: f32 = 0.99;

/// The work of a process so far, by proc_pid_io(5), proc_pid_stat(5) and proc_pid_statm(5). `None` if the kernel does
/// not tell.
pub(super) fn work_of(pid: u32) -> Option<LoadWork> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let (stat, statm) = (process.stat().ok()?, process.statm().ok()?);
    let resident = statm.shared.saturating_mul(procfs::page_size());
    // Some kernels lack this file.
    let (read, from_disk) = process.io().map_or((0, 0), |io| (io.rchar, io.read_bytes));
    let count = [stat.minflt, stat.majflt, read, from_disk].into_iter().fold(0, u64::wrapping_add);
    Some(LoadWork { count, bytes: resident.max(read) })
}

/// The progress of one load.
#[derive(Debug)]
pub(super) struct LoadWatch {
    /// Bytes of the files of the model and of its draft model; 0 if unknown.
    model_bytes: u64,
    /// Bytes read so far; never decreases.
    read_bytes: u64,
    /// Share done, 0–1, as the engine reported.
    told: f32,
    ticks: u32,
    /// True if the kernel has ever reported the work of the process.
    is_seen: bool,
}

impl LoadWatch {
    /// Creates the watch for a load that begins now.
    pub(super) fn new(options: &EngineOptions) -> Self {
        let files = options.model_files.iter().chain(&options.draft_files);
        Self { model_bytes: files.map(|file| file.bytes).sum(), read_bytes: 0, told: 0.0, ticks: 0, is_seen: false }
    }

    /// Records the engine's report that this share is done, 0–1.
    pub(super) fn on_told(&mut self, share: f32) {
        self.told = self.told.max(share.clamp(0.0, MAX_SHARE));
    }

    /// Counts a tick, by which `work` was done since the start. Returns a line for the log every [`LOG_TICKS`] ticks.
    pub(super) fn on_tick(&mut self, work: Option<LoadWork>) -> Option<String> {
        self.ticks += 1;
        self.read_bytes = self.read_bytes.max(work.map_or(0, |work| work.bytes));
        self.is_seen |= work.is_some();
        if self.ticks == LOG_TICKS && !self.is_seen {
            let hidden =
                "the progress of the load cannot be seen: /proc hides the engine from this process (hidepid, or it is not dumpable)";
            return Some(format!("{hidden}; a load that takes longer than --load-timeout is taken for a stuck one"));
        }
        let percent = self.share() * 100.0;
        self.ticks.is_multiple_of(LOG_TICKS).then(|| {
            let (read, all) = (self.read_bytes / 1_000_000, self.model_bytes / 1_000_000);
            format!("the model is being loaded: {percent:.0} % after {} s, {} of {all} MB", self.ticks, read.min(all))
        })
    }

    /// Share done, 0–1; never decreases.
    pub(super) fn share(&self) -> f32 {
        if self.model_bytes == 0 {
            return self.told;
        }
        // A percentage needs no more precision.
        let by_reading = self.read_bytes as f32 / self.model_bytes as f32;
        self.told.max(by_reading.min(MAX_SHARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::OpenedFile;

    fn watch(bytes: &[u64]) -> LoadWatch {
        let file = |bytes: &u64| OpenedFile { name: "m".into(), held: None, device: 0, inode: 0, bytes: *bytes, modified: (0, 0) };
        LoadWatch::new(&EngineOptions { model_files: bytes.iter().map(file).collect(), ..EngineOptions::new("m".into()) })
    }

    fn read(bytes: u64) -> Option<LoadWork> {
        Some(LoadWork { count: 0, bytes })
    }

    #[test]
    fn the_share_follows_what_was_read_and_what_the_engine_says_and_never_falls() {
        let mut watch = watch(&[600, 400]);

        let shares: Vec<f32> = [read(250), None, read(100), read(5_000)]
            .into_iter()
            .map(|work| {
                watch.on_tick(work);
                watch.share()
            })
            .collect();
        watch.on_told(1.0);

        assert_eq!(shares, [0.25, 0.25, 0.25, MAX_SHARE]);
        assert_eq!(watch.share(), MAX_SHARE, "not before the engine serves");
    }

    #[test]
    fn where_the_sizes_are_unknown_the_engine_alone_is_believed() {
        let mut watch = watch(&[]);
        watch.on_tick(read(5_000));
        watch.on_told(0.25);
        watch.on_told(f32::NAN);

        assert_eq!(watch.share(), 0.25);
    }

    #[test]
    fn the_log_hears_of_a_long_load_now_and_then() {
        let mut watch = watch(&[40_000_000_000]);

        let lines: Vec<String> = (1..=31).filter_map(|tick| watch.on_tick(read(tick * 1_000_000_000))).collect();

        assert_eq!(lines[0], "the model is being loaded: 38 % after 15 s, 15000 of 40000 MB");
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn the_log_hears_once_that_the_kernel_hides_the_progress() {
        let about_that = |works: [Option<LoadWork>; 2]| {
            let mut watch = watch(&[1_000_000]);
            let lines: Vec<String> = (1..=60).filter_map(|tick| watch.on_tick(works[tick % 2])).collect();
            (lines.len(), lines.iter().filter(|line| line.contains("cannot be seen") && line.contains("--load-timeout")).count())
        };

        assert_eq!(about_that([None, None]), (4, 1));
        assert_eq!(about_that([read(1), None]), (4, 0));
    }

    #[test]
    fn what_this_process_reads_is_counted() {
        let before = work_of(std::process::id()).expect("Linux has /proc");

        std::fs::read("/proc/self/exe").unwrap();

        let after = work_of(std::process::id()).unwrap();
        assert!(after.count > before.count && after.bytes > 0, "{before:?}, {after:?}");
    }
}
