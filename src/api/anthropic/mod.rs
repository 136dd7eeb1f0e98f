//! Anthropic's Messages API: `POST /v1/messages`, whole and streamed, and `POST /v1/messages/count_tokens`.
//!
//! ```text
//! body ─ request, conversation, tools ─▶ ChatRequest ─▶ openai::chat ─▶ sequence ─▶ events ─ format ─▶ objects
//! ```
//!
//! A request is read into the same struct as one of `/v1/chat/completions` and prepared by the code of that route, so that both
//! mean the same by messages, tools, stop strings and formats. Owns Anthropic's words. Which headers `anthropic-version` and `anthropic-beta` come
//! with makes no difference.

mod conversation;
mod error;
mod format;
mod object;
pub(in crate::api) mod request;
mod tools;

pub(super) use error::refusal;

use super::{
    fields::{FieldError, Fields},
    layers::RequestId,
    openai::{
        chat::{prepare_as, request::ChatRequest, understand_as},
        shared::limits::RequestLimits,
    },
    respond::{Mode, Recorder, Run, respond},
    state::{AppState, OfCaller},
    warnings::WarningPolicy,
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
    let fields = Fields::parse(&body)?;
    drop(body);
    let (prepared, shows_thoughts) = prepare_as(&state, fields, principal, reader(Aim::Create)).await?;
    let warnings = prepared.warnings.enforce(WarningPolicy::of(&headers, &state.config))?;
    let view = View {
        thoughts: shows_thoughts,
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
    let fields = Fields::parse(&body)?;
    drop(body);
    let (understood, _) = understand_as(&state, fields, reader(Aim::Count)).await?;
    let warnings = understood.warnings.enforce(WarningPolicy::of(&headers, &state.config))?;
    let mut response = Json(object::TokenCount { input_tokens: understood.tokens.len() }).into_response();
    warnings.put_on(&mut response);
    Ok(response)
}

/// Reads the fields of a request; also whether its answer shows thoughts.
fn reader(aim: Aim) -> impl FnOnce(Fields, &RequestLimits) -> Result<(ChatRequest, bool), FieldError> {
    move |fields, limits| MessageRequest::read(fields, aim, limits).map(|request| (request.chat, request.shows_thoughts))
}

#[cfg(test)]
mod tests;
