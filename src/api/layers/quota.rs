//! Requests per minute of each key, counted on generation routes, and `x-ratelimit-*` on their answers.

use crate::{
    api::{
        error::ApiError,
        family::{Family, is_generation},
        state::AppState,
    },
    gateway::{keys::Principal, limits::go_duration},
};
use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use std::time::Duration;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");

/// Lets a request through, with its [`Allowance`](crate::gateway::limits::Allowance) in the extensions where there is a
/// limit, or answers 429. Runs after authentication.
pub(super) async fn count(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !is_generation(request.method(), path) {
        return next.run(request).await;
    }
    let family = Family::of(path);
    let Some(principal) = request.extensions().get::<Principal>() else {
        tracing::error!("a generation route was reached without authentication");
        return family.refuse(&ApiError::Internal);
    };
    match state.limiter.check(principal) {
        Ok(None) => next.run(request).await,
        Ok(Some(allowance)) => {
            request.extensions_mut().insert(allowance);
            let mut response = next.run(request).await;
            tell(&mut response, allowance.limit, allowance.remaining, allowance.reset);
            response
        }
        Err(limited) => {
            let error = ApiError::RateLimited { requests_per_minute: limited.limit, retry_after: limited.retry_after };
            let mut response = family.refuse(&error);
            tell(&mut response, limited.limit, 0, limited.reset);
            response
        }
    }
}

fn tell(response: &mut Response, limit: u32, remaining: u32, reset: Duration) {
    let headers = response.headers_mut();
    headers.insert(LIMIT, HeaderValue::from(limit));
    headers.insert(REMAINING, HeaderValue::from(remaining));
    headers.insert(RESET, HeaderValue::try_from(go_duration(reset)).expect("digits and letters are a header value"));
}
