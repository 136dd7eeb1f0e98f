//! Server-sent events in the form that the SDKs' decoders accept: frames of one `data:` line, named where a route's
//! clients expect names, and comments.
//!
//! Writes no `id:` or `retry:`, and no `event:` without data: openai-python's decoder fails on a comment after an
//! `id:`, and on a frame that has no data (`_streaming.py`). The frames are written by hand: axum's `Sse` would search
//! each payload for line breaks, which JSON does not have, and copy it once more.

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, header},
};
use serde::Serialize;

/// The headers of every stream. The last one keeps nginx from buffering the stream.
pub(super) const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
];

/// A comment. Clients ignore it; it keeps proxies from closing a silent connection.
pub(in crate::api) const PING: Bytes = Bytes::from_static(b": ping\n\n");

/// The end of a stream, whole or failed.
pub(super) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// The frame sent in place of a chunk that could not be written, so that the loss is not silent.
const BROKEN: Bytes = Bytes::from_static(
    br#"data: {"error":{"message":"The server had an error while processing your request.","type":"server_error","param":null,"code":"internal_error"}}

"#,
);

/// A frame: `event: …` if it has a name, `data: {…}` and a blank line. JSON escapes line breaks, so the data is always
/// one line.
pub(in crate::api) fn frame<T: Serialize>(event: Option<&'static str>, value: &T) -> Bytes {
    let mut buffer = Vec::with_capacity(512);
    if let Some(event) = event {
        for part in ["event: ", event, "\n"] {
            buffer.extend_from_slice(part.as_bytes());
        }
    }
    buffer.extend_from_slice(b"data: ");
    if let Err(error) = serde_json::to_writer(&mut buffer, value) {
        tracing::error!(%error, "a chunk could not be written as JSON");
        return BROKEN;
    }
    buffer.extend_from_slice(b"\n\n");
    buffer.into()
}
