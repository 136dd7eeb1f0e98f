//! The id of a request: taken from the client if it is sane, else made here.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
};

/// The header with the id, in requests and responses.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The maximum length of an id, characters; longer ids are replaced.
const MAX_LENGTH: usize = 128;

tokio::task_local! {
    /// The id of the request that this task answers.
    static PRESENT: RequestId;
}

/// The id of a request: 1–128 visible ASCII characters. The extensions of every request contain it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The id as text.
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id of the request that is being answered; `None` outside of a request, as when a stream goes on after its
    /// head.
    pub(super) fn present() -> Option<Self> {
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

    /// Runs `work` in the name of the request with this id.
    pub(super) fn scope<T>(self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        PRESENT.scope(self, work)
    }

    /// The id as the value of a header.
    pub(super) fn header(self) -> HeaderValue {
        self.0
    }

    /// The id that a request came with, or a new one.
    pub(super) fn of(request: &Request) -> Self {
        let sane = |value: &&HeaderValue| (1..=MAX_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
        if let Some(inbound) = request.headers().get(X_REQUEST_ID).filter(sane) {
            // The id is copied into memory of its own for the reason in `layers/body.rs`.
            return Self(HeaderValue::from_bytes(inbound.as_bytes()).unwrap_or_else(|_| inbound.clone()));
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self(HeaderValue::try_from(id).expect("hexadecimal digits are a header value"))
    }
}
