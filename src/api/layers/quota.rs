//! Counts the requests per minute of each key on the routes whose row has a quota, and writes `x-ratelimit-*` on their
//! answers.

use crate::{
    api::{error::ApiError, state::AppState},
    gateway::{keys::Principal, limits::go_duration},
};
use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    response::Response,
};
use std::time::Duration;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");

/// The quota of a caller with a limit, after this request.
#[derive(Debug)]
pub(super) struct Quota {
    limit: u32,
    remaining: u32,
    reset: Duration,
    /// The error for a request that exceeds the quota; `None` for one within it.
    pub(super) refusal: Option<ApiError>,
}

/// Counts a request, and puts its [`Allowance`](crate::gateway::limits::Allowance) into the extensions if there is a
/// limit. Runs after authentication.
pub(super) fn count(state: &AppState, request: &mut Request) -> Result<Option<Quota>, ApiError> {
    let Some(principal) = request.extensions().get::<Principal>() else {
        tracing::error!("a route that counts was reached without authentication");
        return Err(ApiError::Internal);
    };
    match state.limiter.check(principal) {
        Ok(None) => Ok(None),
        Ok(Some(allowance)) => {
            request.extensions_mut().insert(allowance);
            Ok(Some(Quota { limit: allowance.limit, remaining: allowance.remaining, reset: allowance.reset, refusal: None }))
        }
        Err(limited) => {
            let refusal = ApiError::RateLimited { requests_per_minute: limited.limit, retry_after: limited.retry_after };
            Ok(Some(Quota { limit: limited.limit, remaining: 0, reset: limited.reset, refusal: Some(refusal) }))
        }
    }
}

impl Quota {
    /// Writes the quota into the answer's headers.
    pub(super) fn write_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::try_from(go_duration(self.reset)).expect("digits and letters are a header value"));
    }
}
