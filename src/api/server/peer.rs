//! The client at the other end of a connection: its socket, the state of its requests, and whether it is still
//! connected.
//!
//! hyper reads and writes through `socket.rs`. While an answer is pending hyper does not read, so this file does: it
//! keeps the first [`MAX_PIPELINED`] bytes that follow a request for hyper and drops further ones, so that the end of
//! input is seen whatever was sent before it. The end of input does not distinguish a client that left from one that
//! only stopped sending (`nc -N`). The kernels do: bytes that are sent to a socket that was closed are answered with a
//! reset. So [`Sign::Silent`] tells the caller to send bytes, and [`Sign::Gone`] that the reset has arrived.

use super::{bounds::Bounds, endpoint::ClientStream};
use async_stream::stream;
use futures_util::Stream;
use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::Interest,
    sync::{Notify, OwnedSemaphorePermit},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

/// The maximum number of bytes of later requests that are kept while one is being answered; hyper's own buffer holds as
/// many again.
const MAX_PIPELINED: usize = 16 * 1024;
/// The maximum number of bytes beyond [`MAX_PIPELINED`] that are read and dropped. A client that sends more before it
/// has its answer is treated as disconnected.
const MAX_DROPPED: usize = 1 << 20;
/// Time from the end of input to the first bytes that the client is sent because of it. An answer that is ready by then
/// is sent without them.
const PATIENCE: Duration = Duration::from_millis(100);
/// The client is sent something again after each of these pauses: a forwarder on the way (`ssh -L`, Docker's proxy)
/// learns only from the second write that its own client has left.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// An interim response. Clients of HTTP/1.1 must skip it (RFC 9110 15.2), and most do; Python's `http.client` takes it
/// for the answer. So only a client that has stopped sending, and has to wait, is sent one.
const INTERIM: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

/// A sign that a client which waits for an answer may have disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// The client will send no more. Bytes that are sent now reveal whether it still reads.
    Silent,
    /// The client has closed the connection, or broken it.
    Gone,
}

/// A client; shared by its connection, the request that is being answered and the stream of the answer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) stream: ClientStream,
    /// The IP address at the other end; `None` for a Unix socket.
    pub(super) ip: Option<IpAddr>,
    /// True if the bytes on the socket are TLS records, which only rustls can write.
    is_encrypted: bool,
    /// Limits of the client's connection in time and bytes.
    pub(super) bounds: Bounds,
    state: Mutex<PeerState>,
    /// Notified when `PeerState::request_read` becomes true.
    request_was_read: Notify,
    /// The task that reads and drops the rest of an unread body.
    drain: Mutex<Option<AbortOnDropHandle<()>>>,
    /// The client's place among the connections.
    _place: OwnedSemaphorePermit,
}

/// The part of a peer that changes while its connection is open.
#[derive(Debug, Default)]
pub(super) struct PeerState {
    /// True if the body of the present request was read to its end.
    request_read: bool,
    /// Bytes that were read ahead of hyper.
    pub(super) ahead: Vec<u8>,
    /// Number of bytes that were read and dropped because `ahead` was full. If there are any, hyper reads no more.
    dropped: usize,
    /// True if the end of input was read.
    pub(super) ended: bool,
    /// True if hyper's buffer has bytes that were not all written.
    pub(super) is_writing: bool,
    /// True if bytes were read after the last head or end of a request: the client may be in the middle of a message.
    pub(super) mid_message: bool,
    /// True if a body was not read to its end.
    pub(super) unread: bool,
    /// True if the present answer is the last one on the connection.
    pub(super) is_last: bool,
}

impl PeerState {
    /// True if hyper is given no more bytes of this client.
    pub(super) fn is_closed_for_reading(&self) -> bool {
        self.ended || self.dropped > 0
    }

    /// Takes bytes that follow a request. False if there are too many.
    fn keep(&mut self, bytes: &[u8]) -> bool {
        if self.dropped == 0 && self.ahead.len() + bytes.len() <= MAX_PIPELINED {
            self.ahead.extend_from_slice(bytes);
        } else {
            // An incomplete request must not reach hyper.
            self.ahead = Vec::new();
            self.dropped += bytes.len();
            self.is_last = true;
        }
        self.dropped <= MAX_DROPPED
    }
}

impl Peer {
    pub(super) fn new(stream: ClientStream, is_encrypted: bool, place: OwnedSemaphorePermit, bounds: Bounds) -> Self {
        Self {
            ip: stream.client_ip(),
            stream,
            is_encrypted,
            bounds,
            state: Mutex::default(),
            request_was_read: Notify::new(),
            drain: Mutex::default(),
            _place: place,
        }
    }

    /// The present state, locked. Hold it only to read or write a field.
    pub(super) fn state(&self) -> MutexGuard<'_, PeerState> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the head of a request was read.
    pub(super) fn request_begins(&self) {
        let mut state = self.state();
        // hyper may have had this request before later ones were dropped.
        (state.request_read, state.mid_message, state.is_last) = (false, false, state.dropped > 0);
    }

    /// Notes that the request's body was read to its end, or that it has none.
    pub(super) fn request_was_read(&self) {
        {
            let mut state = self.state();
            (state.request_read, state.mid_message) = (true, false);
        }
        self.request_was_read.notify_one();
    }

    /// Stores the draining task; it is aborted when the connection ends.
    pub(super) fn drain(&self, task: AbortOnDropHandle<()>) {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// The signs of a client that waits for an answer. The stream ends with [`Sign::Gone`].
    pub(super) fn signs(self: Arc<Self>) -> impl Stream<Item = Sign> + Send {
        stream! {
            // Until the request was read, hyper reads. A permit may be left from an earlier request.
            while !self.state().request_read {
                self.request_was_read.notified().await;
            }
            if self.end_of_input().await.is_ok() && timeout(PATIENCE, self.reset()).await.is_err() {
                for pause in PAUSES {
                    yield Sign::Silent;
                    if timeout(pause, self.reset()).await.is_ok() {
                        break;
                    }
                }
                self.reset().await;
            }
            yield Sign::Gone;
        }
    }

    /// Sends an interim response to a client that waits for an answer, unless an earlier answer is still being written,
    /// which serves as well. False if it cannot be sent, as on an encrypted connection, where only rustls may write: a
    /// client there that ends its input before its answer counts as gone.
    pub(super) fn nudge(&self) -> bool {
        if self.is_encrypted {
            return false;
        }
        if self.state().is_writing {
            return true;
        }
        match self.stream.try_write(INTERIM) {
            Ok(written) => written == INTERIM.len(),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Reads the bytes after a request until the client sends no more.
    ///
    /// # Errors
    /// The connection is broken, or the client sends without end.
    async fn end_of_input(&self) -> io::Result<()> {
        while !self.state().ended {
            self.stream.readable().await?;
            let mut bytes = [0; 4096];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => self.state().ended = true,
                Ok(read) if self.state().keep(&bytes[..read]) => {}
                Ok(_) => return Err(io::Error::other("too many bytes follow a request")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until the connection is reset. After the end of input no read shows a reset, but the system's event does.
    async fn reset(&self) {
        // This fails only when the runtime ends, and then the connection ends too.
        let _ = self.stream.ready(Interest::ERROR).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;
    use std::pin::pin;
    use tokio::{
        net::{TcpListener, TcpStream},
        sync::Semaphore,
    };

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_sending_is_sent_something_only_if_its_answer_takes_a_while() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let peer = Arc::new(Peer::new(ClientStream::Tcp(listener.accept().await.unwrap().0), false, place, Bounds::of(1)));
        peer.state().ended = true;
        peer.request_was_read();
        let mut signs = pin!(Arc::clone(&peer).signs());

        let early = timeout(PATIENCE - Duration::from_millis(1), signs.next()).await;
        let first = timeout(Duration::from_millis(2), signs.next()).await;
        let second = timeout(PAUSES[0] + Duration::from_millis(1), signs.next()).await;

        assert!(early.is_err(), "{early:?}");
        assert_eq!([first, second], [const { Ok(Some(Sign::Silent)) }; 2]);
        drop(client);
    }
}
