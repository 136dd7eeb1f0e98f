//! Answers requests with a long body on threads of their own (`api/heavy.rs`).
//!
//! Takes along what belongs to the task: the request's id, its span, and whether it has its log line.

use super::identify::RequestId;
use crate::api::{
    heavy::{self, HEAVY_BODY},
    request_log,
};
use axum::{body::HttpBody as _, extract::Request, middleware::Next, response::Response};
use tracing::Instrument as _;

/// The answer to a request whose body is in memory.
pub(super) async fn run(next: Next, request: Request) -> Response {
    if request.body().size_hint().lower() < HEAVY_BODY {
        return next.run(request).await;
    }
    let answer = RequestId::keep(request_log::noting(next.run(request)));
    let (response, has_line) = heavy::run(answer.in_current_span()).await;
    if has_line {
        request_log::has_line();
    }
    response
}
