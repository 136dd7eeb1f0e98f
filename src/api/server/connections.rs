//! Accepts connections up to a number, and has their small packets sent at once.

use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use std::{
    future::{Ready, ready},
    io,
    sync::Arc,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::Layer as _;

/// Counts a connection for as long as its service lives.
pub(super) type Counted<S> = AddExtension<S, Arc<OwnedSemaphorePermit>>;

/// Closes connections beyond a number at once, and sets `TCP_NODELAY` on the others: a token is a packet.
#[derive(Debug, Clone)]
pub(super) struct BoundedAcceptor {
    free: Arc<Semaphore>,
}

impl BoundedAcceptor {
    pub(super) fn new(connections: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(connections)) }
    }

    fn admit<S>(&self, stream: TcpStream, service: S) -> io::Result<(TcpStream, Counted<S>)> {
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| io::Error::other("too many connections"))?;
        stream.set_nodelay(true)?;
        Ok((stream, axum::Extension(Arc::new(permit)).layer(service)))
    }
}

impl<S> Accept<TcpStream, S> for BoundedAcceptor {
    type Stream = TcpStream;
    type Service = Counted<S>;
    type Future = Ready<io::Result<(TcpStream, Counted<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.admit(stream, service))
    }
}
