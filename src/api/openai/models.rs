//! `GET /v1/models` and `/v1/models/{id}`, and the one rule for the field `model`.
//!
//! All served names refer to the one model of this server. It answers to names that are not served too, and the
//! warnings say so; in a strict request such a name is a 404. `Call::stand_in` decides which model may answer.

use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::{FieldError, Fields},
        openai::shared::limits::{MODEL, MODEL_OR_FIRST},
        state::AppState,
        warnings::{Warnings, visible},
    },
    chat::output::Reasoning,
    gateway::{
        error::{RETRY_FAILED, RETRY_LOADING, SubmitError},
        models::{Model, ModelState},
    },
    protocol::{ModelInfo, Pooling},
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
    /// Absent until the model has been loaded once.
    #[serde(flatten)]
    facts: Option<ModelFacts>,
}

/// Facts about a loaded model by which clients measure their prompts. OpenAI has none of them; each is under the name
/// of the servers and editors that know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ModelFacts {
    /// vLLM's name of the maximum of prompt and completion together, tokens.
    max_model_len: u32,
    /// The same, as OpenRouter and LM Studio name it.
    context_length: u32,
    /// The same, as Groq and editors name it.
    context_window: u32,
    /// The same, as llama-server names it.
    n_ctx: u32,
    meta: ModelMeta,
    /// The abilities of the model in Ollama's words.
    capabilities: Vec<&'static str>,
}

/// llama-server's `meta`, as far as this server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ModelMeta {
    /// The context that the model was trained for, tokens.
    n_ctx_train: u32,
    n_vocab: u32,
    n_params: u64,
    /// The size of the tensors, bytes.
    size: u64,
}

/// OpenAI's `ListModelsResponse`.
#[derive(Debug, Serialize)]
pub(in crate::api) struct ModelList {
    object: &'static str,
    data: Vec<ModelObject>,
}

/// `GET /v1/models`.
pub(in crate::api) async fn list(State(AppState { models, .. }): State<AppState>) -> Json<ModelList> {
    let mut data = Vec::new();
    for model in models.all() {
        data.push(object(&model, models.created()).await);
    }
    Json(ModelList { object: "list", data })
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
    Ok(Json(object(&model, models.created()).await))
}

/// Takes the field `model`. A request without one, or for a model that is not served, is answered by the model that may
/// stand in for it, and the warnings name that.
///
/// # Errors
/// The field is no string; or it is absent or names a model that is not served here, and no model may stand in for it.
pub(super) fn requested(call: &Call, fields: &mut Fields, warnings: &mut Warnings) -> Result<Model, ApiError> {
    match fields.get(&MODEL)? {
        Some(name) => named(call, &name, warnings),
        None => {
            let model = call.stand_in().ok_or_else(|| FieldError::missing(MODEL.name))?;
            report(&model, "no model was named", warnings);
            Ok(model)
        }
    }
}

/// Takes the field `model` on a route where it may be absent, which means the first model.
///
/// # Errors
/// The field is no string, or names a model that is not served here, and no model may stand in for it.
pub(in crate::api) fn requested_or_first(call: &Call, fields: &mut Fields, warnings: &mut Warnings) -> Result<Model, ApiError> {
    match fields.get(&MODEL_OR_FIRST)? {
        Some(name) => named(call, &name, warnings),
        None => Ok(call.first_model()),
    }
}

/// The model of this name, or the one that may stand in for it: editors and agents send placeholders, such as
/// `gpt-4o-mini` or the name of a small model for their side jobs.
fn named(call: &Call, name: &str, warnings: &mut Warnings) -> Result<Model, ApiError> {
    if let Some(model) = call.model(name) {
        return Ok(model);
    }
    let model = call.stand_in().ok_or_else(|| not_found(name))?;
    let cause = match visible(name) {
        shown if shown.is_empty() => "the model that was named is not served here".to_owned(),
        shown => format!("model {shown} is not served here"),
    };
    report(&model, &cause, warnings);
    Ok(model)
}

/// Adds a warning that names the model which answers.
fn report(model: &Model, cause: &str, warnings: &mut Warnings) {
    warnings.clamped(MODEL.name, format!("{cause}, so {} answered", visible(&model.name)));
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

async fn object(model: &Model, created: u64) -> ModelObject {
    let facts = match &model.info {
        Some(info) => Some(ModelFacts {
            max_model_len: info.max_model_len,
            context_length: info.max_model_len,
            context_window: info.max_model_len,
            n_ctx: info.max_model_len,
            meta: ModelMeta {
                n_ctx_train: info.n_ctx_train,
                n_vocab: info.vocabulary_size,
                n_params: info.parameters,
                size: info.size_bytes,
            },
            capabilities: capabilities(model, info).await,
        }),
        None => None,
    };
    ModelObject { id: model.name.clone(), object: "model", created, owned_by: "llamero", facts }
}

/// The abilities of a model in Ollama's words, `generic_tools` and `rerank`.
async fn capabilities(model: &Model, info: &Arc<ModelInfo>) -> Vec<&'static str> {
    if let Some(embedding) = info.embedding() {
        return vec![if matches!(embedding.pooling, Pooling::Rank(_)) { "rerank" } else { "embedding" }];
    }
    let tools = model.templates.tool_capabilities(info, model.config.generic_tools).await;
    let template = model.templates.of(info).await.ok().map(|templates| Arc::clone(templates.select(true)));
    let thinks = template.is_some_and(|template| Reasoning::detect(template.source(), "") != Reasoning::None);
    let more = [("insert", info.fim.is_some()), ("thinking", thinks)].into_iter().filter(|(_, has)| *has).map(|(word, _)| word);
    ["completion"].into_iter().chain(tools.iter().copied()).chain(more).collect()
}

#[cfg(test)]
mod tests;
