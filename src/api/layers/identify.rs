//! The request id: taken from the client if it is sane, else made here; in the span, the extensions and the response.
//! Around everything, so that refusals of the layers below have their log line in that span.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

use crate::api::{family::Family, request_log::logged, routes};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The name of the same header at Anthropic; its SDKs read no other.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// Longer ids are replaced.
const MAX_LENGTH: usize = 128;

tokio::task_local! {
    /// The id of the request that this task answers.
    static PRESENT: RequestId;
}

/// The id of a request: 1–128 visible ASCII characters. In the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Of the request that is being answered; `None` outside of one, as when a stream goes on after its head.
    #[must_use]
    pub fn present() -> Option<Self> {
        PRESENT.try_with(Self::clone).ok()
    }

    /// Runs `work` with the present request's id set, for use in another task.
    pub(super) fn keep<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
        let present = Self::present();
        async move {
            match present {
                Some(id) => PRESENT.scope(id, work).await,
                None => work.await,
            }
        }
    }

    fn of(request: &Request) -> Self {
        let sane = |value: &&HeaderValue| (1..=MAX_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
        if let Some(inbound) = request.headers().get(X_REQUEST_ID).filter(sane) {
            // Its own copy: see `body`.
            return Self(HeaderValue::from_bytes(inbound.as_bytes()).unwrap_or_else(|_| inbound.clone()));
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
    let family = routes::family_of(request.uri().path());
    let answer = PRESENT.scope(id.clone(), logged(method, next.run(request)));
    let mut response = answer.instrument(span).await;
    if family == Family::Anthropic {
        response.headers_mut().insert(REQUEST_ID, id.0.clone());
    }
    response.headers_mut().insert(X_REQUEST_ID, id.0);
    response
}
