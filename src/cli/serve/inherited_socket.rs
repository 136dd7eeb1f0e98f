//! The listening socket that the service manager may have opened for this process (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! Owns the reading of those variables. The server serves on the socket.

use anyhow::{Context as _, bail, ensure};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use std::net::TcpListener;

/// The socket, if there is one. Must be called before other threads run, because it removes the variables.
///
/// # Errors
/// There are several sockets, or the socket is not a TCP socket that listens.
pub(super) fn take() -> anyhow::Result<Option<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        bail!("the service manager opened {} sockets (LISTEN_FDS); this server takes one", sockets.len());
    }
    if sockets.len() == 0 {
        return Ok(None);
    }
    const WANTED: &str = "the socket of the service manager (LISTEN_FDS) must be a TCP socket that listens: ListenStream=8000";
    let socket = sockets.take_tcp_listener(0).context(WANTED)?;
    let listens = socket.as_ref().is_none_or(|socket| socket_acceptconn(socket).unwrap_or(false));
    ensure!(listens, "{WANTED}, without Accept=yes");
    Ok(socket)
}
