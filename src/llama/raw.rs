//! Every unsafe call of this program, each in a safe function; graphs of ggml are in `attention`, other machines'
//! devices in `rpc`.
//!
//! Owns the callbacks that llama.cpp calls. Nothing here makes decisions: callers have checked slots, and errors are
//! values.

#![expect(unsafe_code, reason = "calls C where llama-cpp-2 has no safe wrapper")]

pub(super) mod attention;
pub(super) mod rpc;

use super::log;
use llama_cpp_2::context::{LlamaContext, session::LlamaStateSeqFlags};
use std::ffi::{CStr, c_char, c_void};

/// Makes the C library return freed memory of more than `bytes` to the system. `bytes` is at most 32 MiB: glibc refuses
/// more.
///
/// Left alone, glibc raises these two thresholds, up to 32 and 64 MiB, to the size of the largest block that was freed
/// (mallopt(3)).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn set_heap_thresholds(bytes: i32) {
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: `mallopt` takes two integers, and locks the state that it changes.
        let is_set = unsafe { libc::mallopt(parameter, bytes) } == 1;
        debug_assert!(is_set, "glibc takes up to 32 MiB");
    }
}

/// Routes the log of llama.cpp and ggml to [`log::on_line`], and also ggml's message before it aborts.
///
/// Setting the abort callback also keeps ggml from forking a debugger for a backtrace before every abort. An uncaught
/// C++ exception still forks one, unless `GGML_NO_BACKTRACE` is in the environment of the process.
pub(super) fn route_logs() {
    // SAFETY: both callbacks are `extern "C"` functions of the right type, ignore their user data and never unwind;
    // llama.cpp and ggml keep nothing but the pointers.
    unsafe {
        llama_cpp_sys_2::llama_log_set(Some(on_log), std::ptr::null_mut());
        llama_cpp_sys_2::ggml_log_set(Some(on_log), std::ptr::null_mut());
        llama_cpp_sys_2::ggml_set_abort_callback(Some(on_abort));
    }
}

extern "C" fn on_log(level: llama_cpp_sys_2::ggml_log_level, text: *const c_char, _: *mut c_void) {
    let level = match level {
        llama_cpp_sys_2::GGML_LOG_LEVEL_ERROR => log::Level::Error,
        llama_cpp_sys_2::GGML_LOG_LEVEL_WARN => log::Level::Warning,
        _ => log::Level::Detail,
    };
    hand_over(level, text);
}

extern "C" fn on_abort(text: *const c_char) {
    hand_over(log::Level::Error, text);
}

fn hand_over(level: log::Level, text: *const c_char) {
    if text.is_null() {
        return;
    }
    // SAFETY: not null, and llama.cpp passes NUL-terminated text that lives until the callback returns.
    let text = unsafe { CStr::from_ptr(text) };
    // A panic must not unwind into C. A log line on which a subscriber panics is lost, which is the lesser evil.
    let _lost = std::panic::catch_unwind(|| log::on_line(level, &text.to_string_lossy()));
}

/// The compiled-in backends' description of themselves, such as `CPU : AVX2 = 1 | AVX512 = 1 | `.
pub(super) fn system_info() -> String {
    // SAFETY: returns a NUL-terminated static buffer. It is refilled on each call, so calls must not overlap; the only
    // caller holds the lock of model loading (`backend::EXCLUSIVE`).
    let text = unsafe { CStr::from_ptr(llama_cpp_sys_2::llama_print_system_info()) };
    text.to_string_lossy().into_owned()
}

/// llama.cpp's name of a `general.file_type`, such as `Q4_1` or `Q4_K - Medium`.
pub(super) fn file_type_name(file_type: u32) -> String {
    // SAFETY: a pure lookup which answers every number with a NUL-terminated static string.
    let name = unsafe { CStr::from_ptr(llama_cpp_sys_2::llama_ftype_name(file_type as _)) };
    name.to_string_lossy().into_owned()
}

/// Makes the context compute with `threads` threads, ≥ 1, from its next evaluation on.
///
/// Returns false, and changes nothing, if llama-cpp-2 is not the version that this was written for.
pub(super) fn set_threads(context: &mut LlamaContext<'_>, threads: u32) -> bool {
    let Some(pointer) = address_in(&format!("{context:?}")).map(std::ptr::with_exposed_provenance_mut) else { return false };
    let threads = i32::try_from(threads).unwrap_or(i32::MAX);
    // SAFETY: the pointer is the context's own, which lives and is borrowed mutably here; printing it exposed it.
    unsafe {
        llama_cpp_sys_2::llama_set_n_threads(pointer, threads, threads);
        llama_cpp_sys_2::llama_n_threads(pointer) == threads
    }
}

/// The one pointer in llama-cpp-2's description of a context. llama-cpp-2 shows it nowhere else and wraps no call that
/// sets threads. The version is pinned, and a test on a real model checks the description.
fn address_in(description: &str) -> Option<usize> {
    let digits = description.strip_prefix("LlamaContext { context: 0x")?.strip_suffix(" }")?;
    usize::from_str_radix(digits, 16).ok().filter(|address| *address != 0)
}

/// Bytes that the saved state of a slot takes; 0 if llama.cpp cannot tell.
pub(super) fn state_size(context: &LlamaContext<'_>, slot: i32) -> usize {
    context.state_seq_get_size_ext(slot, LlamaStateSeqFlags::empty())
}

/// The same as [`state_size`], but of the layers with a sliding window alone; equal to it for a cache without such
/// layers.
pub(super) fn sliding_state_size(context: &LlamaContext<'_>, slot: i32) -> usize {
    context.state_seq_get_size_ext(slot, LlamaStateSeqFlags::PARTIAL_ONLY)
}

/// The sliding window of the context's model, positions. `None` if it has none, or llama-cpp-2 is not the version that
/// this was written for.
pub(super) fn window(context: &LlamaContext<'_>) -> Option<u32> {
    let pointer = address_in(&format!("{context:?}")).map(std::ptr::with_exposed_provenance)?;
    // SAFETY: the pointer is the context's own, which lives and is borrowed here; its model lives longer. Both are only
    // read.
    let window = unsafe { llama_cpp_sys_2::llama_model_n_swa(llama_cpp_sys_2::llama_get_model(pointer)) };
    u32::try_from(window).ok().filter(|window| *window > 0)
}

/// Copies all cells of `slot` into `state`, whose memory is reused. `slot` must be below the context's `n_seq_max`.
///
/// Returns false if llama.cpp failed or memory is short; `state` is then empty.
pub(super) fn save(context: &LlamaContext<'_>, slot: i32, state: &mut Vec<u8>) -> bool {
    let size = state_size(context, slot);
    state.clear();
    if state.try_reserve_exact(size).is_err() {
        return false;
    }
    // SAFETY: `size` bytes are reserved, and llama.cpp writes as many as it just said: nothing changed the context in
    // between, as it is borrowed here and used by one thread only.
    let written = unsafe { context.state_seq_get_data_ext(state.as_mut_ptr(), slot, LlamaStateSeqFlags::empty()) };
    if written == 0 || written != size {
        return false;
    }
    // SAFETY: exactly `size` bytes were reserved and written.
    unsafe { state.set_len(size) };
    true
}

/// Replaces all cells of `slot` by those in `state`, which [`save`] wrote for a context of the same model and sizes.
///
/// Returns false if llama.cpp failed; the slot is then empty.
pub(super) fn restore(context: &mut LlamaContext<'_>, slot: i32, state: &[u8]) -> bool {
    // SAFETY: llama.cpp reads `state` within its length and compares the types, sizes and counts in it with its own
    // before it copies (`llama_io_read_host`, `llama_kv_cache::state_read_meta` and `state_read_data`); an exception
    // becomes false.
    !state.is_empty() && unsafe { context.state_seq_set_data_ext(state, slot, LlamaStateSeqFlags::empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_description_of_the_known_shape_has_an_address() {
        assert_eq!(address_in("LlamaContext { context: 0x7f00beef10 }"), Some(0x7f_00be_ef10));
        for other in
            ["", "LlamaContext { context: 0x0 }", "LlamaContext { context: Ptr(0x10) }", "LlamaContext { context: 0x10, model: 1 }"]
        {
            assert_eq!(address_in(other), None, "{other:?}");
        }
    }
}
