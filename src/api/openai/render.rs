//! `POST /v1/completions/render`: the tokens that a completions request would compute, one element per prompt.
//!
//! vLLM's route. Routers that know of prefix caches (vllm-router, llm-d) call it with the body of the request itself and
//! read `token_ids`. It is prepared by the code that prepares the request, so the two cannot disagree; nothing is generated.

use super::completions::{Prepared, prepare};
use crate::{
    api::{error::ApiError, fields::Fields, state::AppState, warnings::WarningPolicy},
    gateway::keys::Principal,
    protocol::Token,
};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
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

#[derive(Clone, Serialize)]
struct SamplingParams {
    n: usize,
    max_tokens: u32,
}

/// The handler.
///
/// # Errors
/// As of the request itself.
pub(super) async fn completions(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let fields = Fields::parse(&body)?;
    drop(body);
    let Prepared { request, model, warnings, sequences, .. } = prepare(&state, fields, principal).await?;
    let warnings = warnings.enforce(WarningPolicy::of(&headers, &state.config))?;
    let prompts = sequences.into_iter().step_by(request.best_of);
    let rendered = try_join_all(prompts.map(async |sequence| {
        Ok::<_, ApiError>(Rendered {
            request_id: format!("cmpl-{}", uuid::Uuid::new_v4().simple()),
            model: model.clone(),
            token_ids: sequence.prompt.iter().map(|Token(id)| *id).collect(),
            sampling_params: SamplingParams { n: request.n, max_tokens: sequence.max_tokens },
            prompt: state.engine.detokenize(sequence.prompt).await?,
        })
    }))
    .await?;
    let mut response = Json(rendered).into_response();
    warnings.put_on(&mut response);
    Ok(response)
}
