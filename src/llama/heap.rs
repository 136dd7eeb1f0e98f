//! What becomes of memory that was freed.

/// Blocks of this size and more have pages of their own, bytes, and of other freed memory at most as much is kept at the end of a heap.
/// Larger than what requests and steps commonly need, so that these do without system calls.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: i32 = 1 << 20;

/// Lets this process give back what large requests needed: without it, glibc keeps 100 MB after bodies of a few MB. To be
/// called before threads are started. Whoever has set glibc's own variables has chosen otherwise, and other C libraries choose themselves.
pub fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let is_chosen =
            ["GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"].iter().any(|name| std::env::var_os(name).is_some());
        if !is_chosen && !super::raw::set_heap_thresholds(KEPT_BYTES) {
            tracing::debug!("the C library keeps freed memory as it likes");
        }
    }
}
