//! Accepts a limited number of connections, sends their small packets at once, and disconnects clients that never read.

use super::{attend::Attended, bounds::Bounds, endpoint::ClientStream, peer::Peer, socket::Socket};
use axum_server::accept::Accept;
use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

/// A connection whose writes fail when its client reads nothing for too long. The box is pinned, because the stream's
/// timer must be.
pub(super) type Connection = Pin<Box<TimeoutStream<Socket>>>;

/// Closes connections beyond the maximum at once. On the others each packet is sent at once, because each token is one.
#[derive(Debug, Clone)]
pub(super) struct BoundedAcceptor {
    free: Arc<Semaphore>,
    bounds: Bounds,
    /// True if the connections speak TLS.
    is_encrypted: bool,
}

impl BoundedAcceptor {
    pub(super) fn new(bounds: Bounds, is_encrypted: bool) -> Self {
        Self { free: Arc::new(Semaphore::new(bounds.connections)), bounds, is_encrypted }
    }

    fn admit<S>(&self, stream: ClientStream, service: S) -> io::Result<(Connection, Attended<S>)> {
        let place =
            Arc::clone(&self.free).try_acquire_owned().map_err(|_| io::Error::new(io::ErrorKind::QuotaExceeded, "too many connections"))?;
        stream.send_at_once()?;
        let peer = Arc::new(Peer::new(stream, self.is_encrypted, place, self.bounds));
        let mut stream = TimeoutStream::new(Socket::new(Arc::clone(&peer)));
        stream.set_write_timeout(Some(self.bounds.write_timeout));
        Ok((Box::pin(stream), Attended::new(service, peer)))
    }
}

impl<S> Accept<ClientStream, S> for BoundedAcceptor {
    type Stream = Connection;
    type Service = Attended<S>;
    type Future = Ready<io::Result<(Connection, Attended<S>)>>;

    fn accept(&self, stream: ClientStream, service: S) -> Self::Future {
        ready(self.admit(stream, service))
    }
}
