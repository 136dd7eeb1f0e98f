//! `POST /infill`: code completion as editors ask llama-server for it (llama.vim, llama.vscode, Continue).
//!
//! `request.rs` reads the fields, `window.rs` cuts the texts to the context, `format.rs` writes the answer. Differences
//! from llama-server: the prompt begins with BOS and not with the extra files; a repository's marks are only used when
//! there are extra files; `x-llamero-warnings` names the texts that are left out or cut; a model without marks is a 400
//! of OpenAI's shape and not a 501; errors in a stream are `data:` frames.

mod format;
pub(super) mod request;
mod window;

use super::{
    call::Call,
    driver::{Submission, generate},
    error::ApiError,
    fields::Fields,
    openai::{completions::fim::NO_MARKS, models, shared::answer::draw_seed},
    warnings::Warnings,
};
use crate::protocol::{FimTokens, ModelInfo, SequenceRequest};
use axum::response::Response;
use format::{InfillFormat, InfillHead};
use request::{InfillLimits, InfillRequest};

/// The handler of `POST /infill`.
///
/// # Errors
/// Any failure before the response has begun.
pub(super) async fn infill(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let mut warnings = Warnings::default();
    let model = models::requested_or_first(&call, &mut fields, &mut warnings)?;
    let info = models::loaded(&model)?;
    let marks = marks(&info)?;
    let limits = InfillLimits { vocabulary_size: info.vocabulary_size, max_stop_strings: model.config.max_stop_strings };
    let mut request = InfillRequest::read(fields, &limits)?;

    warnings.ignore(std::mem::take(&mut request.unknown));
    let window = window::fit(&model.handle, &info, &marks, request.take_texts(), request.limit).await?;
    for (param, text) in window.cuts {
        warnings.clamped(param, text);
    }
    let warnings = call.enforce(warnings)?;
    let prompt_text = if request.includes("prompt") { Some(model.handle.detokenize(window.prompt.clone()).await?) } else { None };
    let seed = request.sampling.seed.map_or_else(draw_seed, Ok)?;
    let sequence = SequenceRequest {
        prompt: window.prompt,
        // llama-server computes the prompt of `n_predict: 0`, so that it is cached when the next request comes.
        max_tokens: window.max_tokens.max(1),
        sampling: request.sampling.for_choice(0, seed),
        stop: request.stop.clone(),
        ignore_eos: request.ignore_eos,
        // The driver assigns the namespace, the gateway the id.
        ..SequenceRequest::default()
    };
    let head = InfillHead {
        model: model.name.clone(),
        prompt: prompt_text,
        prompt_tokens: sequence.prompt.len(),
        settings: format::settings(&sequence, seed, window.max_tokens, request.stream),
        max_tokens: window.max_tokens,
        is_cut_short: window.is_cut_short,
    };
    let (stream, line_limit) = (request.stream, request.time_limit);
    let submission = Submission { model, sequences: vec![sequence], choices: 1, stream, warnings, line_limit };
    generate(&call, submission, InfillFormat::new(head, request)).await
}

/// The model's FIM tokens, which mark a hole.
///
/// # Errors
/// The model has none.
fn marks(info: &ModelInfo) -> Result<FimTokens, ApiError> {
    info.fim.ok_or_else(|| ApiError::BadRequest { message: format!("Infill {NO_MARKS}."), param: None, code: Some("unsupported_model") })
}

#[cfg(test)]
mod tests;
