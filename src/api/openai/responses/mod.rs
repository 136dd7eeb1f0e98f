//! `POST /v1/responses`: OpenAI's Responses API over chat, whole or as named events.
//!
//! ```text
//! request ─ input, tools ─▶ ChatRequest ─▶ chat::prepare_as ─▶ events ─▶ format ─▶ objects
//! ```
//!
//! Nothing is stored: a response cannot be fetched, continued by its id or run in the background, and the fields that ask
//! for it are refused. What is computed is `super::chat`'s.

mod format;
mod input;
mod object;
pub(in crate::api) mod request;
mod tools;

use super::{chat, shared::limits::RequestLimits};
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
    let read = |fields, limits: &RequestLimits| ResponsesRequest::read(fields, limits).map(|request| (request.chat, request.echo));
    let (prepared, echo) = chat::prepare_as(&state, fields, principal, read).await?;
    let warnings = prepared.warnings.enforce(WarningPolicy::of(&headers, &state.config))?;
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
