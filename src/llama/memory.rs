//! Reads the size of the memory: of the machine, of the control groups that this process is in, and of the GPUs.
//!
//! Reads `/proc` and `/sys` when asked; pure functions parse the texts. `fit.rs` makes decisions from the results.

use llama_cpp_2::{LlamaBackendDeviceType, list_llama_ggml_backend_devices};
use std::{
    fs::read_to_string,
    path::{Path, PathBuf},
};

/// Divisor of the usable memory that gives the default for KV cells: the weights, other programs and the page cache
/// need the rest.
const SHARE_OF_RAM: u64 = 4;
/// Divisor of the usable memory that gives the space for parked KV. [`MOST_SWAP_BYTES`], vLLM's default of
/// `--swap-space`, is the upper bound.
const SWAP_SHARE_OF_RAM: u64 = 16;
const MOST_SWAP_BYTES: u64 = 4 << 30;
/// Bytes for KV cells if the size of the memory is unknown.
const UNKNOWN_BUDGET_BYTES: u64 = 1 << 30;

/// The files that tell the memory of a control group, in one of the two versions of cgroups(7).
#[derive(Debug, PartialEq, Eq)]
struct GroupFiles {
    /// The folder in which the kernel shows the groups.
    root: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// The entries of `memory.stat` for file pages, and for the shared memory that these include.
    file_pages: &'static str,
    shared: &'static str,
}

const V2: GroupFiles =
    GroupFiles { root: "/sys/fs/cgroup", limit: "memory.max", usage: "memory.current", file_pages: "file", shared: "shmem" };
/// `total_` counts groups within the group too.
const V1: GroupFiles = GroupFiles {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    file_pages: "total_cache",
    shared: "total_shmem",
};

/// A control group around this process.
struct MemoryGroup {
    folder: PathBuf,
    files: &'static GroupFiles,
}

impl MemoryGroup {
    /// The limit, bytes; `None` without one. Version 1 writes a number beyond any memory then.
    fn limit(&self) -> Option<u64> {
        number(&self.folder.join(self.files.limit))
    }

    /// Free memory: the limit less the use, where file pages that are no shared memory count as free.
    fn left(&self) -> Option<u64> {
        let stat = read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        Some(left_in_group(self.limit()?, number(&self.folder.join(self.files.usage))?, &stat, self.files))
    }
}

/// Memory of one place, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Free {
    /// Bytes that can be allocated without swapping; this includes file pages that the kernel would drop.
    pub(super) bytes: u64,
    /// Bytes of other memory that could be swapped out to make room.
    pub(super) swap_bytes: u64,
}

/// Bytes of host memory for parked KV: a sixteenth of the memory that this process may use, at most 4 GiB; 0 if that is
/// unknown.
pub(super) fn swap_bytes() -> u64 {
    ram_bytes().map_or(0, |total| (total / SWAP_SHARE_OF_RAM).min(MOST_SWAP_BYTES))
}

/// Bytes of memory that this process may use; `None` if unknown.
fn ram_bytes() -> Option<u64> {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| entry(&text, "MemTotal:"));
    machine.into_iter().chain(groups().iter().filter_map(MemoryGroup::limit)).min()
}

/// Bytes that KV cells may take by default: four fifths of the memory that the weights left free on the GPUs. Without a
/// GPU, or if it does not tell its memory, a quarter of the memory that this process may use.
pub(super) fn kv_budget_bytes(on_gpu: bool) -> u64 {
    if let Some(free) = gpus().filter(|_| on_gpu) {
        return free.bytes / 5 * 4;
    }
    ram_bytes().map_or(UNKNOWN_BUDGET_BYTES, |total| total / SHARE_OF_RAM)
}

/// Free host memory: the least of the machine's and of those of the control groups around this process. `None` if the
/// kernel does not tell.
pub(super) fn host() -> Option<Free> {
    let meminfo = read_to_string("/proc/meminfo").ok()?;
    let in_groups = groups();
    let bytes = in_groups.iter().filter_map(MemoryGroup::left).chain(entry(&meminfo, "MemAvailable:")).min()?;
    Some(Free { bytes, swap_bytes: entry(&meminfo, "SwapFree:").unwrap_or(0) })
}

/// Free memory of all GPUs together; `None` if no GPU tells it.
pub(super) fn gpus() -> Option<Free> {
    let is_gpu = |kind| matches!(kind, LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu);
    let gpus = list_llama_ggml_backend_devices().into_iter().filter(|device| is_gpu(device.device_type));
    let bytes = gpus.filter_map(|device| u64::try_from(device.memory_free).ok()).sum();
    (bytes > 0).then_some(Free { bytes, swap_bytes: 0 })
}

/// The value of an entry of `/proc/meminfo`, which is in KiB (proc(5)), in bytes.
fn entry(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes that this process has locked in memory; `None` if the kernel does not tell.
pub(super) fn locked_bytes() -> Option<u64> {
    read_to_string("/proc/self/status").ok().and_then(|text| entry(&text, "VmLck:"))
}

/// This process's control group and those around it, innermost first.
fn groups() -> Vec<MemoryGroup> {
    read_to_string("/proc/self/cgroup").map(|text| groups_of(&text)).unwrap_or_default()
}

/// The groups that `/proc/self/cgroup` names. A line is `ID:CONTROLLERS:/PATH`; version 2 has no controllers there. In
/// a container the path may be the machine's, of which only the outermost folder is there.
fn groups_of(self_cgroup: &str) -> Vec<MemoryGroup> {
    let files_of = |controllers: &str| match controllers {
        "" => Some(&V2),
        controllers => controllers.split(',').any(|controller| controller == "memory").then_some(&V1),
    };
    let lines = self_cgroup.lines().filter_map(|line| {
        let (_id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(":/")?;
        Some((files_of(controllers)?, path))
    });
    let around = |(files, path): (&'static GroupFiles, &str)| {
        let folders: Vec<PathBuf> = Path::new(path).ancestors().map(|path| Path::new(files.root).join(path)).collect();
        folders.into_iter().map(move |folder| MemoryGroup { folder, files })
    };
    lines.flat_map(around).collect()
}

/// The content of a file with one number; `None` for `max`, which means no limit.
fn number(path: &Path) -> Option<u64> {
    read_to_string(path).ok()?.trim().parse().ok()
}

/// Free memory of a group with this limit, this use and these statistics (`memory.stat`).
fn left_in_group(limit: u64, usage: u64, stat: &str, files: &GroupFiles) -> u64 {
    let bytes = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    let droppable = bytes(files.file_pages).saturating_sub(bytes(files.shared));
    limit.saturating_sub(usage.saturating_sub(droppable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_from_the_line_that_names_it() {
        assert_eq!(entry("MemTotal:       24689732 kB\nMemFree: 1 kB\n", "MemTotal:"), Some(24_689_732 * 1024));
        assert_eq!(entry("MemFree: 1 kB\n", "MemTotal:"), None);
    }

    #[test]
    fn limits_are_looked_for_in_every_group_around_the_process() {
        let folders = |text| groups_of(text).iter().map(|group| group.folder.display().to_string()).collect::<Vec<_>>();

        assert_eq!(folders("1:cpu:/x\n0::/a/b\n"), ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"]);
        assert_eq!(folders("0::/\n"), ["/sys/fs/cgroup/"]);
        assert_eq!(folders("4:cpu,memory:/a\n3:memory2:/x\n"), ["/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory/"]);
    }

    #[test]
    fn file_pages_of_a_group_count_as_free_and_shared_memory_does_not() {
        let stat = "anon 300\nfile 500\nfile_mapped 7\nshmem 100\n";
        let stat_v1 = "cache 1\nshmem 0\ntotal_cache 500\ntotal_shmem 100\n";

        assert_eq!(left_in_group(1000, 800, stat, &V2), 600);
        assert_eq!(left_in_group(1000, 800, stat_v1, &V1), 600);
        assert_eq!(left_in_group(1000, 800, "", &V2), 200);
        assert_eq!(left_in_group(1000, 5000, "", &V2), 0);
    }

    #[test]
    fn limits_of_both_versions_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let group = |files| MemoryGroup { folder: folder.path().to_owned(), files };
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("memory.limit_in_bytes", "1000\n");
        write("memory.usage_in_bytes", "400\n");
        write("memory.max", "max\n");
        write("memory.current", "400\n");

        assert_eq!((group(&V1).limit(), group(&V1).left()), (Some(1000), Some(600)));
        assert_eq!((group(&V2).limit(), group(&V2).left()), (None, None));
    }
}
