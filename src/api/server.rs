//! Listens, serves connections within bounds, and stops in bounded time.
//!
//! HTTP/1.1 only: load balancers speak it, and HTTP/2's own floods (CVE-2023-44487) are impossible. The cost of a
//! connection before a request is read is bounded here: their number, the size of a head and the time it takes.

mod attend;
mod bounds;
mod connections;
mod endpoint;
mod peer;
mod received;
mod socket;
pub mod tls;

pub use endpoint::{ClientStream, Endpoint, OpenSocket};

use crate::{
    config::{ListenConfig, UnixSocketConfig},
    gateway::keys::KeyRing,
};
use axum::{Router, extract::Request};
use axum_server::{Handle, accept::Accept, service::SendService, tls_rustls::RustlsAcceptor};
use bounds::Bounds;
use connections::BoundedAcceptor;
use endpoint::SocketFile;
use hyper::body::Incoming;
use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};
use tls::Certificate;
use tokio::io::{AsyncRead, AsyncWrite};

/// The maximum number of connections at a time; further ones are closed at once. It is less if the process may open
/// fewer files.
const MAX_CONNECTIONS: usize = 4096;
/// Number of files reserved for everything but connections: engines and their sockets, logs, metrics.
const RESERVED_FILES: usize = 128;
/// The maximum number of headers in a request.
const MAX_HEADERS: usize = 100;
/// The approximate maximum size of a request's head, bytes: hyper stops reading when its buffer holds this many.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Time that streams have after the drain to write their last event before they are cut.
const FAREWELL: Duration = Duration::from_secs(2);

/// The reason why the server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Everybody who reaches the address could use the server.
    #[error(
        "refusing to listen on {host} without API keys, because anyone who can reach that address could use the server; \
         give keys with --api-key or --api-key-file, listen on 127.0.0.1, or insist with --insecure-no-auth"
    )]
    OpenToEverybody {
        /// The address asked for.
        host: IpAddr,
    },
    /// A program listens on this address already.
    #[error("port {} on {} is in use; stop what listens there, or choose another port with --port", address.port(), address.ip())]
    InUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The port is reserved.
    #[error("no permission to listen on port {}; choose a port from 1024 on with --port", address.port())]
    Denied {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The machine does not have this address.
    #[error("this machine has no address {}; choose another with --host, such as 127.0.0.1 or 0.0.0.0", address.ip())]
    NoSuchAddress {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Every user of the machine could use the server.
    #[error(
        "refusing to serve on {} without API keys, because every user of this machine could connect; give keys with --api-key or \
         --api-key-file, keep others out with --uds-mode 660, or insist with --insecure-no-auth", path.display()
    )]
    OpenToAllUsers {
        /// The path of the Unix socket.
        path: PathBuf,
    },
    /// A program listens on this Unix socket already.
    #[error("a program listens on {} already; stop it, or choose another path with --uds", path.display())]
    SocketInUse {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path is taken by a file.
    #[error("{} is there and is no socket, so it is left alone; choose another path with --uds", path.display())]
    NoSocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// A Unix socket cannot be made.
    #[error("cannot make the Unix socket {}: {source}", path.display())]
    NoUnixSocket {
        /// The path asked for.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A socket that another process opened is not one that listens, so nobody could connect to it.
    #[error("the socket that was handed over does not listen; in a unit of systemd: ListenStream=8000, without Accept=yes")]
    NotListening,
    /// Any other failure to listen.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address asked for.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied => Self::Denied { address },
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress { address },
            _ => Self::Other { address, source },
        }
    }

    fn of_unix(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::SocketInUse { path },
            io::ErrorKind::AlreadyExists => Self::NoSocket { path },
            _ => Self::NoUnixSocket { path, source },
        }
    }
}

/// A server that listens and does not serve yet: connections wait in the system's queue.
#[derive(Debug)]
pub struct Server {
    socket: OpenSocket,
    endpoint: Endpoint,
    /// The file of a Unix socket that this process made.
    socket_file: Option<SocketFile>,
    header_timeout: Duration,
    idle_timeout: Duration,
    /// `None` for plain HTTP.
    certificate: Option<Certificate>,
}

impl Server {
    /// Starts to listen, on the configured Unix socket if there is one.
    ///
    /// # Errors
    /// `OpenToEverybody` or `OpenToAllUsers` before anything is opened, or the reason why the place is not available.
    pub fn bind(config: &ListenConfig, keys: &KeyRing) -> Result<Self, ListenError> {
        match &config.unix_socket {
            Some(wanted) => Self::bind_unix(wanted, config, keys),
            None => Self::bind_tcp(config, keys),
        }
    }

    fn bind_tcp(config: &ListenConfig, keys: &KeyRing) -> Result<Self, ListenError> {
        check_reach(config.host, config, keys)?;
        let wanted = SocketAddr::new(config.host, config.port);
        let listener = TcpListener::bind(wanted).map_err(|source| ListenError::new(wanted, source))?;
        let address = listener.local_addr().map_err(|source| ListenError::new(wanted, source))?;
        Ok(Self::new(OpenSocket::Tcp(listener), Endpoint::Tcp(address), config))
    }

    fn bind_unix(wanted: &UnixSocketConfig, config: &ListenConfig, keys: &KeyRing) -> Result<Self, ListenError> {
        let path = wanted.path.clone();
        if wanted.is_for_all_users() && !is_protected(config, keys) {
            return Err(ListenError::OpenToAllUsers { path });
        }
        let (listener, file) = SocketFile::listen(&path, wanted.mode).map_err(|source| ListenError::of_unix(path.clone(), source))?;
        Ok(Self { socket_file: Some(file), ..Self::new(OpenSocket::Unix(listener), Endpoint::Unix(path), config) })
    }

    /// Takes a socket that listens already, whatever place the configuration names.
    ///
    /// # Errors
    /// `OpenToEverybody`, `OpenToAllUsers`, or `NotListening` if it is no such socket.
    pub fn take_over(socket: OpenSocket, config: &ListenConfig, keys: &KeyRing) -> Result<Self, ListenError> {
        let endpoint = socket.endpoint().ok_or(ListenError::NotListening)?;
        match &endpoint {
            Endpoint::Tcp(address) => check_reach(address.ip(), config, keys)?,
            Endpoint::Unix(path) if endpoint.is_open_to_all_users() && !is_protected(config, keys) => {
                return Err(ListenError::OpenToAllUsers { path: path.clone() });
            }
            Endpoint::Unix(_) => {}
        }
        Ok(Self::new(socket, endpoint, config))
    }

    fn new(socket: OpenSocket, endpoint: Endpoint, config: &ListenConfig) -> Self {
        // A later head on a connection may take as long as the silence before it.
        let idle_timeout = config.idle_timeout.max(config.header_timeout);
        Self { socket, endpoint, socket_file: None, header_timeout: config.header_timeout, idle_timeout, certificate: None }
    }

    /// The same server, speaking TLS with this certificate.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<Certificate>) -> Self {
        Self { certificate, ..self }
    }

    /// The place where the server listens; if port 0 was asked for, its port is the one that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Serves until `shutdown` is ready. Then the listener closes at once, idle connections close, and running requests
    /// have the time that `shutdown` returns to finish. Requests that still run after it, and after 2 s more for a last
    /// event, are cut.
    ///
    /// # Errors
    /// The runtime cannot take the socket.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = Duration>) -> io::Result<()> {
        self.serve_within(Bounds::of(affordable_connections()), router, shutdown).await
    }

    async fn serve_within(self, bounds: Bounds, router: Router, shutdown: impl Future<Output = Duration>) -> io::Result<()> {
        let Self { socket, socket_file, header_timeout, idle_timeout, certificate, .. } = self;
        let shutdown = async move {
            let left = shutdown.await;
            // While this server listens no other one takes the name; later, its file could be taken for this one's.
            drop(socket_file);
            left
        };
        let times = (header_timeout, idle_timeout);
        let server = axum_server::Server::from_listener(socket.into_listener()?);
        let acceptor = BoundedAcceptor::new(bounds, certificate.is_some());
        match certificate {
            None => serve_by(server.acceptor(acceptor), times, router, shutdown).await,
            Some(certificate) => {
                let tls = RustlsAcceptor::new(certificate.current()).handshake_timeout(header_timeout);
                serve_by(server.acceptor(tls.acceptor(acceptor)), times, router, shutdown).await
            }
        }
    }
}

/// Serves connections of this kind until `shutdown` is ready. The times are the longest waits for the first head of a
/// connection and for a later one.
async fn serve_by<A>(
    server: axum_server::Server<Endpoint, A>,
    (header_timeout, idle_timeout): (Duration, Duration),
    router: Router,
    shutdown: impl Future<Output = Duration>,
) -> io::Result<()>
where
    A: Accept<
            ClientStream,
            Router,
            Stream: AsyncRead + AsyncWrite + Unpin + Send,
            Service: SendService<Request<Incoming>> + Send,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    let handle = Handle::new();
    let mut server = server
        .http1_only()
        .first_request_timeout(header_timeout)
        .accept_error_handler(|peer, error| note_failure(peer.is_some(), error))
        .handle(handle.clone());
    let mut builder = server.http_builder().http1();
    builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES).header_read_timeout(idle_timeout);
    // By default hyper cancels a request at the end of input; here `attend` decides.
    builder.half_close(true);

    let serving = server.serve(router.into_make_service());
    tokio::pin!(serving);
    let left = tokio::select! {
        ended = &mut serving => return ended,
        left = shutdown => left,
    };
    handle.graceful_shutdown(Some(left + FAREWELL));
    serving.await
}

/// Logs that a connection was not accepted. `is_connected` is true if the client had connected. A client that then
/// fails to speak TLS is worth no warning: everybody can connect, and port scans and some health checks say nothing.
fn note_failure(is_connected: bool, error: &io::Error) {
    if is_connected && error.kind() != io::ErrorKind::QuotaExceeded {
        tracing::debug!(%error, "a connection was not accepted");
    } else {
        tracing::warn!(%error, "a connection was not accepted");
    }
}

/// Refuses an address that others reach if nothing protects the server.
fn check_reach(host: IpAddr, config: &ListenConfig, keys: &KeyRing) -> Result<(), ListenError> {
    if host.is_loopback() || is_protected(config, keys) { Ok(()) } else { Err(ListenError::OpenToEverybody { host }) }
}

/// True if callers need keys, or the operator insists that they need none.
fn is_protected(config: &ListenConfig, keys: &KeyRing) -> bool {
    !keys.is_empty() || config.insecure_no_auth
}

/// Raises the soft limit of open files to the hard one, and returns the number of connections that it allows. A server
/// without a free descriptor could not start another engine.
fn affordable_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let files = if raised { maximum } else { current };
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let connections = files.saturating_sub(RESERVED_FILES).clamp(1, MAX_CONNECTIONS);
    if connections < MAX_CONNECTIONS {
        tracing::warn!("open-file limit {files} allows only {connections} connections; raise it with `ulimit -n`");
    }
    connections
}

#[cfg(test)]
mod tests;
