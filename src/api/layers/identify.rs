//! Puts the request id into the span, the extensions and the response. This layer is the outermost, so that a request
//! that is refused further in has its log line in that span.

use axum::{extract::Request, http::HeaderName, middleware::Next, response::Response};
use tracing::Instrument as _;

use crate::api::{
    family::Family,
    request_id::{RequestId, X_REQUEST_ID},
    request_log::logged,
    routes,
};

/// Anthropic's name of the header with the request id; its SDKs read no other.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

pub(super) async fn identify(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    // The span has the path without the query, because people put secrets into queries.
    let (method, key) = (request.method().clone(), tracing::field::Empty);
    let span = tracing::info_span!("request", id = id.as_str(), %method, path = request.uri().path(), key);
    let family = routes::family_of(request.uri().path());
    let answer = id.clone().scope(logged(method, next.run(request)));
    let mut response = answer.instrument(span).await;
    if family == Family::Anthropic {
        response.headers_mut().insert(REQUEST_ID, id.clone().header());
    }
    response.headers_mut().insert(X_REQUEST_ID, id.header());
    response
}
