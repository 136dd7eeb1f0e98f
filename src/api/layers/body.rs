//! Reads request bodies whole, bounded in size and time, before any handler runs.
//!
//! In memory: at most `max_body_bytes` per connection, of authenticated callers only.

use crate::api::{error::ApiError, family::Family, state::AppState};
use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};
use futures_util::StreamExt as _;
use tokio::time::timeout;

/// Replaces the body by one in memory, or refuses with 413, 408 or 400. What is left of a refused one is the connection's
/// to read (`server/received.rs`).
pub(super) async fn buffer(state: &AppState, family: Family, request: Request) -> Result<Request, Response> {
    let limit = state.config.max_body_bytes;
    let (parts, body) = request.into_parts();
    let read = async {
        if announced_length(&parts.headers) > limit {
            return Err(ApiError::BodyTooLarge { limit_bytes: limit });
        }
        collect(body.into_data_stream(), limit).await
    };
    let Ok(result) = timeout(state.config.body_timeout, read).await else {
        let mut response = family.refuse(&ApiError::BodyTimeout);
        // The client was too slow so far: the connection does not wait for a next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return Err(response);
    };
    result.map(|bytes| Request::from_parts(detached(parts), Body::from(bytes))).map_err(|error| family.refuse(&error))
}

/// 0 if it is not announced.
fn announced_length(headers: &HeaderMap) -> usize {
    headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// The same head with headers in memory of their own: hyper's point into the read buffer of their connection, 8 KB that a handler
/// which keeps them would keep for as long as it waits. (CORS with a list of origins keeps a browser's `Origin` all the same.)
fn detached(mut parts: Parts) -> Parts {
    let copied = |value: &HeaderValue| {
        let mut copy = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
        copy.set_sensitive(value.is_sensitive());
        copy
    };
    parts.headers = parts.headers.iter().map(|(name, value)| (name.clone(), copied(value))).collect();
    parts
}

async fn collect(mut frames: BodyDataStream, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(frame) = frames.next().await {
        let Ok(frame) = frame else {
            let message = "The request body could not be read.".to_owned();
            return Err(ApiError::BadRequest { message, param: None, code: None });
        };
        if frame.len() > limit - bytes.len() {
            return Err(ApiError::BodyTooLarge { limit_bytes: limit });
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_in_memory_of_its_own_says_the_same() {
        let mut request = Request::post("/v1/completions?a=1").header("x-a", "1").header("x-b", "é").header("x-a", "2").body(()).unwrap();
        request.headers_mut().get_mut("x-b").unwrap().set_sensitive(true);
        let (parts, ()) = request.into_parts();
        let (headers, uri) = (parts.headers.clone(), parts.uri.clone());

        let copy = detached(parts);

        assert_eq!((&copy.headers, &copy.uri), (&headers, &uri));
        assert_eq!(copy.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(copy.headers["x-b"].is_sensitive());
    }
}
