//! Answers requests with a long body on threads of their own (`api/heavy.rs`).
//!
//! Carries over the task-locals (request id, trace, log-line flag, share of the body budget) and the span.

use crate::api::{
    body_budget::{self, BudgetShare},
    heavy::{self, HEAVY_BODY},
    request_id::RequestId,
    request_log, trace,
};
use axum::{body::HttpBody as _, extract::Request, middleware::Next, response::Response};
use tracing::Instrument as _;

/// Answers a request whose body is in memory and holds this share of the budget.
pub(super) async fn run(next: Next, request: Request, part: BudgetShare) -> Response {
    if request.body().size_hint().lower() < HEAVY_BODY {
        return body_budget::scope(part, next.run(request)).await;
    }
    let answer = RequestId::keep(trace::keep(request_log::noting(body_budget::scope(part, next.run(request)))));
    let (response, has_line) = heavy::run(answer.in_current_span()).await;
    if has_line {
        request_log::has_line();
    }
    response
}
