//! Anthropic's Messages API: `POST /v1/messages`, whole and streamed, and `POST /v1/messages/count_tokens`.
//!
//! ```text
//! body ─ request, conversation, tools ─▶ chat fields ─▶ openai::chat ─▶ sequence ─▶ events ─ format ─▶ objects
//! ```
//!
//! A request is translated into the fields of `/v1/chat/completions` and prepared by the code of that route, so that both
//! mean the same by messages, tools, stop strings and formats; what that code says of a field is told under the name that
//! the field has here (`names.rs`). Owns Anthropic's words. Which headers `anthropic-version` and `anthropic-beta` come
//! with makes no difference.

mod conversation;
mod error;
mod format;
mod names;
mod object;
pub(in crate::api) mod request;
pub(super) mod specs;
mod tools;

pub(super) use error::refusal;

use super::{
    call::Call,
    driver::{Submission, generate},
    fields::Fields,
    layers::RequestId,
    openai::chat::{prepare, understand},
    warnings::Warnings,
};
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use error::Refusal;
use format::{MessageFormat, View};
use request::{Aim, MessageRequest};
use serde_json::{Map, Value};

/// `POST /v1/messages`.
///
/// # Errors
/// Whatever is wrong before the response has begun.
pub(super) async fn create(call: Call, fields: Fields) -> Result<Response, Refusal> {
    let (mut request, fields) = read(fields, Aim::Create)?;
    let prepared = prepare(&call, fields).await.map_err(|error| request.names.of_error(error))?;
    let warnings = call.enforce(warnings(&mut request, prepared.warnings))?;
    let view = View {
        thoughts: request.shows_thoughts,
        stop_sequences: prepared.request.ending.strings,
        prompt_tokens: prepared.sequences.iter().map(|sequence| sequence.prompt.len()).sum(),
        warnings: warnings.for_body(),
        request_id: RequestId::present(),
    };
    let (model, stream) = (prepared.model, prepared.request.stream);
    let format = MessageFormat::new(model.name.clone(), view, prepared.output);
    let submission = Submission { model, sequences: prepared.sequences, choices: 1, stream, warnings, line_limit: None };
    Ok(generate(&call, submission, format).await?)
}

/// `POST /v1/messages/count_tokens`: the tokens of the prompt that the same body would make, however long it is.
///
/// # Errors
/// Whatever is wrong with the request but its length.
pub(super) async fn count(call: Call, fields: Fields) -> Result<Response, Refusal> {
    let (mut request, fields) = read(fields, Aim::Count)?;
    let understood = understand(&call, fields).await.map_err(|error| request.names.of_error(error))?;
    let warnings = call.enforce(warnings(&mut request, understood.warnings))?;
    let mut response = Json(object::TokenCount { input_tokens: understood.tokens.len() }).into_response();
    warnings.put_on(&mut response);
    Ok(response)
}

/// Reads a body; the chat fields that it stands for.
fn read(mut fields: Fields, aim: Aim) -> Result<(MessageRequest, Fields), Refusal> {
    let model = fields.take("model");
    let mut request = MessageRequest::read(fields, aim)?;
    let mut chat: Map<String, Value> = std::mem::take(&mut request.chat);
    chat.extend(model.map(|model| ("model".to_owned(), model)));
    Ok((request, Fields::new(chat)))
}

/// What chat says that was ignored or obeyed in part, and what else was here.
fn warnings(request: &mut MessageRequest, of_chat: Warnings) -> Warnings {
    let mut warnings = of_chat;
    warnings.rename(|name| request.names.of_text(name));
    warnings.ignore(std::mem::take(&mut request.ignored));
    for (param, text) in std::mem::take(&mut request.partly) {
        warnings.clamped(param, text.to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests;
