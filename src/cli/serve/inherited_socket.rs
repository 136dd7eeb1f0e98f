//! The listening socket that the service manager may have opened for this process (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! Owns the reading of those variables. The server serves on the socket.

use crate::api::server::OpenSocket;
use anyhow::{Context as _, bail};
use listenfd::ListenFd;

/// The socket, if there is one. Must be called before other threads run, because it removes the variables.
///
/// # Errors
/// There are several sockets, or the socket is neither a TCP nor a Unix socket.
pub(super) fn take() -> anyhow::Result<Option<OpenSocket>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        bail!("the service manager opened {} sockets (LISTEN_FDS); this server takes one", sockets.len());
    }
    if sockets.len() == 0 {
        return Ok(None);
    }
    // A socket of another kind stays there.
    if let Ok(Some(socket)) = sockets.take_tcp_listener(0) {
        return Ok(Some(OpenSocket::Tcp(socket)));
    }
    let socket = sockets.take_unix_listener(0);
    let socket = socket.context("the socket of the service manager (LISTEN_FDS) must be a TCP or a Unix socket: ListenStream=8000")?;
    Ok(socket.map(OpenSocket::Unix))
}
