//! `POST /infill`: code completion as editors ask llama-server for it (llama.vim, llama.vscode, Continue).
//!
//! `request.rs` reads the texts, `window.rs` cuts them to the context; the other fields and the writer of answers are
//! those of `api/llama_server`. Differences from llama-server: the prompt begins with BOS and not with the extra files;
//! a repository's marks are only used when there are extra files; `x-llamero-warnings` names the texts that are left
//! out or cut; a model without marks is a 400 of OpenAI's shape and not a 501; errors in a stream are `data:` frames.

pub(super) mod request;
mod window;

use super::{
    call::Call,
    error::ApiError,
    fields::Fields,
    llama_server::{
        answer::{PreparedPrompts, PromptWithRoom, answer},
        requested,
    },
    openai::{completions::fim::NO_MARKS, models, shared::limits::RequestLimits},
    warnings::Warnings,
};
use crate::protocol::{FimTokens, ModelInfo};
use axum::response::Response;
use request::InfillRequest;

/// The handler of `POST /infill`.
///
/// # Errors
/// Any failure before the response has begun.
pub(super) async fn infill(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let mut warnings = Warnings::default();
    let model = requested(&call, &mut fields, &mut warnings)?;
    let info = models::loaded(&model)?;
    let marks = marks(&info)?;
    let mut request = InfillRequest::read(fields, &RequestLimits::of(&model, &info))?;
    warnings.extend(request.options.warnings());
    let window = window::fit(&model.handle, &info, &marks, request.take_texts(), request.options.limit).await?;
    for (param, text) in window.cuts {
        warnings.clamped(param, text);
    }
    let prompt = PromptWithRoom { tokens: window.prompt, max_tokens: window.max_tokens, is_cut_short: window.is_cut_short };
    let prepared = PreparedPrompts { field: "input_prefix", prompts: vec![prompt], warnings };
    answer(&call, model, &info, request.options, prepared).await
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
