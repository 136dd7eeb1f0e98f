//! How much memory a KV cache, and what is parked of it, may take when nobody said how much.

use llama_cpp_2::{LlamaBackendDeviceType, list_llama_ggml_backend_devices, model::LlamaModel};

/// Share of the machine's memory: the weights, other programs and the page cache need the rest.
const SHARE_OF_RAM: u64 = 8;
/// Share of the machine's memory for parked KV, and its most: vLLM's default of `--swap-space`.
const SWAP_SHARE_OF_RAM: u64 = 16;
const MOST_SWAP_BYTES: u64 = 4 << 30;
/// Where nothing is known about the memory.
const UNKNOWN_BUDGET_BYTES: u64 = 1 << 30;

/// Bytes for KV cells: four fifths of what the weights left free on the GPUs, or an eighth of the machine's memory where
/// there is none or it does not say.
pub(super) fn kv_budget_bytes(on_gpu: bool) -> u64 {
    if on_gpu {
        let is_gpu = |kind| matches!(kind, LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu);
        let gpus = list_llama_ggml_backend_devices().into_iter().filter(|device| is_gpu(device.device_type));
        let free: u64 = gpus.filter_map(|device| u64::try_from(device.memory_free).ok()).sum();
        if free > 0 {
            return free / 5 * 4;
        }
    }
    ram_bytes().map_or(UNKNOWN_BUDGET_BYTES, |total| total / SHARE_OF_RAM)
}

/// Bytes of host memory for parked KV: a sixteenth of the machine's, at most 4 GiB. None where its size is unknown.
pub(super) fn swap_bytes() -> u64 {
    ram_bytes().map_or(0, |total| (total / SWAP_SHARE_OF_RAM).min(MOST_SWAP_BYTES))
}

fn ram_bytes() -> Option<u64> {
    std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text))
}

/// `MemTotal` of `/proc/meminfo`, which is in KiB (proc(5)).
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes of one KV cell: keys and values of every layer in f16. An estimate for architectures whose layers differ.
pub(super) fn cell_bytes(model: &LlamaModel) -> u64 {
    let head_width = u64::try_from(model.n_embd()).unwrap_or(0) / u64::from(model.n_head().max(1));
    2 * 2 * u64::from(model.n_layer()) * u64::from(model.n_head_kv()) * head_width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_the_line_that_names_it() {
        assert_eq!(total_bytes("MemTotal:       24689732 kB\nMemFree: 1 kB\n"), Some(24_689_732 * 1024));
        assert_eq!(total_bytes("MemFree: 1 kB\n"), None);
    }
}
