//! Anthropic's Messages API: `POST /v1/messages`, whole and streamed, and `POST /v1/messages/count_tokens`.
//!
//! ```text
//! body ─ request, conversation, tools ─▶ ChatRequest ─▶ openai::chat ─▶ sequence ─▶ events ─ format ─▶ objects
//! ```
//!
//! A request is read into the same struct as one of `/v1/chat/completions` and prepared by the code of that route, so
//! that messages, tools, stop strings and formats mean the same on both. Owns Anthropic's terms. The headers
//! `anthropic-version` and `anthropic-beta` have no effect.

mod conversation;
pub(super) mod error;
mod format;
mod object;
pub(in crate::api) mod request;
pub(super) mod specs;
mod tools;

use super::{
    call::Call,
    driver::{Submission, generate},
    fields::{FieldError, Fields},
    openai::{
        chat::{prepare_as, request::ChatRequest, understand_as},
        shared::limits::RequestLimits,
    },
    request_id::RequestId,
};
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use error::AnthropicError;
use format::{MessageFormat, MessageView};
use request::{MessageRequest, MessagesEndpoint};

/// `POST /v1/messages`.
///
/// # Errors
/// Any failure before the response has begun.
pub(super) async fn create(call: Call, fields: Fields) -> Result<Response, AnthropicError> {
    let (prepared, shows_thoughts) = prepare_as(&call, fields, reader(MessagesEndpoint::Create)).await?;
    let warnings = call.enforce(prepared.warnings)?;
    let view = MessageView {
        thoughts: shows_thoughts,
        stop_sequences: prepared.request.ending.strings,
        prompt_tokens: prepared.sequences.iter().map(|sequence| sequence.prompt.len()).sum(),
        warnings: warnings.for_body(),
        request_id: RequestId::present(),
    };
    let (model, stream, fields) = (prepared.model, prepared.request.stream, prepared.fields);
    let format = MessageFormat::new(model.name.clone(), view, prepared.output);
    let submission = Submission { model, sequences: prepared.sequences, choices: 1, stream, fields, warnings, line_limit: None };
    Ok(generate(&call, submission, format).await?)
}

/// `POST /v1/messages/count_tokens`: the number of tokens in the prompt that the same body would make, even if the
/// prompt is too long to be answered.
///
/// # Errors
/// Any fault of the request except its length.
pub(super) async fn count(call: Call, fields: Fields) -> Result<Response, AnthropicError> {
    let (understood, _) = understand_as(&call, fields, reader(MessagesEndpoint::Count)).await?;
    let warnings = call.enforce(understood.warnings)?;
    let mut response = Json(object::TokenCount { input_tokens: understood.tokens.len() }).into_response();
    warnings.write_header(&mut response);
    Ok(response)
}

/// A reader of a request's fields. Its boolean is true if the answer contains the text of thinking.
fn reader(aim: MessagesEndpoint) -> impl FnOnce(Fields, &RequestLimits) -> Result<(ChatRequest, bool), FieldError> {
    move |fields, limits| MessageRequest::read(fields, aim, limits).map(|request| (request.chat, request.shows_thoughts))
}

#[cfg(test)]
mod tests;
