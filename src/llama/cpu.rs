//! Checks whether the CPU kernels were built for this processor: compares the features that ggml was compiled with
//! against those of the CPU.
//!
//! llama-cpp-sys-2 builds for AVX2 at most unless rustc is told `-C target-cpu=native` (or the `portable` feature picks
//! a library at start); without AVX-512 and VNNI, Q4_K_M decodes up to 40 % slower on a processor that has them.

/// The text of a warning about slow kernels, or `None` if nothing that matters was left out.
///
/// `system_info` is the text of `llama_print_system_info`: `CPU : SSE3 = 1 | AVX2 = 1 | …`.
pub(super) fn slow_kernels(system_info: &str) -> Option<String> {
    let missing = missing(system_info, &available());
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "the CPU kernels were built without {}, which this processor has; token generation may be up to 40 % slower. \
         Build on this machine with RUSTFLAGS=\"-C target-cpu=native\" (the default of this source tree), or with --features portable",
        missing.join(", ")
    ))
}

/// A text that differs between machines on which measurements differ: the processor's name, the number of cores, and
/// the features that ggml was built with.
pub(super) fn description(system_info: &str) -> String {
    #[cfg(target_os = "linux")]
    let name = {
        use procfs::Current;
        procfs::CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned)).unwrap_or_default()
    };
    #[cfg(not(target_os = "linux"))]
    let name = std::env::consts::ARCH;
    format!("{name}, {} cores, {}", cores(), system_info.trim())
}

/// Number of cores that this process may keep busy. Physical cores, as two threads of a core share its arithmetic, but
/// no more than the process's affinity and the quota of its control group allow, which `get_physical` ignores.
pub(super) fn cores() -> u32 {
    u32::try_from(num_cpus::get_physical().min(num_cpus::get())).unwrap_or(1).max(1)
}

/// Extensions, by ggml's names, that are in `available` but that `system_info` does not list as compiled in.
fn missing(system_info: &str, available: &[&'static str]) -> Vec<&'static str> {
    // Backends other than the CPU list features of their own; the CPU's part begins at its name.
    let Some((_, cpu)) = system_info.split_once("CPU : ") else { return Vec::new() };
    let built: Vec<&str> = cpu.split('|').filter_map(|feature| feature.trim().strip_suffix(" = 1")).map(str::trim).collect();
    available.iter().copied().filter(|name| !built.contains(name)).collect()
}

/// Extensions for which ggml has faster kernels and which this processor has, by ggml's names.
#[cfg(target_arch = "x86_64")]
fn available() -> Vec<&'static str> {
    // ggml's "AVX512" wants F, CD, VL, DQ and BW together (ggml/src/ggml-cpu/CMakeLists.txt).
    let avx512 = std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512cd")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx512dq")
        && std::is_x86_feature_detected!("avx512bw");
    [
        ("AVX2", std::is_x86_feature_detected!("avx2")),
        ("FMA", std::is_x86_feature_detected!("fma")),
        ("F16C", std::is_x86_feature_detected!("f16c")),
        ("AVX512", avx512),
        ("AVX512_VNNI", avx512 && std::is_x86_feature_detected!("avx512vnni")),
    ]
    .into_iter()
    .filter_map(|(name, present)| present.then_some(name))
    .collect()
}

/// Extensions for which ggml has faster kernels and which this processor has, by ggml's names.
#[cfg(target_arch = "aarch64")]
fn available() -> Vec<&'static str> {
    [("DOTPROD", std::arch::is_aarch64_feature_detected!("dotprod")), ("MATMUL_INT8", std::arch::is_aarch64_feature_detected!("i8mm"))]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
}

/// Other processors' extensions are unknown: none are reported as missing.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn available() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_that_was_not_compiled_in_is_named() {
        let built = "CPU : SSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1 | REPACK = 1 | ";

        assert_eq!(missing(built, &["AVX2", "AVX512", "AVX512_VNNI"]), ["AVX512", "AVX512_VNNI"]);
        assert_eq!(missing(built, &["AVX2", "FMA"]), Vec::<&str>::new());
    }

    #[test]
    fn features_of_another_backend_do_not_count_for_the_cpu() {
        let built = "CUDA : ARCHS = 900 | AVX512 = 1 | CPU : AVX2 = 1 | ";

        assert_eq!(missing(built, &["AVX512"]), ["AVX512"]);
    }

    #[test]
    fn an_unreadable_description_claims_nothing() {
        assert_eq!(missing("", &["AVX512"]), Vec::<&str>::new());
    }
}
