//! CORS, only if origins are configured. This layer then answers browsers' pre-flights. Any other OPTIONS request, such
//! as HAProxy's health check, goes on to its route.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method, header},
    response::Response,
};
use futures_util::future::Either;
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tower::{Layer, Service};
use tower_http::cors::{AllowHeaders, AllowOrigin, Cors, CorsLayer};

/// Response headers that a page may read: all that we send.
const EXPOSED: [HeaderName; 18] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("openai-processing-ms"),
    HeaderName::from_static("openai-version"),
    HeaderName::from_static("openai-model"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
    header::RETRY_AFTER,
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-should-retry"),
    header::WWW_AUTHENTICATE,
    header::ALLOW,
    HeaderName::from_static("x-llamero-warnings"),
];

/// Time for which a browser may remember a pre-flight's answer; Chromium caps it at two hours.
const MAX_AGE: Duration = Duration::from_secs(7200);

/// The layer for these origins: scheme, host and port, or `*` for all. `None` if there are none.
pub(super) fn layer(origins: &[String]) -> Option<PageCors> {
    if origins.is_empty() {
        return None;
    }
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        // A text that is no header value cannot be a browser's origin.
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin.trim_end_matches('/')).ok()))
    };
    let layer = CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        // The SDKs send a dozen `x-stainless-*` headers, more with each version; no request header of this server
        // grants anything by itself.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(MAX_AGE);
    Some(PageCors(layer))
}

/// The layer of `tower-http`, which would take every OPTIONS request for a pre-flight.
#[derive(Debug, Clone)]
pub(super) struct PageCors(CorsLayer);

/// The service that [`PageCors`] makes.
#[derive(Debug, Clone)]
pub(super) struct WithCors<S> {
    pages: Cors<S>,
    plain: S,
}

impl<S: Clone> Layer<S> for PageCors {
    type Service = WithCors<S>;

    fn layer(&self, inner: S) -> WithCors<S> {
        WithCors { pages: self.0.layer(inner.clone()), plain: inner }
    }
}

impl<S: Service<Request, Response = Response>> Service<Request> for WithCors<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<<Cors<S> as Service<Request>>::Future, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match Service::<Request>::poll_ready(&mut self.pages, cx) {
            Poll::Ready(Ok(())) => self.plain.poll_ready(cx),
            other => other,
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let is_preflight = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if request.method() == Method::OPTIONS && !is_preflight {
            Either::Right(self.plain.call(request))
        } else {
            Either::Left(self.pages.call(request))
        }
    }
}
