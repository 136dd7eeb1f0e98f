//! `POST /completion`, and `POST /completions` for requests with `n_predict`: texts and tokens in, llama-server's
//! objects out.
//!
//! Differences from llama-server: `n_predict` is reduced to the room in the context and the answer ends there (no text
//! is shifted out of the context); several prompts and answers are streamed beside each other, told apart by `index`.

pub(in crate::api) mod prompt;
pub(in crate::api) mod specs;

use super::{
    answer::{PromptWithRoom, answer},
    options::{SharedOptions, specs::N_PREDICT},
    requested,
};
use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::{FieldError, Fields},
        openai::{
            completions, models,
            shared::{length, limits::RequestLimits},
        },
        warnings::Warnings,
    },
    gateway::handle::EngineHandle,
    protocol::{ModelInfo, SpecialText, Token},
};
use axum::response::Response;
use futures_util::future::try_join_all;
use prompt::{MixedPrompt, PromptPart};

/// A request whose fields are each valid.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct LlamaCompletion {
    prompts: Vec<MixedPrompt>,
    pub(in crate::api) options: SharedOptions,
}

impl LlamaCompletion {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub(in crate::api) fn read(mut f: Fields, limits: &RequestLimits) -> Result<Self, FieldError> {
        Ok(Self { prompts: prompt::read(&mut f, limits.vocabulary_size)?, options: SharedOptions::read(f, limits)? })
    }
}

/// The handler of `POST /completion`.
///
/// # Errors
/// Any failure before the response has begun.
pub(in crate::api) async fn complete(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let model = requested(&call, &mut fields)?;
    let info = models::generating(&model)?;
    let LlamaCompletion { prompts, mut options } = LlamaCompletion::read(fields, &RequestLimits::of(&model, &info))?;
    let mut warnings = options.warnings();
    for text in prompts.iter().flatten().filter_map(PromptPart::text) {
        length::check(&[text], &info)?;
    }
    let encoded = try_join_all(prompts.into_iter().map(|prompt| encode(&model.handle, prompt))).await?;
    completions::check_total(encoded.iter().map(Vec::len), info.max_model_len.into())?;
    let fitting = encoded.into_iter().map(|tokens| fit(tokens, options.n_predict, &info, &mut warnings));
    let fitting = fitting.collect::<Result<Vec<_>, _>>()?;
    answer(&call, model, &info, options, (fitting, warnings)).await
}

/// The handler of `POST /completions`: llama-server's route for a request with its `n_predict`, else OpenAI's.
///
/// # Errors
/// Any failure before the response has begun.
pub(in crate::api) async fn complete_either(call: Call, fields: Fields) -> Result<Response, ApiError> {
    if fields.has(N_PREDICT.name) { complete(call, fields).await } else { completions::create(call, fields).await }
}

/// The tokens of a prompt. BOS stands before a prompt that begins with a text, where the vocabulary requires it.
/// Control tokens that a text spells become those tokens, as in llama-server.
async fn encode(engine: &EngineHandle, prompt: MixedPrompt) -> Result<Vec<Token>, ApiError> {
    let mut tokens = Vec::new();
    for (index, part) in prompt.into_iter().enumerate() {
        match part {
            PromptPart::Tokens(mut ids) => tokens.append(&mut ids),
            PromptPart::Text(text) => {
                let encoded = engine.tokenize(text, index == 0, SpecialText::Recognised).await;
                tokens.append(&mut encoded.map_err(|error| ApiError::of_text(specs::PROMPT.name, error))?);
            }
        }
    }
    Ok(tokens)
}

/// Finds the room for the answer.
fn fit(tokens: Vec<Token>, n_predict: Option<u64>, info: &ModelInfo, warnings: &mut Warnings) -> Result<PromptWithRoom, ApiError> {
    // There must be room for one token in any case.
    completions::room(tokens.len(), Some(1), u64::from(info.max_model_len))?;
    let left = u64::from(info.max_model_len).saturating_sub(u64::try_from(tokens.len()).unwrap_or(u64::MAX));
    let is_cut_short = n_predict.is_none_or(|asked| asked > left);
    if n_predict.is_some_and(|asked| asked > left) {
        let name = N_PREDICT.name;
        warnings.clamped(name, format!("{name} was reduced to {left}, the room that the prompt leaves in the context"));
    }
    let max_tokens = u32::try_from(n_predict.unwrap_or(left).min(left)).unwrap_or(u32::MAX);
    Ok(PromptWithRoom { tokens, max_tokens, is_cut_short })
}
