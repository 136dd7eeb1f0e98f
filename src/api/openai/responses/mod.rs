//! `POST /v1/responses`: OpenAI's Responses API over chat, whole or as named events.
//!
//! ```text
//! request ─ input, tools ─▶ ChatRequest ─▶ chat::prepare_as ─▶ events ─▶ format ─▶ objects
//! ```
//!
//! Nothing is stored: a response cannot be fetched, continued by its id or run in the background, and the fields that
//! ask for storage are refused. `super::chat` prepares the computation.

mod format;
mod input;
mod names;
mod object;
pub(in crate::api) mod request;
pub(in crate::api) mod specs;
mod tools;

use super::{chat, shared::limits::RequestLimits};
use crate::api::{
    call::Call,
    driver::{Submission, generate},
    error::ApiError,
    fields::Fields,
};
use axum::response::Response;
use format::{ResponseView, ResponsesFormat};
use request::ResponsesRequest;

/// The handler of `POST /v1/responses`.
///
/// # Errors
/// Any failure before the response has begun.
pub(in crate::api) async fn create(call: Call, fields: Fields) -> Result<Response, ApiError> {
    let read = |fields, limits: &RequestLimits| {
        ResponsesRequest::read(fields, limits).map(|request| (request.chat, (request.echo, request.names)))
    };
    let (prepared, (echo, names)) = chat::prepare_as(&call, fields, read).await?;
    let warnings = call.enforce(prepared.warnings)?;
    let (request, model) = (prepared.request, prepared.model);
    let view = ResponseView {
        model: model.name.clone(),
        logprobs: request.logprobs.is_some(),
        reasoning: request.include_reasoning,
        seed: prepared.seed,
        warnings: warnings.for_body(),
        echo,
        names,
    };
    let format = ResponsesFormat::new(view, &prepared.output);
    let (sequences, stream, fields) = (prepared.sequences, request.stream, prepared.fields);
    let submission = Submission { model, sequences, choices: 1, stream, fields, warnings, line_limit: None };
    generate(&call, submission, format).await
}

#[cfg(test)]
mod tests;
