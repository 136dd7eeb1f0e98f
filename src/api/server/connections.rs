//! Accepts connections up to a number, has their small packets sent at once, and disconnects clients that never read.

use super::{attend::Attended, peer::Peer, socket::Socket};
use axum_server::accept::Accept;
use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_io_timeout::TimeoutStream;

/// The limits of connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The maximum number of open connections.
    pub(super) connections: usize,
    /// How long a write may wait for its client.
    pub(super) write_timeout: Duration,
    /// Time for which the rest of an unread body is read and dropped.
    pub(super) drain_time: Duration,
    /// Time for which a client may continue to send after its last answer.
    pub(super) linger_time: Duration,
    /// Time for which it may be silent meanwhile.
    pub(super) linger_silence: Duration,
    /// Bytes that it may send meanwhile.
    pub(super) linger_bytes: usize,
}

impl Bounds {
    /// The limits of a server with at most so many connections.
    pub(super) const fn of(connections: usize) -> Self {
        Self {
            connections,
            // nginx's `send_timeout`. Then the client is gone, and its request with it.
            write_timeout: Duration::from_secs(60),
            drain_time: Duration::from_secs(10),
            // nginx's `lingering_time` is 30 s, its `lingering_timeout` 5 s.
            linger_time: Duration::from_secs(10),
            linger_silence: Duration::from_secs(2),
            linger_bytes: 64 << 20,
        }
    }
}

/// A connection whose writes fail when its client reads nothing for too long. Pinned, because its timer is.
pub(super) type Connection = Pin<Box<TimeoutStream<Socket>>>;

/// Closes connections beyond a number at once, and sets `TCP_NODELAY` on the others: a token is a packet.
#[derive(Debug, Clone)]
pub(super) struct BoundedAcceptor {
    free: Arc<Semaphore>,
    bounds: Bounds,
}

impl BoundedAcceptor {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { free: Arc::new(Semaphore::new(bounds.connections)), bounds }
    }

    fn admit<S>(&self, stream: TcpStream, service: S) -> io::Result<(Connection, Attended<S>)> {
        let place = Arc::clone(&self.free).try_acquire_owned().map_err(|_| io::Error::other("too many connections"))?;
        stream.set_nodelay(true)?;
        let peer = Arc::new(Peer::new(stream, place, self.bounds));
        let mut stream = TimeoutStream::new(Socket::new(Arc::clone(&peer)));
        stream.set_write_timeout(Some(self.bounds.write_timeout));
        Ok((Box::pin(stream), Attended::new(service, peer)))
    }
}

impl<S> Accept<TcpStream, S> for BoundedAcceptor {
    type Stream = Connection;
    type Service = Attended<S>;
    type Future = Ready<io::Result<(Connection, Attended<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.admit(stream, service))
    }
}
