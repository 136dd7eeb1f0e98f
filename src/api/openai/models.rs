//! `GET /v1/models` and `/v1/models/{id}`, and the one rule for the field `model`.
//!
//! All served names refer to the one model of this server. A name that is not served is a 404, never a silent fallback.

use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::Fields,
        openai::shared::limits::{MODEL, MODEL_OR_FIRST},
        state::AppState,
    },
    gateway::{
        error::{RETRY_FAILED, RETRY_LOADING, SubmitError},
        models::{Model, ModelState},
    },
    protocol::ModelInfo,
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use serde::Serialize;
use std::sync::Arc;

/// OpenAI's `Model`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::api) struct ModelObject {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    /// vLLM's extension: the maximum of prompt and completion together, tokens. Absent until the model has been loaded
    /// once.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<u32>,
}

/// OpenAI's `ListModelsResponse`.
#[derive(Debug, Serialize)]
pub(in crate::api) struct ModelList {
    object: &'static str,
    data: Vec<ModelObject>,
}

/// `GET /v1/models`.
pub(in crate::api) async fn list(State(AppState { models, .. }): State<AppState>) -> Json<ModelList> {
    Json(ModelList { object: "list", data: models.all().map(|model| object(&model, models.created())).collect() })
}

/// `GET /v1/models/{id}`; the id may contain `/` and `:`, percent-encoded or not.
///
/// # Errors
/// `ModelNotFound`; a path that is not UTF-8 names no model either.
pub(in crate::api) async fn get(
    State(AppState { models, .. }): State<AppState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelObject>, ApiError> {
    let Path(id) = id.unwrap_or_else(|_| Path(String::from("\u{FFFD}")));
    let model = models.get(&id).or_else(|| models.get(id.trim_end_matches('/'))).ok_or_else(|| not_found(&id))?;
    Ok(Json(object(&model, models.created())))
}

/// Takes the required field `model`.
///
/// # Errors
/// The field is missing, is no string, or names a model that is not served here.
pub(super) fn requested(call: &Call, fields: &mut Fields) -> Result<Model, ApiError> {
    let name = fields.require(&MODEL)?;
    call.model(&name).ok_or_else(|| not_found(&name))
}

/// Takes the field `model` on a route where it may be absent, which means the first model.
///
/// # Errors
/// The field is no string, or names a model that is not served here.
pub(in crate::api) fn requested_or_first(call: &Call, fields: &mut Fields) -> Result<Model, ApiError> {
    match fields.get(&MODEL_OR_FIRST)? {
        Some(name) => call.model(&name).ok_or_else(|| not_found(&name)),
        None => Ok(call.first_model()),
    }
}

/// Facts about the model.
///
/// # Errors
/// The model has never been loaded: 503 with a suggested wait.
pub(in crate::api) fn loaded(model: &Model) -> Result<Arc<ModelInfo>, ApiError> {
    model.info.clone().ok_or_else(|| not_loaded(model.state()))
}

/// Facts about the model, for a route that generates text with it.
///
/// # Errors
/// As [`loaded`]; or the model computes embeddings: a 400 that says so.
pub(in crate::api) fn generating(model: &Model) -> Result<Arc<ModelInfo>, ApiError> {
    let info = loaded(model)?;
    if info.embedding().is_some() { Err(SubmitError::NotGenerating.into()) } else { Ok(info) }
}

fn not_loaded(state: ModelState) -> ApiError {
    let loading = |message: String, retry_after| ApiError::ModelLoading { message, retry_after };
    match state {
        ModelState::Loading(share) => {
            loading(format!("The model is being loaded ({:.0} % done). Please try again.", share.clamp(0.0, 1.0) * 100.0), RETRY_LOADING)
        }
        ModelState::Unloaded => loading("The model's file is being fetched or checked. Please try again.".to_owned(), RETRY_LOADING),
        ModelState::Ready | ModelState::Restarting(_) => loading("The model is being loaded. Please try again.".to_owned(), RETRY_LOADING),
        ModelState::Failed => loading("The model could not be loaded; the server's log says why.".to_owned(), RETRY_FAILED),
        ModelState::Evicting => ApiError::ShuttingDown,
    }
}

fn not_found(name: &str) -> ApiError {
    // The message repeats the name; a very long one is cut.
    ApiError::ModelNotFound { model: name.chars().take(128).collect() }
}

fn object(model: &Model, created: u64) -> ModelObject {
    let max_model_len = model.info.as_ref().map(|info| info.max_model_len);
    ModelObject { id: model.name.clone(), object: "model", created, owned_by: "llamero", max_model_len }
}

#[cfg(test)]
mod tests;
