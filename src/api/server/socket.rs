//! A connection as hyper reads, writes and closes it.
//!
//! A socket that is closed while bytes of its client are unread is reset, and the reset takes the answer with it before
//! the client has read it (RFC 9112 9.6). So a connection on which more bytes may arrive is closed in stages: no more
//! is written, further bytes are read and dropped for a while, then the socket is closed. The connection keeps its
//! place among the connections until then.

use super::peer::Peer;
use rustix::net::{Shutdown, shutdown};
use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// hyper's end of a connection.
#[derive(Debug)]
pub(super) struct Socket {
    peer: Arc<Peer>,
    closing: Option<Closing>,
}

/// A connection on which nothing is written any more.
#[derive(Debug)]
struct Closing {
    /// Runs out when no bytes have arrived for `Bounds::linger_silence`; the socket is closed then.
    silence: Pin<Box<Sleep>>,
    /// The socket is closed at this moment even if bytes still come.
    deadline: Instant,
    bytes_left: usize,
}

impl Socket {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        Self { peer, closing: None }
    }

    /// Shuts down writing. Returns `None` if no more input is expected, so the socket may be closed at once.
    fn begin_closing(&self) -> Option<Closing> {
        // This fails if the client has broken the connection: then nothing is left to save.
        shutdown(&self.peer.stream, Shutdown::Write).ok()?;
        let expects_more = {
            let state = self.peer.state();
            state.unread || state.mid_message || state.is_closed_for_reading() && !state.ended
        };
        let bounds = self.peer.bounds;
        let bytes_left = match self.drop_bytes() {
            Ok(0) => return None,
            Ok(read) => bounds.linger_bytes.saturating_sub(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && expects_more => bounds.linger_bytes,
            Err(_) => return None,
        };
        Some(Closing { silence: Box::pin(sleep(bounds.linger_silence)), deadline: Instant::now() + bounds.linger_time, bytes_left })
    }

    fn drop_bytes(&self) -> io::Result<usize> {
        self.peer.stream.try_read(&mut [0; 4096])
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        {
            let mut state = self.peer.state();
            if !state.ahead.is_empty() {
                let read = state.ahead.len().min(buffer.remaining());
                buffer.put_slice(&state.ahead[..read]);
                state.ahead.drain(..read);
                state.mid_message = true;
                return Poll::Ready(Ok(()));
            }
            if state.is_closed_for_reading() {
                return Poll::Ready(Ok(()));
            }
        }
        loop {
            ready!(self.peer.stream.poll_read_ready(cx))?;
            match self.peer.stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => {
                    self.peer.state().ended = true;
                    return Poll::Ready(Ok(()));
                }
                Ok(_) => {
                    self.peer.state().mid_message = true;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.peer.state().is_writing = true;
        loop {
            ready!(self.peer.stream.poll_write_ready(cx))?;
            match self.peer.stream.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper calls this when its buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.peer.state();
        let was_writing = std::mem::replace(&mut state.is_writing, false);
        if was_writing && (!state.ahead.is_empty() || state.is_closed_for_reading()) {
            // The readiness event of these bytes was consumed by `Peer::end_of_input`, so hyper must be woken to read
            // them.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            self.closing = self.begin_closing();
        }
        let Self { peer, closing } = &mut *self;
        let Some(closing) = closing else { return Poll::Ready(Ok(())) };
        loop {
            if closing.silence.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            // An error means that the client has closed the connection too, which is the end that is awaited.
            if ready!(peer.stream.poll_read_ready(cx)).is_err() {
                return Poll::Ready(Ok(()));
            }
            match peer.stream.try_read(&mut [0; 4096]) {
                Ok(read) if read > 0 && read <= closing.bytes_left => {
                    closing.bytes_left -= read;
                    let until = closing.deadline.min(Instant::now() + peer.bounds.linger_silence);
                    closing.silence.as_mut().reset(until);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
