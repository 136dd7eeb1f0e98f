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
/// The folder in which the kernel shows version 2 of control groups (cgroups(7)). Limits of version 1 are not read.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

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
    let limits = cgroup_folders().into_iter().filter_map(|folder| number(&folder.join("memory.max")));
    machine.into_iter().chain(limits).min()
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
    let in_groups = cgroup_folders().into_iter().filter_map(|folder| {
        let stat = read_to_string(folder.join("memory.stat")).unwrap_or_default();
        Some(left_in_group(number(&folder.join("memory.max"))?, number(&folder.join("memory.current"))?, &stat))
    });
    let bytes = in_groups.chain(entry(&meminfo, "MemAvailable:")).min()?;
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

/// The folders of this process's control group and of those around it, innermost first.
fn cgroup_folders() -> Vec<PathBuf> {
    read_to_string("/proc/self/cgroup").map(|text| folders_of(&text)).unwrap_or_default()
}

fn folders_of(self_cgroup: &str) -> Vec<PathBuf> {
    let Some(path) = self_cgroup.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    Path::new(path).ancestors().map(|path| Path::new(CGROUP_ROOT).join(path)).collect()
}

/// The content of a file with one number; `None` for `max`, which means no limit.
fn number(path: &Path) -> Option<u64> {
    read_to_string(path).ok()?.trim().parse().ok()
}

/// Free memory of a control group: its limit less its use, where file pages that are no shared memory count as free
/// (`memory.stat`).
fn left_in_group(max: u64, current: u64, stat: &str) -> u64 {
    let bytes = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    let droppable = bytes("file").saturating_sub(bytes("shmem"));
    max.saturating_sub(current.saturating_sub(droppable))
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
        let folders = |text| folders_of(text).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();

        assert_eq!(folders("1:cpu:/x\n0::/a/b\n"), ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"]);
        assert_eq!(folders("0::/\n"), ["/sys/fs/cgroup/"]);
        assert_eq!(folders("4:memory:/a\n"), Vec::<String>::new());
    }

    #[test]
    fn file_pages_of_a_group_count_as_free_and_shared_memory_does_not() {
        let stat = "anon 300\nfile 500\nfile_mapped 7\nshmem 100\n";

        assert_eq!(left_in_group(1000, 800, stat), 600);
        assert_eq!(left_in_group(1000, 800, ""), 200);
        assert_eq!(left_in_group(1000, 5000, ""), 0);
    }
}
