//! `POST /infill`: code completion as editors ask llama-server for it (llama.vim, llama.vscode, Continue).
//!
//! Fields are `request.rs`, what fits into the context is `window.rs`, the answer's shape is `format.rs`. Where we differ
//! from llama-server: the prompt begins with BOS and not with the extra files; a repository's marks are only used when
//! there are extra files; whatever is left out or cut is named in `x-llamero-warnings`; a model without marks is a 400 of
//! OpenAI's shape and not a 501; errors in a stream are `data:` frames.

mod format;
pub(super) mod request;
mod window;

use super::{
    error::ApiError,
    fields::Fields,
    openai::{completions::fim::NO_MARKS, models, shared::answer::draw_seed},
    respond::{Mode, Recorder, Run, respond},
    state::{AppState, OfCaller},
    warnings::{WarningPolicy, Warnings},
};
use crate::{
    gateway::keys::Principal,
    protocol::{FimTokens, ModelInfo, SequenceRequest},
};
use axum::{Extension, Router, body::Bytes, http::HeaderMap, response::Response, routing::post};
use format::{Head, InfillFormat};
use request::{InfillLimits, InfillRequest};
use tokio::time::Instant;

/// The route.
pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/infill", post(infill))
}

/// The handler.
///
/// # Errors
/// Whatever is wrong before the response has begun.
async fn infill(
    OfCaller(state): OfCaller,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let received = Instant::now();
    let mut fields = Fields::parse(&body)?;
    drop(body);
    let model = models::requested_or_first(&mut fields, &state.config.served_model_names)?;
    let info = models::loaded(&state.engine)?;
    let marks = marks(&info)?;
    let limits = InfillLimits { vocabulary_size: info.vocabulary_size, max_stop_strings: state.config.max_stop_strings };
    let mut request = InfillRequest::read(fields, &limits)?;

    let mut warnings = Warnings::ignored(std::mem::take(&mut request.unknown));
    let window = window::fit(&state.engine, &info, &marks, request.take_texts(), request.n_predict).await?;
    for (param, text) in window.cuts {
        warnings.clamped(param, text);
    }
    let warnings = warnings.enforce(WarningPolicy::of(&headers, &state.config))?;
    let prompt_text = if request.shows("prompt") { Some(state.engine.detokenize(window.prompt.clone()).await?) } else { None };
    let seed = request.sampling.seed.map_or_else(draw_seed, Ok)?;
    let sequence = SequenceRequest {
        prompt: window.prompt,
        // llama-server computes the prompt of `n_predict: 0`, so that it is cached when the next request comes.
        max_tokens: window.max_tokens.max(1),
        sampling: request.sampling.for_choice(0, seed),
        stop: request.stop.clone(),
        ignore_eos: request.ignore_eos,
        namespace: principal.id.namespace(),
        // The gateway assigns the id.
        ..SequenceRequest::default()
    };
    let recorder = Recorder::new("infill", &model, request.stream, received);
    let head = Head {
        model,
        prompt: prompt_text,
        prompt_tokens: sequence.prompt.len(),
        settings: format::settings(&sequence, seed, window.max_tokens, request.stream),
        max_tokens: window.max_tokens,
        is_cut_short: window.is_cut_short,
    };
    let run = Run::start(&state.engine, vec![sequence], 1, recorder)?;
    let run = match request.time_limit {
        Some(limit) => run.end_lines_after(limit),
        None => run,
    };
    let mode = Mode::of(request.stream, &state.config);
    let mut response = respond(run, InfillFormat::new(head, request), mode).await?;
    warnings.put_on(&mut response);
    Ok(response)
}

/// The tokens that mark a hole.
///
/// # Errors
/// The model has none.
fn marks(info: &ModelInfo) -> Result<FimTokens, ApiError> {
    info.fim.ok_or_else(|| ApiError::BadRequest { message: format!("Infill {NO_MARKS}."), param: None, code: Some("unsupported_model") })
}

#[cfg(test)]
mod tests;
