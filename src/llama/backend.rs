//! llama.cpp as a whole: its process-wide start, the lock around calls that must not overlap, the reading of a model
//! from its file, the devices.
//!
//! Owns that state for the life of the process. Decides nothing about a model.

use super::{log, raw};
use crate::protocol::{EngineOptions, LoadError};
use llama_cpp_2::{
    LlamaBackendDeviceType, list_llama_ggml_backend_devices,
    llama_backend::LlamaBackend,
    model::{LlamaModel, params::LlamaModelParams},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Mutex, OnceLock},
};

/// A lock that is held while llama.cpp loads a model or opens a context: opening a context writes to its model, and
/// logged errors are kept globally.
pub(super) static EXCLUSIVE: Mutex<()> = Mutex::new(());

/// llama.cpp's process-wide state, initialised by the first caller and never torn down: it lasts until the process
/// ends.
pub(super) fn backend() -> Result<&'static LlamaBackend, LoadError> {
    static BACKEND: OnceLock<Result<LlamaBackend, LoadError>> = OnceLock::new();
    let backend = BACKEND.get_or_init(|| {
        raw::route_logs();
        #[cfg(feature = "portable")]
        load_backends_beside_executable();
        LlamaBackend::init().map_err(|error| LoadError::Backend(error.to_string()))
    });
    backend.as_ref().map_err(Clone::clone)
}

/// Loads the backend libraries that a portable build ships next to its executable, the best one for this CPU among
/// them.
#[cfg(feature = "portable")]
fn load_backends_beside_executable() {
    let executable = std::env::current_exe().ok();
    // llama-cpp-2 panics on a path that is not UTF-8.
    match executable.as_deref().and_then(Path::parent).filter(|folder| folder.to_str().is_some()) {
        Some(folder) => llama_cpp_2::llama_backend::load_backends_from_path(folder),
        None => tracing::error!(
            "no compute backends can be loaded: the folder of the executable is unknown or not UTF-8; move llamero to another folder"
        ),
    }
}

/// Reads a model from its file, with `gpu_layers` of its layers on a GPU, by the way that `options` name. `progress`
/// gets the share that is loaded, 0–1.
///
/// # Errors
/// `Backend` with llama.cpp's own words.
pub(super) fn load_file(
    backend: &LlamaBackend,
    path: &Path,
    gpu_layers: u32,
    options: &EngineOptions,
    mut progress: impl FnMut(f32) + 'static,
) -> Result<LlamaModel, LoadError> {
    let on_progress = move |share| {
        // Called from C, where no panic must arrive. `false` ends the load.
        let told = catch_unwind(AssertUnwindSafe(|| progress(share)));
        if told.is_err() {
            log::on_line(log::Level::Error, "the receiver of load progress failed");
        }
        told.is_ok()
    };
    let params = LlamaModelParams::default()
        .with_n_gpu_layers(gpu_layers)
        .with_use_mmap(backend.supports_mmap() && !options.no_mmap)
        .with_use_mlock(options.mlock)
        .with_progress_callback(on_progress);
    drop(log::take_complaints());
    LlamaModel::load_from_file(backend, path, &params).map_err(|error| backend_error(&error))
}

/// An error with the lines that llama.cpp logged, or with the message of its binding if it logged none.
pub(super) fn backend_error(error: &dyn std::error::Error) -> LoadError {
    LoadError::Backend(log::take_complaints().unwrap_or_else(|| error.to_string()))
}

/// True if there is a GPU, or an RPC worker that is connected. llama.cpp's own `llama_supports_gpu_offload` is true
/// wherever the RPC backend is built in, whether or not there is a worker.
pub(super) fn has_gpu() -> bool {
    use LlamaBackendDeviceType::{Gpu, IntegratedGpu};
    list_llama_ggml_backend_devices().iter().any(|device| matches!(device.device_type, Gpu | IntegratedGpu))
}

/// The names of the GPUs that compute, or `CPU`.
pub(super) fn device(on_gpu: bool) -> String {
    use LlamaBackendDeviceType::{Gpu, IntegratedGpu};
    let devices = list_llama_ggml_backend_devices();
    let gpus: Vec<String> = devices
        .into_iter()
        .filter(|device| on_gpu && matches!(device.device_type, Gpu | IntegratedGpu))
        .map(|device| device.description)
        .collect();
    if gpus.is_empty() { "CPU".to_owned() } else { gpus.join(", ") }
}
