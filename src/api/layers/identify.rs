//! Puts the request id into the span, the extensions and the response. This layer is the outermost, so that a request
//! that is refused further in has its log line in that span.

use axum::{
    extract::{Request, State},
    http::HeaderName,
    middleware::Next,
    response::Response,
};
use tracing::{Instrument as _, field};

use crate::api::{
    client,
    family::Family,
    request_id::{RequestId, X_REQUEST_ID},
    request_log::logged,
    routes,
    state::AppState,
    trace::{self, TRACEPARENT},
};
use crate::telemetry::traces::TraceContext;

/// Anthropic's name of the header with the request id; its SDKs read no other.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

pub(super) async fn identify(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    let trace = trace::of(&request, &id);
    let (method, traced) = (request.method().clone(), trace.clone().map(|trace| (trace, request.uri().path().to_owned())));
    let span = span_of(&request, &id, trace.as_ref(), &state);
    let family = routes::family_of(request.uri().path());
    let answer = id.clone().scope(trace::scope(trace.clone(), logged(method, traced, next.run(request))));
    let mut response = answer.instrument(span).await;
    if family == Family::Anthropic {
        response.headers_mut().insert(REQUEST_ID, id.clone().header());
    }
    if let Some(trace) = &trace {
        response.headers_mut().insert(TRACEPARENT, trace::header(trace));
    }
    response.headers_mut().insert(X_REQUEST_ID, id.header());
    response
}

/// The span of a request. It has the path without the query, because people put secrets into queries.
fn span_of(request: &Request, id: &RequestId, trace: Option<&TraceContext>, state: &AppState) -> tracing::Span {
    let headers = request.headers();
    let remote = request.extensions().get().copied();
    let client = remote.and_then(|remote| client::address(remote, headers, &state.config.now().proxy.trusted)).map(field::display);
    let user_agent = client::user_agent(headers);
    let (method, path, key) = (request.method(), request.uri().path(), field::Empty);
    let trace_id = trace.map(TraceContext::trace_id);
    tracing::info_span!("request", id = id.as_str(), %method, path, client, user_agent, trace_id, key)
}
