//! `POST /v1/completions/render` and `POST /v1/chat/completions/render`: the tokens that a request would compute. Of
//! completions a list with an element per prompt, of chat the one object.
//!
//! vLLM's routes. Routers that know of prefix caches (vllm-router, llm-d) call them with the body of the request itself and
//! read `token_ids`. It is prepared by the code that prepares the request, so the two cannot disagree; nothing is generated.

use super::{chat, completions};
use crate::{
    api::{
        error::ApiError,
        fields::Fields,
        state::{AppState, OfCaller},
        warnings::WarningPolicy,
    },
    gateway::keys::Principal,
    protocol::{SequenceRequest, Token},
};
use axum::{
    Extension, Json,
    body::Bytes,
    http::HeaderMap,
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
    sampling_params: SamplingParams,
}

#[derive(Serialize)]
struct SamplingParams {
    n: usize,
    max_tokens: u32,
}

/// The handler of `/v1/completions/render`.
///
/// # Errors
/// As of the request itself.
pub(super) async fn of_completions(
    OfCaller(state): OfCaller,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let fields = Fields::parse(&body)?;
    drop(body);
    let completions::Prepared { request, model, warnings, sequences, .. } = completions::prepare(&state, fields, principal).await?;
    let warnings = warnings.enforce(WarningPolicy::of(&headers, &state.config))?;
    let prompts = sequences.into_iter().step_by(request.best_of);
    let rendered = try_join_all(prompts.map(|sequence| rendered(&state, "cmpl", &model, request.n, sequence))).await?;
    let mut response = Json(rendered).into_response();
    warnings.put_on(&mut response);
    Ok(response)
}

/// The handler of `/v1/chat/completions/render`.
///
/// # Errors
/// As of the request itself.
pub(super) async fn of_chat(
    OfCaller(state): OfCaller,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let fields = Fields::parse(&body)?;
    drop(body);
    let chat::Prepared { request, model, warnings, sequences, .. } = chat::prepare(&state, fields, principal).await?;
    let warnings = warnings.enforce(WarningPolicy::of(&headers, &state.config))?;
    let sequence = sequences.into_iter().next().unwrap_or_default();
    let mut response = Json(rendered(&state, "chatcmpl", &model, request.n, sequence).await?).into_response();
    warnings.put_on(&mut response);
    Ok(response)
}

async fn rendered(state: &AppState, prefix: &str, model: &str, n: usize, sequence: SequenceRequest) -> Result<Rendered, ApiError> {
    Ok(Rendered {
        request_id: format!("{prefix}-{}", uuid::Uuid::new_v4().simple()),
        model: model.to_owned(),
        token_ids: sequence.prompt.iter().map(|Token(id)| *id).collect(),
        sampling_params: SamplingParams { n, max_tokens: sequence.max_tokens },
        prompt: state.engine.detokenize(sequence.prompt).await?,
    })
}
