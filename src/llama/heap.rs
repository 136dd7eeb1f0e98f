//! Returns freed memory to the system.

/// Size, bytes, from which on blocks get pages of their own. At most as much freed memory is kept at the end of a heap.
/// Nearly all requests and steps need smaller blocks, and so no system calls.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: i32 = 1 << 20;

/// Makes this process return memory that large requests needed: glibc would keep 100 MB after bodies of a few MB. Call
/// this before threads are started. Does nothing with other C libraries, or if the environment configures glibc's heap.
pub fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let is_set = |name: &str| std::env::var_os(name).is_some();
        let has_tunable = std::env::var("GLIBC_TUNABLES").is_ok_and(|tunables| tunables.contains("glibc.malloc."));
        if !has_tunable && !is_set("MALLOC_MMAP_THRESHOLD_") && !is_set("MALLOC_TRIM_THRESHOLD_") {
            super::raw::set_heap_thresholds(KEPT_BYTES);
        }
    }
}
