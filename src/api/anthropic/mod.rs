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
    fields::Fields,
    layers::RequestId,
    openai::chat::{prepare, understand},
    respond::{Mode, Recorder, Run, respond},
    state::{AppState, OfCaller},
    warnings::{WarningPolicy, Warnings},
};
use crate::gateway::keys::Principal;
use axum::{
    Extension, Json, Router,
    body::Bytes,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
    routing::post,
};
use error::Refusal;
use format::{MessageFormat, View};
use request::{Aim, MessageRequest};
use serde_json::{Map, Value};
use tokio::time::Instant;

/// The routes of this folder.
pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/v1/messages", post(create)).route("/v1/messages/count_tokens", post(count))
}

/// `POST /v1/messages`.
///
/// # Errors
/// Whatever is wrong before the response has begun.
async fn create(
    OfCaller(state): OfCaller,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let received = Instant::now();
    let (mut request, fields) = read(&body, Aim::Create)?;
    drop(body);
    let prepared = prepare(&state, fields, principal).await.map_err(|error| request.names.of_error(error))?;
    let warnings = warnings(&mut request, prepared.warnings).enforce(WarningPolicy::of(&headers, &state.config))?;
    let view = View {
        thoughts: request.shows_thoughts,
        stop_sequences: prepared.request.ending.strings,
        prompt_tokens: prepared.sequences.iter().map(|sequence| sequence.prompt.len()).sum(),
        warnings: warnings.for_body(),
        request_id: RequestId::present(),
    };
    let stream = prepared.request.stream;
    let recorder = Recorder::new("messages", &prepared.model, stream, received);
    let run = Run::start(&state.engine, prepared.sequences, 1, recorder)?;
    let format = MessageFormat::new(prepared.model, view, prepared.output);
    let mut response = respond(run, format, Mode::of(stream, &state.config)).await?;
    warnings.put_on(&mut response);
    Ok(response)
}

/// `POST /v1/messages/count_tokens`: the tokens of the prompt that the same body would make, however long it is.
///
/// # Errors
/// Whatever is wrong with the request but its length.
async fn count(OfCaller(state): OfCaller, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let (mut request, fields) = read(&body, Aim::Count)?;
    drop(body);
    let understood = understand(&state, fields).await.map_err(|error| request.names.of_error(error))?;
    let warnings = warnings(&mut request, understood.warnings).enforce(WarningPolicy::of(&headers, &state.config))?;
    let mut response = Json(object::TokenCount { input_tokens: understood.tokens.len() }).into_response();
    warnings.put_on(&mut response);
    Ok(response)
}

/// Reads a body; the chat fields that it stands for.
fn read(body: &[u8], aim: Aim) -> Result<(MessageRequest, Fields), Refusal> {
    let mut fields = Fields::parse(body)?;
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
