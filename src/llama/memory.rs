//! How much memory a KV cache may take when nobody said how large it should be.

use llama_cpp_2::{LlamaBackendDeviceType, list_llama_ggml_backend_devices, model::LlamaModel};

/// Share of the machine's memory: the weights, other programs and the page cache need the rest.
const SHARE_OF_RAM: u64 = 8;
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
    std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_bytes(&text))
        .map_or(UNKNOWN_BUDGET_BYTES, |total| total / SHARE_OF_RAM)
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
