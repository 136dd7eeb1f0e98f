//! The place where a server listens, TCP or a Unix socket, and the connections that are made there.
//!
//! Owns the file of a Unix socket that this process made: it has its mode before anybody can connect, and it is removed
//! at the end.

use crate::config::allows_all_users;
use axum_server::{AddrListener, Address};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt::socket_acceptconn},
};
use std::{
    fmt, fs, io,
    net::{self, IpAddr, SocketAddr},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net as unix,
        },
    },
    path::{Path, PathBuf},
    task::{Context, Poll},
};
use tokio::{
    io::{Interest, Ready},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

/// Connections that may wait in the system's queue to be accepted; the kernel may lower it (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;

/// The place where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Address and port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// The IP address; `None` for a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// True if it is a Unix socket to which other users than its owner and those of its group may connect.
    #[must_use]
    pub fn is_open_to_all_users(&self) -> bool {
        matches!(self, Self::Unix(path) if fs::metadata(path).is_ok_and(|file| allows_all_users(file.mode())))
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address for Endpoint {
    type Stream = ClientStream;
    type Listener = EndpointListener;
}

/// A socket that listens, outside of a runtime.
#[derive(Debug)]
pub enum OpenSocket {
    /// A TCP socket.
    Tcp(net::TcpListener),
    /// A Unix socket.
    Unix(unix::UnixListener),
}

impl OpenSocket {
    /// The socket's place; `None` if it does not listen, or if it is a Unix socket without a path.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok().filter(|_| socket_acceptconn(socket) == Ok(true)).map(Endpoint::Tcp),
            Self::Unix(socket) => {
                let address = socket.local_addr().ok().filter(|_| socket_acceptconn(socket) == Ok(true))?;
                address.as_pathname().map(|path| Endpoint::Unix(path.to_owned()))
            }
        }
    }

    /// The same socket for a runtime; must be called within one.
    pub(super) fn into_listener(self) -> io::Result<EndpointListener> {
        Ok(match self {
            Self::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                EndpointListener::Tcp(TcpListener::from_std(socket)?)
            }
            Self::Unix(socket) => {
                socket.set_nonblocking(true)?;
                EndpointListener::Unix(UnixListener::from_std(socket)?)
            }
        })
    }
}

/// The file of a Unix socket; removed when this is dropped, unless another server has put its own there meanwhile.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Makes a Unix socket at `path` that users with these rights may connect to. A socket that no process listens on
    /// any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` if a process listens there, `AlreadyExists` if the file is no socket, or the system's error.
    pub(super) fn listen(path: &Path, mode: u32) -> io::Result<(unix::UnixListener, Self)> {
        let address = SocketAddrUnix::new(path)?;
        remove_stale(path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &address)?;
        // Nobody can connect before `listen`, so the rights are there in time.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        listen(&socket, BACKLOG)?;
        let file = fs::symlink_metadata(path)?;
        Ok((unix::UnixListener::from(socket), Self { path: path.to_owned(), identity: (file.dev(), file.ino()) }))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the file of the Unix socket stays");
        }
    }
}

/// Removes a socket that no process listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => {}
    }
    // Not blocking: behind the full queue of a process that accepts nothing, connecting would wait for ever.
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        Err(Errno::NOENT) => Ok(()),
        // Others, such as a full queue (EAGAIN) or missing rights, mean that a process is there.
        Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// A socket that listens, of a runtime.
#[derive(Debug)]
pub enum EndpointListener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

impl AddrListener<ClientStream, Endpoint> for EndpointListener {
    async fn bind_to(endpoint: Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Endpoint::Unix(path) => UnixListener::bind(path).map(Self::Unix),
        }
    }

    async fn accept_stream(&self) -> io::Result<(ClientStream, Endpoint)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, client)| (ClientStream::Tcp(stream), Endpoint::Tcp(client))),
            // The client's own socket has no path.
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| (ClientStream::Unix(stream), Endpoint::Unix(PathBuf::new()))),
        }
    }

    fn get_local_addr(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Endpoint::Tcp),
            Self::Unix(listener) => Ok(Endpoint::Unix(listener.local_addr()?.as_pathname().unwrap_or(Path::new("")).to_owned())),
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub enum ClientStream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl ClientStream {
    /// The IP address at the other end; `None` for a Unix socket, and if the client has left already.
    pub(super) fn client_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok().map(|address| address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Sends small packets at once (`TCP_NODELAY`), as Unix sockets always do.
    pub(super) fn send_at_once(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    pub(super) fn try_read_buf(&self, buffer: &mut tokio::io::ReadBuf<'_>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    pub(super) fn try_write_vectored(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Unix(stream) => stream.try_write_vectored(slices),
        }
    }
}

impl AsFd for ClientStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_unix_socket_has_its_rights_and_is_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");

        let (listener, file) = SocketFile::listen(&path, 0o640).unwrap();

        assert_eq!(mode_of(&path), 0o640);
        assert_eq!(OpenSocket::Unix(listener).endpoint(), Some(Endpoint::Unix(path.clone())));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced_and_another_server_s_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(unix::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a socket's file outlives it");

        let (_listener, first) = SocketFile::listen(&path, 0o600).unwrap();
        let taken = SocketFile::listen(&path, 0o600).unwrap_err();

        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        // As when a later server has found the first one's socket stale.
        fs::remove_file(&path).unwrap();
        let (_other, _file) = SocketFile::listen(&path, 0o600).unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[test]
    fn a_process_that_accepts_nothing_is_told_from_a_stale_socket_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&socket, 0).unwrap();
        let _in_the_queue = unix::UnixStream::connect(&path).unwrap();

        let taken = SocketFile::listen(&path, 0o600).unwrap_err();

        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        fs::write(&path, "text").unwrap();

        let error = SocketFile::listen(&path, 0o600).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }

    #[test]
    fn only_the_right_to_write_lets_every_user_connect() {
        assert_eq!([0o600, 0o660, 0o664, 0o666, 0o777].map(allows_all_users), [false, false, false, true, true]);
    }
}
