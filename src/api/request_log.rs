//! One log line for each request: a generation writes its own line (`telemetry::generation`), this module those of all
//! other requests.

use crate::telemetry::logged_seconds;
use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use std::{cell::Cell, future::Future, time::Instant};

tokio::task_local! {
    /// True if the request that this task answers has its log line already.
    static HAS_LINE: Cell<bool>;
}

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

/// Answers a request, and logs it in the present span unless [`has_line`] was called meanwhile. Look-ups (probes,
/// metrics, models) that succeed, or get 503 while a model loads, are too frequent for more than `debug`.
pub(super) async fn logged(method: Method, answer: impl Future<Output = Response>) -> Response {
    let received = Instant::now();
    let (response, has_line) = noting(answer).await;
    let (status, total_seconds) = (response.status().as_u16(), logged_seconds(received.elapsed()));
    if has_line || (response.status().is_success() && method == Method::POST) {
        return response;
    }
    if response.status().is_success() || (method != Method::POST && response.status() == StatusCode::SERVICE_UNAVAILABLE) {
        tracing::debug!(status, total_seconds, "request");
    } else {
        tracing::info!(status, total_seconds, "request");
    }
    response
}
