//! `POST /apply-template`: the text that the model's chat template makes of messages. Nothing is generated.
//!
//! The text is for `/completion`, where control tokens that a text spells become those tokens: a message that spells
//! one is no longer told apart from the template's own marks, as in llama-server. `/v1/chat/completions` tells them
//! apart.

use super::requested;
use crate::api::{
    call::Call,
    error::ApiError,
    fields::Fields,
    openai::chat,
    tokens::tokenize::specs::{OF_CHAT, REFUSED_BY_CHAT},
    warnings::Warnings,
};
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

/// The answer.
#[derive(Serialize)]
struct AppliedTemplate {
    prompt: String,
}

/// The handler of `POST /apply-template`.
///
/// # Errors
/// A field is at fault, the template refuses the messages, or the engine is not available.
pub(in crate::api) async fn apply(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let mut about_model = Warnings::default();
    let model = requested(&call, &mut fields, &mut about_model)?;
    let mut chat = of_chat(&mut fields);
    chat.set_default("model", model.name.into());
    let (prompt, mut warnings) = chat::render_text(&call, chat).await?;
    warnings.extend(about_model);
    warnings.ignore(fields.finish());
    let warnings = call.enforce(warnings)?;
    let mut response = Json(AppliedTemplate { prompt }).into_response();
    warnings.write_header(&mut response);
    Ok(response)
}

/// Takes the fields that determine a chat's prompt; chat's reader checks them.
pub(in crate::api) fn of_chat(fields: &mut Fields) -> Fields {
    fields.pick(OF_CHAT.iter().chain(REFUSED_BY_CHAT).map(|spec| spec.name()))
}
