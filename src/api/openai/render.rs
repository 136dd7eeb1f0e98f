//! `POST /v1/completions/render` and `POST /v1/chat/completions/render`: the tokens that a request would compute. The
//! answer for completions is a list with an object for each prompt, the one for chat a single object.
//!
//! These routes are vLLM's. Routers that use prefix caches (vllm-router, llm-d) call them with the body of the request
//! itself and read `token_ids`. The body is prepared by the code that prepares the request, so that the two cannot
//! disagree; nothing is generated.

use super::{chat, completions};
use crate::{
    api::{call::Call, error::ApiError, fields::Fields},
    gateway::models::Model,
    protocol::{SequenceRequest, Token},
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use futures_util::future::try_join_all;
use serde::Serialize;

/// One prompt of the request.
#[derive(Serialize)]
struct Rendered {
    request_id: String,
    model: String,
    token_ids: Vec<u32>,
    /// The tokens as text, control tokens written out.
    prompt: String,
    sampling_params: SamplingParamsObject,
}

#[derive(Serialize)]
struct SamplingParamsObject {
    n: usize,
    max_tokens: u32,
}

/// The handler of `/v1/completions/render`.
///
/// # Errors
/// The errors of the request itself.
pub(in crate::api) async fn of_completions(call: Call, fields: Fields) -> Result<Response, ApiError> {
    let completions::PreparedCompletion { request, model, warnings, sequences, .. } = completions::prepare(&call, fields).await?;
    let warnings = call.enforce(warnings)?;
    let prompts = sequences.into_iter().step_by(request.best_of);
    let rendered = try_join_all(prompts.map(|sequence| rendered(&model, "cmpl", request.n, sequence))).await?;
    let mut response = Json(rendered).into_response();
    warnings.write_header(&mut response);
    Ok(response)
}

/// The handler of `/v1/chat/completions/render`.
///
/// # Errors
/// The errors of the request itself.
pub(in crate::api) async fn of_chat(call: Call, fields: Fields) -> Result<Response, ApiError> {
    let chat::PreparedChat { request, model, warnings, sequences, .. } = chat::prepare(&call, fields).await?;
    let warnings = call.enforce(warnings)?;
    let sequence = sequences.into_iter().next().unwrap_or_default();
    let mut response = Json(rendered(&model, "chatcmpl", request.n, sequence).await?).into_response();
    warnings.write_header(&mut response);
    Ok(response)
}

async fn rendered(model: &Model, prefix: &str, n: usize, sequence: SequenceRequest) -> Result<Rendered, ApiError> {
    Ok(Rendered {
        request_id: format!("{prefix}-{}", uuid::Uuid::new_v4().simple()),
        model: model.name.clone(),
        token_ids: sequence.prompt.iter().map(|Token(id)| *id).collect(),
        sampling_params: SamplingParamsObject { n, max_tokens: sequence.max_tokens },
        prompt: model.handle.detokenize(sequence.prompt).await?,
    })
}
