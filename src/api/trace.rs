//! Remembers for each task the place in a trace of the request that it answers. There is none while traces are off.

use super::request_id::RequestId;
use crate::telemetry::traces::TraceContext;
use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
};

/// The header with the trace and the sender's span (W3C Trace Context), in requests and responses.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with further facts of the sender's tracing system.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

tokio::task_local! {
    static PRESENT: Option<TraceContext>;
}

/// The place of a request with this id, by its headers; `None` if traces are off.
pub(super) fn of(request: &Request, id: &RequestId) -> Option<TraceContext> {
    let text = |name: HeaderName| request.headers().get(name)?.to_str().ok();
    TraceContext::of(id.as_str(), text(TRACEPARENT), text(TRACESTATE))
}

/// Runs `work` for a request with this place.
pub(super) async fn scope<T>(trace: Option<TraceContext>, work: impl Future<Output = T>) -> T {
    PRESENT.scope(trace, work).await
}

/// The place of the request that this task answers; `None` without one.
pub(super) fn present() -> Option<TraceContext> {
    PRESENT.try_with(Clone::clone).ok().flatten()
}

/// Runs `work` with the present place, for use in another task.
pub(super) fn keep<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    scope(present(), work)
}

/// The value of a response's `traceparent`.
pub(super) fn header(trace: &TraceContext) -> HeaderValue {
    HeaderValue::try_from(trace.traceparent()).expect("hexadecimal digits and dashes are a header value")
}
