//! A model on several machines by ggml's RPC backend: the devices of workers count as devices of the engine's process.
//!
//! The protocol has no keys and no encryption, and a worker trusts what it is sent (ggml/src/ggml-rpc): both ends must
//! be on a network that nobody else reaches. A worker that dies ends the engine's process; another engine is started
//! then and connects again.

use super::{
    backend::backend,
    log,
    raw::rpc::{add_server, is_built_in, serve},
};
use crate::protocol::LoadError;
use std::{
    ffi::CString,
    io,
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

/// Longest wait for a worker to accept the connection; ggml itself would wait for minutes.
const CONNECT: Duration = Duration::from_secs(10);

/// Connects to the workers. Their devices are used by models that are loaded from now on.
///
/// # Errors
/// `Unsupported` if this build has no RPC backend, `Backend` if a worker does not answer or has another version.
pub(super) fn connect(workers: &[SocketAddr]) -> Result<(), LoadError> {
    if workers.is_empty() {
        return Ok(());
    }
    if !is_built_in() {
        return Err(LoadError::Unsupported(
            "--rpc: this build has no RPC backend; build it with GGML_RPC=ON in the environment".to_owned(),
        ));
    }
    for worker in workers {
        let failed = |reason: String| LoadError::Backend(format!("the RPC worker {worker} cannot be used: {reason}"));
        TcpStream::connect_timeout(worker, CONNECT).map_err(|error| failed(error.to_string()))?;
        drop(log::take_complaints());
        if !add_server(&endpoint(*worker)) {
            let why = log::take_complaints();
            return Err(failed(why.unwrap_or_else(|| "it does not answer, or is of another version of llamero".to_owned())));
        }
        tracing::info!(%worker, "an RPC worker is connected");
    }
    Ok(())
}

/// Serves this machine's devices at `address` for ever, one engine after the other. With `cache_dir`, weights that were
/// sent once are kept there.
///
/// # Errors
/// The server cannot be started, or this build has no RPC backend.
pub fn work(address: SocketAddr, cache_dir: Option<&Path>, threads: usize) -> io::Result<()> {
    backend().map_err(io::Error::other)?;
    let cache_dir = cache_dir.map(|path| CString::new(path.as_os_str().as_encoded_bytes())).transpose()?;
    if !serve(&endpoint(address), cache_dir.as_deref(), threads) {
        return Err(io::Error::other("this build has no RPC backend; build it with GGML_RPC=ON in the environment"));
    }
    Err(io::Error::other(log::take_complaints().unwrap_or_else(|| format!("the RPC server at {address} ended by itself"))))
}

fn endpoint(address: SocketAddr) -> CString {
    CString::new(address.to_string()).expect("an address has no NUL")
}
