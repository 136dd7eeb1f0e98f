//! OpenAI's headers on answers of `/v1` and `/generate`, but not where Anthropic's clients call, and the count of those that
//! are refusals.

use crate::{
    api::family::{Family, is_generation},
    telemetry::metrics,
};
use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use std::time::Instant;

/// The date that OpenAI's servers send.
const VERSION: HeaderValue = HeaderValue::from_static("2020-10-01");

pub(super) async fn stamp(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let family = Family::of(path);
    let counted = family != Family::Legacy || is_generation(request.method(), path);
    let received = Instant::now();
    let mut response = next.run(request).await;
    if counted && response.status().as_u16() >= 400 {
        metrics::count_refusal(response.status().as_u16());
    }
    if counted && family != Family::Anthropic {
        let headers = response.headers_mut();
        // Until the head of the response; a stream goes on after that.
        let milliseconds = u64::try_from(received.elapsed().as_millis()).unwrap_or(u64::MAX);
        headers.insert(HeaderName::from_static("openai-processing-ms"), HeaderValue::from(milliseconds));
        headers.insert(HeaderName::from_static("openai-version"), VERSION);
    }
    response
}
