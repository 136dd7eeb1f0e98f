//! One log line for each request: a generation writes its own line (`telemetry::generation`), this module those of all
//! other requests.

use crate::telemetry::{
    logged_seconds,
    traces::{self, TraceContext},
};
use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use std::{cell::Cell, future::Future, time::Instant};

tokio::task_local! {
    /// True if the request that this task answers has its log line already.
    static HAS_LINE: Cell<bool>;
}

/// The code of an error, in the extensions of the response that reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ErrorCode(pub(super) &'static str);

/// Notes that the present request has its log line.
pub(super) fn has_line() {
    // Outside of a request, as when a stream ends after its head, there is no request to mark.
    let _ = HAS_LINE.try_with(|has_line| has_line.set(true));
}

/// Runs `work`. The boolean is true if it called [`has_line`].
pub(super) async fn noting<T>(work: impl Future<Output = T>) -> (T, bool) {
    let noting = async {
        let done = work.await;
        (done, HAS_LINE.with(Cell::get))
    };
    HAS_LINE.scope(Cell::new(false), noting).await
}

/// The place of a request in a trace, and its path.
pub(super) type TracedPath = (TraceContext, String);

/// Answers a request, and logs it in the present span unless [`has_line`] was called meanwhile. Look-ups (probes,
/// metrics, models) that succeed, or get 503 while a model loads, are too frequent for more than `debug`. A request
/// with a line at `info` has a span too, unless `traced` is `None`.
pub(super) async fn logged(method: Method, traced: Option<TracedPath>, answer: impl Future<Output = Response>) -> Response {
    let received = Instant::now();
    let (response, has_line) = noting(answer).await;
    let (status, total) = (response.status().as_u16(), received.elapsed());
    let total_seconds = logged_seconds(total);
    if has_line || (response.status().is_success() && method == Method::POST) {
        return response;
    }
    if response.status().is_success() || (method != Method::POST && response.status() == StatusCode::SERVICE_UNAVAILABLE) {
        tracing::debug!(status, total_seconds, "request");
    } else {
        let code = response.extensions().get::<ErrorCode>().map(|code| code.0);
        tracing::info!(status, code, total_seconds, "request");
        if let Some((trace, path)) = traced {
            traces::record_request(&trace, method.as_str(), &path, status, total);
        }
    }
    response
}
