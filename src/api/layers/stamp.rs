//! Writes OpenAI's headers on answers of OpenAI's route family and of `/generate`, counts the refusals of these routes
//! and of Anthropic's, and counts all requests but probes by route.

use crate::{
    api::{family::Family, route::Route, routes::Rules},
    telemetry::{http::HttpTimer, metrics},
};
use axum::{
    body::{Body, HttpBody as _},
    http::{HeaderName, HeaderValue, Method},
    response::Response,
};
use futures_util::StreamExt as _;
use std::time::Instant;

/// The date that OpenAI's servers send.
const VERSION: HeaderValue = HeaderValue::from_static("2020-10-01");

/// The facts about a request that are known before it is answered.
pub(super) struct Stamp {
    family: Family,
    is_counted: bool,
    received: Instant,
    /// `None` for a probe.
    timer: Option<HttpTimer>,
}

impl Stamp {
    /// The facts of a request that has just been received.
    pub(super) fn new(&Rules { route, family, counts, .. }: &Rules, method: &Method) -> Self {
        let is_probe = route.is_some_and(Route::is_probe);
        let timer = (!is_probe).then(|| HttpTimer::start(route.map(|route| route.path), method.as_str()));
        Self { family, is_counted: family != Family::Legacy || counts, received: Instant::now(), timer }
    }

    /// Writes the headers, and counts the request.
    pub(super) fn write_headers(self, mut response: Response) -> Response {
        if self.is_counted && response.status().as_u16() >= 400 {
            metrics::count_refusal(response.status().as_u16());
        }
        if self.is_counted && self.family != Family::Anthropic {
            let headers = response.headers_mut();
            // The time until the head of the response; a stream goes on after that.
            let milliseconds = u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX);
            headers.insert(HeaderName::from_static("openai-processing-ms"), HeaderValue::from(milliseconds));
            headers.insert(HeaderName::from_static("openai-version"), VERSION);
        }
        match self.timer {
            Some(timer) => timed(response, timer),
            None => response,
        }
    }
}

/// Counts a request by its status, and stops its time when its body ends: at once where the body is whole.
fn timed(response: Response, mut timer: HttpTimer) -> Response {
    timer.count(response.status().as_u16());
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| {
        let parts = body.into_data_stream().map(move |part| {
            let _until_the_end = &timer;
            part
        });
        Body::from_stream(parts)
    })
}
