//! Chooses the environment variables that an engine gets: those that it, its libraries or a driver can need, and no
//! others.
//!
//! An engine opens a file from an unknown author and runs a lot of C++ code: it cannot reveal a secret that it does not
//! have. Helper processes that an engine starts inherit its environment. Variables are chosen by name; `LLAMERO_*`
//! configures the gateway, which tells the engine all that it needs.

use std::ffi::{OsStr, OsString};

/// Names of variables that an engine gets.
const NAMES: &[&str] = &[
    // Paths of programs, users and temporary files; libraries keep caches there.
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TMP",
    "TEMP",
    "PWD",
    // Language and time.
    "LANG",
    "LANGUAGE",
    "TZ",
    "TZDIR",
    // Logs, backtraces and the allocator.
    "RUST_LOG",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_MIN_STACK",
    "GLIBC_TUNABLES",
    "LOCPATH",
    "NIX_LD",
    "NIX_LD_LIBRARY_PATH",
    // Sanitizers and coverage, in builds that have them.
    "ASAN_OPTIONS",
    "LSAN_OPTIONS",
    "TSAN_OPTIONS",
    "UBSAN_OPTIONS",
    "LLVM_PROFILE_FILE",
    // Directories in which Vulkan's loader looks for drivers (LoaderInterfaceArchitecture.md), and in which drivers
    // keep compiled shaders.
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "DRI_PRIME",
    // Number of threads of Mesa's driver for CPUs.
    "LP_NUM_THREADS",
];

/// Prefixes of names of variables that an engine gets.
const PREFIXES: &[&str] = &[
    // Locale, dynamic loader (Linux and macOS), malloc.
    "LC_",
    "LD_",
    "DYLD_",
    "MALLOC_",
    "MIMALLOC_",
    "TCMALLOC_",
    // llama.cpp and its BLAS and OpenMP libraries. `LLAMA_ARG_…` belongs to the gateway.
    "GGML_",
    "LLAMA_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "OPENBLAS_",
    "MKL_",
    "BLIS_",
    "GOTO_",
    "VECLIB_",
    // NVIDIA.
    "CUDA_",
    "CUBLAS_",
    "CUBLASLT_",
    "NVIDIA_",
    "NCCL_",
    "__NV_",
    "__GL_",
    // AMD.
    "HIP_",
    "HSA_",
    "ROCR_",
    "ROCM_",
    "ROC_",
    "ROCBLAS_",
    "HIPBLASLT_",
    "AMD_",
    "AMDGPU_",
    "GPU_",
    "HSAKMT_",
    "MIOPEN_",
    "TENSILE_",
    "RADV_",
    // Vulkan and Mesa.
    "VK_",
    "MESA_",
    "ANV_",
    "GALLIUM_",
    "NVK_",
    "INTEL_",
    // Metal.
    "METAL_",
    "MTL_",
];

/// Prefixes of names that are refused although [`PREFIXES`] has them.
const REFUSED_PREFIXES: &[&str] = &["LLAMA_ARG_"];

/// Suffixes of names that are refused although [`PREFIXES`] has them: variables that end so are secrets.
const REFUSED_ENDS: &[&str] =
    &["KEY", "KEYS", "TOKEN", "TOKENS", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS", "CREDS", "URL", "DSN", "AUTH", "CERT"];

/// The same, but each is a whole last word after `_`, because harmless names end so too (`LD_LIBRARY_BYPASS`).
const REFUSED_WORDS: &[&str] = &["PASS", "PAT"];

/// The variables of `all` that an engine gets.
pub(super) fn of_engine(all: impl IntoIterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (OsString, OsString)> {
    all.into_iter().filter(|(name, _)| passes(name))
}

/// True if an engine gets the variable of this name.
pub(super) fn passes(name: &OsStr) -> bool {
    // All names that pass are ASCII.
    let Some(name) = name.to_str() else { return false };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let upper = name.to_ascii_uppercase();
    let ends_with_word = upper.rsplit_once('_').is_some_and(|(_, last)| REFUSED_WORDS.contains(&last));
    let is_refused = begins(REFUSED_PREFIXES) || REFUSED_ENDS.iter().any(|end| upper.ends_with(end)) || ends_with_word;
    (NAMES.contains(&name) || begins(PREFIXES)) && !is_refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libraries_and_drivers_read_is_passed() {
        let names = [
            "PATH",
            "HOME",
            "TMPDIR",
            "TZ",
            "LANG",
            "LC_ALL",
            "RUST_LOG",
            "RUST_BACKTRACE",
            "LD_LIBRARY_PATH",
            "LD_PRELOAD",
            "GGML_VK_VISIBLE_DEVICES",
            "GGML_CUDA_DISABLE_GRAPHS",
            "LLAMA_GRAPH_REUSE_DISABLE",
            "OMP_NUM_THREADS",
            "GOMP_SPINCOUNT",
            "KMP_BLOCKTIME",
            "CUDA_VISIBLE_DEVICES",
            "NVIDIA_VISIBLE_DEVICES",
            "HIP_VISIBLE_DEVICES",
            "ROCR_VISIBLE_DEVICES",
            "HSA_OVERRIDE_GFX_VERSION",
            "VK_ICD_FILENAMES",
            "XDG_DATA_DIRS",
            "METAL_DEVICE_WRAPPER_TYPE",
            "CUBLASLT_WORKSPACE_SIZE",
            "__GL_THREADED_OPTIMIZATIONS",
            "HSAKMT_DEBUG_LEVEL",
            "AMDGPU_TARGETS",
            "MIOPEN_FIND_MODE",
            "TENSILE_SOLUTION_INDEX",
            "GPU_MAX_HW_QUEUES",
            "GPU_DEVICE_ORDINAL",
            "GALLIUM_DRIVER",
            "LP_NUM_THREADS",
            "NVK_DEBUG",
            "VECLIB_MAXIMUM_THREADS",
            "GOTO_NUM_THREADS",
            "LOCPATH",
            "MIMALLOC_LARGE_OS_PAGES",
            "TCMALLOC_RELEASE_RATE",
            "NIX_LD",
            "NIX_LD_LIBRARY_PATH",
            "LD_LIBRARY_BYPASS",
            "MESA_GLSL_FORMAT",
        ];
        for name in names {
            assert!(passes(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn everything_else_is_kept_from_the_engine() {
        let names = [
            "DATABASE_URL",
            "LLAMERO_API_KEY",
            "LLAMERO_API_KEY_FILE",
            "LLAMA_API_KEY",
            "LLAMA_ARG_API_KEY_FILE",
            "VLLM_API_KEY",
            "OPENAI_API_KEY",
            "HF_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "aws_secret_access_key",
            "PGPASSWORD",
            "SSH_AUTH_SOCK",
            "HTTPS_PROXY",
            "KUBERNETES_SERVICE_HOST",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "NVIDIA_API_KEY",
            "NVIDIA_REGISTRY_URL",
            "INTEL_DSN",
            "AMD_PASS",
            "GPU_DB_PASSWD",
            "METAL_AUTH",
            "CUDA_CREDS",
            "LLAMA_CERT",
            "GGML_PAT",
            "intel_pat",
            "path",
            "",
        ];
        for name in names {
            assert!(!passes(OsStr::new(name)), "{name}");
        }
        use std::os::unix::ffi::OsStrExt;
        assert!(!passes(OsStr::from_bytes(b"LD_\xff")));
    }
}
