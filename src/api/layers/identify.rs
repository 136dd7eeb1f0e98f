//! The request id: taken from the client if it is sane, else made here; in the span, the extensions and the response.
//! Around everything, so that what is refused below has its log line in that span.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

use crate::api::request_log::logged;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ids are replaced.
const MAX_LENGTH: usize = 128;

/// The id of a request: 1–128 visible ASCII characters. In the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    fn of(request: &Request) -> Self {
        let sane = |value: &&HeaderValue| (1..=MAX_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
        if let Some(inbound) = request.headers().get(X_REQUEST_ID).filter(sane) {
            return Self(inbound.clone());
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self(HeaderValue::try_from(id).expect("hexadecimal digits are a header value"))
    }
}

pub(super) async fn identify(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    // The path without its query, where people put secrets.
    let (method, key) = (request.method().clone(), tracing::field::Empty);
    let span = tracing::info_span!("request", id = id.as_str(), %method, path = request.uri().path(), key);
    let mut response = logged(method, next.run(request)).instrument(span).await;
    response.headers_mut().insert(X_REQUEST_ID, id.0);
    response
}
