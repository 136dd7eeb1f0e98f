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
    // Without a template that works there is no chat, and everything else here still holds.
    let templates = model.templates.of(&info).await.ok();
    let source = |with_tools: bool| templates.as_ref().map_or("", |templates| templates.select(with_tools).source());
    let (plain, with_tools) = (source(false), source(true));
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

#[cfg(test)]
mod tests {
    use crate::{
        api::testing::{Setup, TestApp},
        gateway::testing::model_info,
        protocol::{EngineCall, EngineReply, FromEngine, ModelInfo, ToEngine},
    };
    use serde_json::{Value, json};

    #[tokio::test]
    async fn a_model_whose_chat_template_is_broken_has_props_without_one() {
        let chat_templates = vec![("default".to_owned(), "{% if %}".to_owned())];
        let spells = |message| match message {
            ToEngine::Call { id, call: EngineCall::Spell(_) } => {
                vec![FromEngine::Reply { id, reply: EngineReply::Spell(Ok(vec![b"<s>".to_vec()])) }]
            }
            _ => Vec::new(),
        };
        let app = TestApp::start_with(Setup::default(), ModelInfo { chat_templates, ..model_info() }, spells).await;

        let answer = app.get("/props").await;

        assert_eq!(answer.status, 200, "{}", answer.body);
        let props: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&props["chat_template"], &props["model_alias"]), (&json!(""), &json!("tiny")));
        assert_eq!(props.get("chat_template_tool_use"), None);
        let samplers = &props["default_generation_settings"]["params"]["samplers"];
        assert_eq!(samplers, &json!(["penalties", "dry", "temperature", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc"]));
    }
}
