//! Reads request bodies whole, decoded, bounded in size and time, before any handler runs.
//!
//! Bodies in memory take at most `max_body_bytes` per connection, a few kilobytes on routes that need no key, and
//! together at most as much as `api/body_budget.rs` allows.

use super::decode::Coding;
use crate::api::{
    body_budget::{self, BudgetShare},
    error::ApiError,
    routes::Rules,
    state::AppState,
};
use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};
use futures_util::StreamExt as _;
use tokio::time::timeout;

/// The byte order mark of UTF-8, which some clients write before JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Replaces the body by one in memory, which `part` accounts for, or refuses with 413, 415, 503, 408 or 400.
/// `server/received.rs` drains the unread rest of a refused body.
pub(super) async fn buffer(state: &AppState, rules: &Rules, request: Request, part: &mut BudgetShare) -> Result<Request, Response> {
    let config = state.config.now();
    let (limit, family) = (rules.body_limit.unwrap_or(config.max_body_bytes), rules.family);
    let (mut parts, body) = request.into_parts();
    let read = async {
        let coding = if body.is_end_stream() { Coding::Plain } else { Coding::of(&parts.headers)? };
        let announced = announced_length(&parts.headers);
        if announced > limit {
            return Err(ApiError::BodyTooLarge { limit_bytes: limit });
        }
        part.grow(announced)?;
        let mut bytes = collect(coding, body, limit, part).await?;
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        part.grow(body_budget::need(&bytes))?;
        Ok(bytes)
    };
    let Ok(result) = timeout(config.body_timeout, read).await else {
        let mut response = family.refuse(&ApiError::BodyTimeout);
        // The client was too slow so far: the connection does not wait for another request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return Err(response);
    };
    // Both headers describe the body as it was sent.
    for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    result.map(|bytes| Request::from_parts(detached(parts), Body::from(bytes))).map_err(|error| family.refuse(&error))
}

/// The value of `Content-Length`, bytes; 0 if absent.
pub(in crate::api) fn announced_length(headers: &HeaderMap) -> usize {
    headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// Copies the headers into memory of their own. Hyper's headers point into the read buffer of the connection, 8 KB that
/// a handler which keeps them would keep for as long as it waits. (CORS with a list of origins keeps a browser's
/// `Origin` all the same.)
fn detached(mut parts: Parts) -> Parts {
    let copied = |value: &HeaderValue| {
        let mut copy = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
        copy.set_sensitive(value.is_sensitive());
        copy
    };
    parts.headers = parts.headers.iter().map(|(name, value)| (name.clone(), copied(value))).collect();
    parts
}

/// Reads a body of at most `limit` bytes. The decoder has a share of its own until the body was read.
async fn collect(coding: Coding, body: Body, limit: usize, part: &mut BudgetShare) -> Result<Vec<u8>, ApiError> {
    let mut decoder = part.another();
    let mut frames = coding.decode(body, limit);
    let mut bytes = Vec::new();
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        if frame.len() > limit - bytes.len() {
            return Err(ApiError::BodyTooLarge { limit_bytes: limit });
        }
        // The share grows here for a body of unknown length; a vector doubles its capacity.
        let length = bytes.len() + frame.len();
        if length > bytes.capacity() {
            part.grow(length.saturating_mul(2).min(limit))?;
        }
        decoder.grow(length.min(coding.window()))?;
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
