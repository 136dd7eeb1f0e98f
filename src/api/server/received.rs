//! Wraps a request body and drains the unread rest when it is dropped.
//!
//! An answer that is given before the body was read would otherwise end the connection with a reset, for a client that
//! sends before it listens, or for a proxy that keeps the connection for other clients (RFC 9112 9.6). Bytes are
//! dropped as they arrive, in bounded number and time; a client that asked first (`Expect: 100-continue`) is not waited
//! for.

use super::peer::Peer;
use crate::api::layers::announced_length;
use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody as _},
    extract::Request,
    http::header,
};
use futures_util::{Stream, StreamExt as _};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// The maximum number of bytes of a body that are dropped; with more the connection is closed instead.
pub(super) const DRAIN_BYTES: usize = 8 << 20;

/// Wraps the body of a request so that it is drained when it is dropped before its end.
pub(super) fn receive(peer: &Arc<Peer>, request: Request) -> Request {
    peer.request_begins();
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        peer.request_was_read();
        return Request::from_parts(parts, body);
    }
    let received = Received {
        peer: Arc::clone(peer),
        left: announced_length(&parts.headers),
        awaits_consent: parts.headers.contains_key(header::EXPECT),
        frames: Some(body.into_data_stream()),
    };
    Request::from_parts(parts, Body::from_stream(received))
}

/// A request body that is drained when dropped.
struct Received {
    peer: Arc<Peer>,
    /// Number of announced bytes that are still to come.
    left: usize,
    /// True if the client sends nothing before `100 Continue`, which the first read sends.
    awaits_consent: bool,
    /// The frames of the body; `None` after its end.
    frames: Option<BodyDataStream>,
}

impl Stream for Received {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.awaits_consent = false;
        let Some(frames) = &mut self.frames else { return Poll::Ready(None) };
        let frame = std::task::ready!(frames.poll_next_unpin(cx));
        match &frame {
            Some(Ok(bytes)) => self.left = self.left.saturating_sub(bytes.len()),
            Some(Err(_)) => self.frames = None,
            None => {
                self.frames = None;
                self.peer.request_was_read();
            }
        }
        Poll::Ready(frame)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let Some(frames) = self.frames.take() else { return };
        let mut state = self.peer.state();
        state.unread = true;
        if self.awaits_consent || self.left > DRAIN_BYTES {
            state.is_last = true;
            return;
        }
        drop(state);
        // The connection owns the task, which must not own the connection.
        let (peer, drain_time) = (Arc::downgrade(&self.peer), self.peer.bounds.drain_time);
        let drain = async move {
            if timeout(drain_time, drain(frames)).await == Ok(true)
                && let Some(peer) = peer.upgrade()
            {
                let mut state = peer.state();
                (state.unread, state.mid_message) = (false, false);
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.peer.drain(AbortOnDropHandle::new(runtime.spawn(drain)));
        }
    }
}

/// Reads a body to its end and drops it. False if it breaks off or is too long.
async fn drain(mut frames: BodyDataStream) -> bool {
    let mut left = DRAIN_BYTES;
    while let Some(frame) = frames.next().await {
        let Some(rest) = frame.ok().and_then(|frame| left.checked_sub(frame.len())) else { return false };
        left = rest;
    }
    true
}
