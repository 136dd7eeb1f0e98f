//! Reads request bodies whole, bounded in size and time, before any handler runs.
//!
//! In memory: at most `max_body_bytes` per connection, of authenticated callers only.

use crate::api::{error::ApiError, family::Family, state::AppState};
use axum::{
    body::{Body, BodyDataStream},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use futures_util::StreamExt as _;
use tokio::time::timeout;

/// Of a body that is too large, this many times the limit is read and dropped, so that a client which sends before it
/// listens gets the 413 and not a reset connection.
const DRAINED_LIMITS: usize = 4;

/// Replaces the body by one in memory, or answers 413, 408 or 400.
pub(super) async fn buffer(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let limit = state.config.max_body_bytes;
    let family = Family::of(request.uri().path());
    let (parts, body) = request.into_parts();
    let read = async {
        if refused_unread(&parts.headers, limit) {
            return Err(ApiError::BodyTooLarge { limit_bytes: limit });
        }
        collect(body.into_data_stream(), limit).await
    };
    let result = timeout(state.config.body_timeout, read).await.unwrap_or(Err(ApiError::BodyTimeout));
    match result {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(error) => {
            let mut response = family.refuse(&error);
            // What is left of the body would be read as the next request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

/// Whether the announced length is too large, and the client either waits for our consent or would send far more than we drain.
fn refused_unread(headers: &HeaderMap, limit: usize) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok()).unwrap_or(0);
    length > limit && (headers.contains_key(header::EXPECT) || length > limit.saturating_mul(DRAINED_LIMITS))
}

async fn collect(mut frames: BodyDataStream, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut received: usize = 0;
    while let Some(frame) = frames.next().await {
        let Ok(frame) = frame else {
            let message = "The request body could not be read.".to_owned();
            return Err(ApiError::BadRequest { message, param: None, code: None });
        };
        received = received.saturating_add(frame.len());
        if received > limit.saturating_mul(DRAINED_LIMITS) {
            break;
        }
        if received > limit {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(&frame);
        }
    }
    if received > limit { Err(ApiError::BodyTooLarge { limit_bytes: limit }) } else { Ok(bytes) }
}
