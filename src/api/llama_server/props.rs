//! `GET /props`: facts about the server and its model under llama-server's names. Read-only.
//!
//! `model_path` is a name and not a path: the folders of the server's machine are nobody's business.

use super::{
    BUILD,
    options::SharedOptions,
    settings::{AnswerSettings, settings},
};
use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::Fields,
        openai::{models, shared::limits::RequestLimits},
    },
    gateway::models::Model,
    protocol::{ModelInfo, SequenceRequest, Token},
};
use axum::Json;
use serde_json::{Map, Value, json};

/// The handler of `GET /props`.
///
/// # Errors
/// The model is not loaded, or the engine is not available.
pub(in crate::api) async fn props(call: Call) -> Result<Json<Value>, ApiError> {
    let model = call.first_model();
    let info = models::loaded(&model)?;
    let templates = model.templates.of(&info).await;
    let templates = templates.map_err(|reason| ApiError::EngineFailed { message: format!("No chat template: {reason}.") })?;
    let (plain, with_tools) = (templates.select(false).source(), templates.select(true).source());
    let bos_token = spelled(&model, info.bos).await?;
    let eos_token = spelled(&model, info.eos).await?;
    let mut props = json!({
        "default_generation_settings": {
            "id": 0,
            "id_task": -1,
            "n_ctx": info.max_model_len,
            "speculative": false,
            "is_processing": false,
            "params": defaults(&model, &info)?,
        },
        "total_slots": info.max_num_seqs,
        "model_alias": model.name,
        "model_path": info.name,
        "modalities": {"vision": false, "audio": false},
        "chat_template": plain,
        "bos_token": bos_token,
        "eos_token": eos_token,
        "build_info": BUILD,
        "is_sleeping": false,
    });
    if with_tools != plain {
        props["chat_template_tool_use"] = with_tools.into();
    }
    Ok(Json(props))
}

/// The settings of a `/completion` without any field.
pub(super) fn defaults(model: &Model, info: &ModelInfo) -> Result<Value, ApiError> {
    let options = SharedOptions::read(Fields::new(Map::new()), &RequestLimits::of(model, info))?;
    let sequence = SequenceRequest { sampling: options.sampling.for_choice(0, 0), ..SequenceRequest::default() };
    let shown = AnswerSettings { seed: -1, n_predict: -1, n_ctx: info.max_model_len, ..AnswerSettings::default() };
    Ok(settings(&sequence, shown))
}

async fn spelled(model: &Model, token: Option<Token>) -> Result<String, ApiError> {
    let pieces = model.handle.spell(token.into_iter().collect()).await?;
    Ok(pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect())
}
