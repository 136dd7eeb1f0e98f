//! `POST /v1/responses`: OpenAI's Responses API over chat, whole or as named events.
//!
//! ```text
//! request ─ input, tools ─▶ chat's fields ─▶ chat::prepare ─▶ events ─▶ format ─▶ objects
//! ```
//!
//! Nothing is stored: a response cannot be fetched, continued by its id or run in the background, and the fields that ask
//! for it are refused. What chat computes, and with which fields, is `super::chat`'s.

mod format;
mod input;
mod names;
mod object;
pub(in crate::api) mod request;
pub(in crate::api) mod specs;
mod tools;

use super::chat;
use crate::{
    api::{
        error::ApiError,
        fields::Fields,
        respond::{Mode, Recorder, Run, respond},
        state::OfCaller,
        warnings::WarningPolicy,
    },
    gateway::keys::Principal,
};
use axum::{Extension, body::Bytes, http::HeaderMap, response::Response};
use format::{ResponsesFormat, View};
use request::ResponsesRequest;
use tokio::time::Instant;

/// The handler. Authentication has put the principal into the request.
///
/// # Errors
/// Whatever is wrong before the response has begun.
pub(super) async fn create(
    OfCaller(state): OfCaller,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let received = Instant::now();
    let fields = Fields::parse(&body)?;
    drop(body);
    let ResponsesRequest { chat, names, echo, ignored } = ResponsesRequest::read(fields)?;
    let prepared = chat::prepare(&state, Fields::new(chat), principal).await.map_err(|error| names.error(error))?;
    let mut warnings = names.warnings(prepared.warnings);
    warnings.ignore(ignored);
    let warnings = warnings.enforce(WarningPolicy::of(&headers, &state.config))?;
    let request = prepared.request;
    let recorder = Recorder::new("responses", &prepared.model, request.stream, received);
    let run = Run::start(&state.engine, prepared.sequences, 1, recorder)?;
    let view = View {
        model: prepared.model,
        logprobs: request.logprobs.is_some(),
        reasoning: request.include_reasoning,
        seed: prepared.seed,
        warnings: warnings.for_body(),
        echo,
    };
    let format = ResponsesFormat::new(view, &prepared.output);
    let mut response = respond(run, format, Mode::of(request.stream, &state.config)).await?;
    warnings.put_on(&mut response);
    Ok(response)
}

#[cfg(test)]
mod tests;
