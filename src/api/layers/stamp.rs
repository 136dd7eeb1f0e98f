//! Writes OpenAI's headers on answers of OpenAI's route family and of `/generate`, and counts the refusals of these
//! routes and of Anthropic's.

use crate::{
    api::{family::Family, routes::Rules},
    telemetry::metrics,
};
use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use std::time::Instant;

/// The date that OpenAI's servers send.
const VERSION: HeaderValue = HeaderValue::from_static("2020-10-01");

/// The facts about a request that are known before it is answered.
pub(super) struct Stamp {
    family: Family,
    is_counted: bool,
    received: Instant,
}

impl Stamp {
    /// The facts of a request that has just been received.
    pub(super) fn new(&Rules { family, counts, .. }: &Rules) -> Self {
        Self { family, is_counted: family != Family::Legacy || counts, received: Instant::now() }
    }

    /// Writes the headers, and counts a refusal.
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
        response
    }
}
