//! `GET /v1/models` and `/v1/models/{id}`, and the one rule for the field `model`.
//!
//! All served names stand for the one model of this server. A name that is not served is a 404, never a silent fallback.

use crate::{
    api::{
        error::ApiError,
        fields::Fields,
        openai::shared::limits::{MODEL, MODEL_OR_FIRST},
        state::AppState,
    },
    gateway::handle::{EngineHandle, EngineState, SubmitError},
    protocol::ModelInfo,
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// Suggested wait while a model loads.
const LOADING_WAIT: Duration = Duration::from_secs(2);
/// Suggested wait for what only an operator can repair; longer than SDKs retry.
const REPAIR_WAIT: Duration = Duration::from_secs(300);

/// OpenAI's `Model`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ModelObject {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    /// vLLM's extension: longest prompt + completion, tokens. Absent until the model was loaded once.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<u32>,
}

/// OpenAI's `ListModelsResponse`.
#[derive(Debug, Serialize)]
pub(super) struct ModelList {
    object: &'static str,
    data: Vec<ModelObject>,
}

/// `GET /v1/models`; `created` is when this server started, Unix time in s.
pub(super) async fn list(State(state): State<AppState>, created: u64) -> Json<ModelList> {
    let info = state.engine.model();
    Json(ModelList {
        object: "list",
        data: state.config.served_model_names.iter().map(|name| object(name, info.as_deref(), created)).collect(),
    })
}

/// `GET /v1/models/{id}`; the id may contain `/` and `:`, percent-encoded or not.
///
/// # Errors
/// `ModelNotFound`; a path that is no UTF-8 names no model either.
pub(super) async fn get(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    created: u64,
) -> Result<Json<ModelObject>, ApiError> {
    let Path(id) = id.unwrap_or_else(|_| Path(String::from("\u{FFFD}")));
    let name = served(id, &state.config.served_model_names)?;
    Ok(Json(object(&name, state.engine.model().as_deref(), created)))
}

/// Takes the required field `model`.
///
/// # Errors
/// It is missing, no string, or not served here.
pub(super) fn requested(fields: &mut Fields, served_model_names: &[String]) -> Result<String, ApiError> {
    let name = fields.require(&MODEL)?;
    served(name, served_model_names)
}

/// Takes the field `model` where it may be absent: the first served name then.
///
/// # Errors
/// It is no string, or not served here.
pub(in crate::api) fn requested_or_first(fields: &mut Fields, served_model_names: &[String]) -> Result<String, ApiError> {
    match fields.get(&MODEL_OR_FIRST)? {
        Some(name) => served(name, served_model_names),
        None => Ok(served_model_names.first().cloned().unwrap_or_default()),
    }
}

/// Facts about the model.
///
/// # Errors
/// The model was never loaded yet: 503, and when to come back.
pub(in crate::api) fn loaded(engine: &EngineHandle) -> Result<Arc<ModelInfo>, ApiError> {
    engine.model().ok_or_else(|| not_loaded(&engine.state()))
}

/// Facts about the model, for a route that generates text with it.
///
/// # Errors
/// As [`loaded`]; or the model embeds: 400, saying so.
pub(super) fn generating(engine: &EngineHandle) -> Result<Arc<ModelInfo>, ApiError> {
    let info = loaded(engine)?;
    if info.embedding.is_some() { Err(SubmitError::NotGenerating.into()) } else { Ok(info) }
}

fn not_loaded(state: &EngineState) -> ApiError {
    let loading = |message: String, retry_after| ApiError::ModelLoading { message, retry_after };
    match state {
        EngineState::Loading(share) => {
            loading(format!("The model is being loaded ({:.0} % done). Please try again.", share.clamp(0.0, 1.0) * 100.0), LOADING_WAIT)
        }
        EngineState::Preparing => loading("The model's file is being fetched or checked. Please try again.".to_owned(), LOADING_WAIT),
        // What the engine said when it died is for the log.
        EngineState::Ready | EngineState::Restarting(_) => loading("The model is being loaded. Please try again.".to_owned(), LOADING_WAIT),
        EngineState::Failed(_) => loading("The model could not be loaded; the server's log says why.".to_owned(), REPAIR_WAIT),
        EngineState::Draining => ApiError::ShuttingDown,
    }
}

fn served(name: String, served_model_names: &[String]) -> Result<String, ApiError> {
    if served_model_names.contains(&name) {
        return Ok(name);
    }
    // The name comes back in the message; a whole book of it need not.
    Err(ApiError::ModelNotFound { model: name.chars().take(128).collect() })
}

fn object(name: &str, info: Option<&ModelInfo>, created: u64) -> ModelObject {
    ModelObject { id: name.to_owned(), object: "model", created, owned_by: "llamero", max_model_len: info.map(|info| info.max_model_len) }
}

#[cfg(test)]
mod tests;
