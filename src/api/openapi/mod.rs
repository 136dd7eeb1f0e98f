//! The documents of the API: `GET /openapi.json`, and `GET /docs`, which shows it. Both come from this binary alone.
//!
//! The specification and `docs/API.md` are made from the specs of fields that stand beside the readers, and tests
//! compare each table of them with the code that reads the fields. Owns no behaviour of any route.

pub(super) mod docs;
mod document;
mod listed;
#[cfg(test)]
mod markdown;
pub(super) mod operations;

use super::state::AppState;
use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
};
use std::sync::OnceLock;

/// `/docs` and the pages below it.
pub(super) fn pages() -> Router<AppState> {
    utoipa_swagger_ui::SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from("/openapi.json")).into()
}

/// The handler of `/openapi.json`.
pub(super) async fn specification() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document::document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

#[cfg(test)]
mod tests;
