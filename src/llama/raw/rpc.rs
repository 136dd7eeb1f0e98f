//! The functions of ggml's RPC backend, found by their names: a build without the backend has none of them.

use llama_cpp_sys_2::{ggml_backend_dev_t, ggml_backend_reg_t};
use std::ffi::{CStr, c_char, c_void};

/// `ggml_backend_rpc_add_server` of ggml-rpc.h.
type AddServer = unsafe extern "C" fn(endpoint: *const c_char) -> ggml_backend_reg_t;
/// `ggml_backend_rpc_start_server` of ggml-rpc.h.
type StartServer = unsafe extern "C" fn(
    endpoint: *const c_char,
    cache_dir: *const c_char,
    threads: usize,
    device_count: usize,
    devices: *mut ggml_backend_dev_t,
);

/// True if the RPC backend is built in.
pub(in crate::llama) fn is_built_in() -> bool {
    function(c"ggml_backend_rpc_add_server").is_some()
}

/// Makes the devices of the server at this endpoint devices of this process. Connects, and blocks meanwhile. False if
/// the server has no devices or the backend is not built in. ggml aborts the process if the server cannot be reached or
/// speaks another version of the protocol (`get_socket` of ggml-rpc.cpp), so that must have been looked at before.
pub(in crate::llama) fn add_server(endpoint: &CStr) -> bool {
    let Some(address) = function(c"ggml_backend_rpc_add_server") else { return false };
    // SAFETY: the function of this name has this type (ggml-rpc.h).
    let add_server: AddServer = unsafe { std::mem::transmute::<*mut c_void, AddServer>(address) };
    // SAFETY: the text ends with NUL and lives until the call returns; ggml copies it.
    let registry = unsafe { add_server(endpoint.as_ptr()) };
    if registry.is_null() {
        return false;
    }
    // SAFETY: the registry is not null, and ggml keeps it until the process ends.
    unsafe { llama_cpp_sys_2::ggml_backend_register(registry) };
    true
}

/// Serves the devices of this machine at the endpoint, one client after the other, for ever: the GPUs, or the CPU where
/// there are none. Returns only if the server cannot be started; standard error says why. False if the backend is not
/// built in.
pub(in crate::llama) fn serve(endpoint: &CStr, cache_dir: Option<&CStr>, threads: usize) -> bool {
    let Some(address) = function(c"ggml_backend_rpc_start_server") else { return false };
    // SAFETY: the function of this name has this type (ggml-rpc.h).
    let start_server: StartServer = unsafe { std::mem::transmute::<*mut c_void, StartServer>(address) };
    let mut devices = devices();
    let cache_dir = cache_dir.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the texts end with NUL; they and the list live until the call returns, and the list has the stated
    // length.
    unsafe { start_server(endpoint.as_ptr(), cache_dir, threads, devices.len(), devices.as_mut_ptr()) };
    true
}

/// The devices to offer.
fn devices() -> Vec<ggml_backend_dev_t> {
    // SAFETY: takes nothing, and returns the number of registered devices.
    let count = unsafe { llama_cpp_sys_2::ggml_backend_dev_count() };
    // SAFETY: every index is below the count, and devices are never removed.
    let all: Vec<ggml_backend_dev_t> = (0..count).map(|index| unsafe { llama_cpp_sys_2::ggml_backend_dev_get(index) }).collect();
    // SAFETY: the devices were returned by ggml and live as long as the process.
    let kind = |device: &ggml_backend_dev_t| unsafe { llama_cpp_sys_2::ggml_backend_dev_type(*device) };
    let gpus: Vec<_> = all.iter().copied().filter(|device| kind(device) == llama_cpp_sys_2::GGML_BACKEND_DEVICE_TYPE_GPU).collect();
    if !gpus.is_empty() {
        return gpus;
    }
    all.into_iter().filter(|device| kind(device) == llama_cpp_sys_2::GGML_BACKEND_DEVICE_TYPE_CPU).collect()
}

/// The address of a function of the RPC backend; `None` if the backend is not built in.
fn function(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends with NUL; a backend that is not there is null.
    let registry = unsafe { llama_cpp_sys_2::ggml_backend_reg_by_name(c"RPC".as_ptr()) };
    if registry.is_null() {
        return None;
    }
    // SAFETY: the registry is not null and the name ends with NUL.
    let address = unsafe { llama_cpp_sys_2::ggml_backend_reg_get_proc_address(registry, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}
