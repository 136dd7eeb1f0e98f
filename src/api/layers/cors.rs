//! CORS: decides which web pages may read answers. This layer answers browsers' pre-flights; those of other pages get a
//! 403 that names the option that allows them. Any other OPTIONS request, such as HAProxy's health check, goes on to
//! its route.
//!
//! Pages of the configured origins may read answers. On loopback without keys, pages that may call the server at all
//! may read its answers too: those of this machine, and of the hosts that are allowed (`hosts.rs`).

use super::hosts::HostPolicy;
use crate::api::{error::ApiError, routes::family_of};
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    response::Response,
};
use futures_util::future::{Either, Ready, ready};
use std::{
    sync::Arc,
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

/// The layer for these origins: scheme, host and port, or `*` for all.
pub(super) fn layer(origins: &[String], hosts: &HostPolicy) -> PageCors {
    let readers = PageReaders { origins: origins.into(), hosts: hosts.clone() };
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let readers = readers.clone();
        AllowOrigin::predicate(move |origin, _| readers.include(origin))
    };
    let layer = CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        // The SDKs send a dozen `x-stainless-*` headers, more with each version; no request header of this server
        // grants anything by itself.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(MAX_AGE);
    PageCors { layer, readers }
}

/// The web pages that may read answers.
#[derive(Debug, Clone)]
struct PageReaders {
    /// The configured origins; `*` stands for all.
    origins: Arc<[String]>,
    hosts: HostPolicy,
}

impl PageReaders {
    fn include(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let is_configured = |allowed: &String| allowed == "*" || allowed.trim_end_matches('/') == origin;
        self.origins.iter().any(is_configured) || self.hosts.allows_pages_of(origin)
    }

    /// The first origin of a request whose pages may not read answers.
    fn refused<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        headers.get_all(header::ORIGIN).iter().find(|origin| !self.include(origin))
    }
}

/// The layer of `tower-http`, which would take every OPTIONS request for a pre-flight.
#[derive(Debug, Clone)]
pub(super) struct PageCors {
    layer: CorsLayer,
    readers: PageReaders,
}

/// The service that [`PageCors`] makes.
#[derive(Debug, Clone)]
pub(super) struct WithCors<S> {
    pages: Cors<S>,
    plain: S,
    readers: PageReaders,
}

impl<S: Clone> Layer<S> for PageCors {
    type Service = WithCors<S>;

    fn layer(&self, inner: S) -> WithCors<S> {
        WithCors { pages: self.layer.layer(inner.clone()), plain: inner, readers: self.readers.clone() }
    }
}

impl<S: Service<Request, Response = Response>> Service<Request> for WithCors<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Either<<Cors<S> as Service<Request>>::Future, S::Future>, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match Service::<Request>::poll_ready(&mut self.pages, cx) {
            Poll::Ready(Ok(())) => self.plain.poll_ready(cx),
            other => other,
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let is_options = request.method() == Method::OPTIONS;
        let is_preflight = is_options && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if is_options && !is_preflight {
            return Either::Left(Either::Right(self.plain.call(request)));
        }
        if is_preflight && let Some(origin) = self.readers.refused(request.headers()) {
            return Either::Right(ready(Ok(refusal(request.uri().path(), origin))));
        }
        Either::Left(Either::Left(self.pages.call(request)))
    }
}

/// The answer to the pre-flight of a page that may not read answers. Browsers tell the page nothing of it but
/// "network error", so that it is also in the log.
fn refusal(path: &str, origin: &HeaderValue) -> Response {
    let error = ApiError::origin_not_allowed(origin.to_str().unwrap_or_default());
    tracing::warn!("{error}");
    family_of(path).refuse(&error)
}
