//! Answers the requests of one connection, for as long as its client is connected.
//!
//! A client that disconnects is noticed within a round trip, whatever it sent before: its request is dropped, which
//! cancels the work. A client that has only stopped sending gets its answer, unless the connection is encrypted and the
//! answer is not streamed: nothing can be sent there that tells the two apart.

use super::{
    peer::{Peer, Sign},
    received::receive,
};
use crate::api::{client::Remote, respond::sse};
use async_stream::stream;
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderValue, Version, header},
    response::Response,
};
use futures_util::{StreamExt as _, future::BoxFuture};
use std::{
    convert::Infallible,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower::{BoxError, Service};

/// The service of a connection.
#[derive(Debug, Clone)]
pub(super) struct Attended<S> {
    inner: S,
    peer: Arc<Peer>,
}

impl<S> Attended<S> {
    pub(super) fn new(inner: S, peer: Arc<Peer>) -> Self {
        Self { inner, peer }
    }
}

impl<S, B> Service<Request<B>> for Attended<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    /// The client has disconnected.
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_ready(cx).map_err(|never| match never {})
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(Remote { ip: self.peer.ip });
        let reads_interim = request.version() > Version::HTTP_10;
        let answer = self.inner.call(receive(&self.peer, request.map(Body::new)));
        Box::pin(attend(Arc::clone(&self.peer), answer, reads_interim))
    }
}

/// Waits for the answer, unless the client disconnects.
///
/// # Errors
/// The client has disconnected. A client of HTTP/1.0 that stops sending counts as disconnected, because nothing may be
/// sent to it before its answer.
async fn attend(peer: Arc<Peer>, answer: impl Future<Output = Result<Response, Infallible>>, reads_interim: bool) -> io::Result<Response> {
    let mut response = {
        let (mut answer, mut signs) = (pin!(answer), pin!(Arc::clone(&peer).signs()));
        loop {
            let sign = tokio::select! {
                biased;
                response = &mut answer => break response.unwrap_or_else(|never| match never {}),
                sign = signs.next() => sign,
            };
            if sign != Some(Sign::Silent) || !reads_interim || !peer.nudge() {
                return Err(gone());
            }
        }
    };
    if peer.state().is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let is_stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    Ok(if is_stream { response.map(|body| attend_stream(peer, body)) } else { response })
}

/// A body with the same events, until the client disconnects. A client that stops sending is sent a comment.
fn attend_stream(peer: Arc<Peer>, body: Body) -> Body {
    Body::from_stream(stream! {
        let mut events = body.into_data_stream();
        let mut signs = pin!(peer.signs());
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(event) => yield event.map_err(io::Error::other),
                    None => return,
                },
                sign = signs.next() => match sign {
                    Some(Sign::Silent) => yield Ok(sse::PING),
                    Some(Sign::Gone) | None => {
                        yield Err(gone());
                        return;
                    }
                },
            }
        }
    })
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the client is gone")
}
