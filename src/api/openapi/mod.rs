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
#[cfg(test)]
mod refusals;

use super::{error::ApiError, family::Family, state::AppState};
use axum::{
    extract::State,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use std::sync::{Arc, LazyLock, OnceLock};
use utoipa_swagger_ui::Config;

/// `/docs` and the files below it. All links are relative, because a proxy may serve them under a prefix.
pub(super) async fn page(method: Method, uri: Uri) -> Response {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("../openapi.json")));
    let Some(file) = uri.path().strip_prefix("/docs/") else {
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "docs/")]).into_response();
    };
    match utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG)) {
        Ok(Some(file)) => ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response(),
        Ok(None) => Family::Legacy.refuse(&ApiError::RouteNotFound { method: method.to_string(), path: uri.path().to_owned() }),
        Err(error) => {
            tracing::error!(%error, "a page of the documents cannot be served");
            Family::Legacy.refuse(&ApiError::Internal)
        }
    }
}

/// The handler of `/openapi.json`. Its examples name the model that is served, so that they can be sent as they are.
pub(super) async fn specification(State(state): State<AppState>) -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document::document().to_string());
    let quoted = |name: &str| serde_json::Value::from(name).to_string();
    let text = text.replace(&quoted(document::MODEL_PLACEHOLDER), &quoted(&state.models.first().name));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests;
