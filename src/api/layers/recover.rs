//! Turns a panic in a handler into a 500 for that request, and an error in the log.

use crate::api::{error::ApiError, family::Family};
use axum::response::Response;
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;

pub(super) async fn recover(family: Family, answer: impl Future<Output = Response>) -> Response {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            tracing::error!(panic = text.unwrap_or("without a message"), "a request handler panicked; please report this");
            family.refuse(&ApiError::Internal)
        }
    }
}
