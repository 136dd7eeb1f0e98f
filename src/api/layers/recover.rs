//! A panic in a handler is a 500 for that request, and an error in the log.

use crate::api::{error::ApiError, family::Family};
use axum::{extract::Request, middleware::Next, response::Response};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;

pub(super) async fn recover(request: Request, next: Next) -> Response {
    let family = Family::of(request.uri().path());
    // Nothing of the request outlives the panic, so nothing half-changed can be seen.
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            tracing::error!(panic = text.unwrap_or("without a message"), "a request handler panicked; please report this");
            family.refuse(&ApiError::Internal)
        }
    }
}
