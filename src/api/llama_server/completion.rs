//! `POST /completion`, and `POST /completions` for requests with `n_predict`: texts and tokens in, llama-server's
//! objects out.
//!
//! Differences from llama-server: `n_predict` is reduced to the room in the context and the answer ends there (no text
//! is shifted out of the context); several prompts and answers are streamed beside each other, told apart by `index`.

pub(in crate::api) mod prompt;
pub(in crate::api) mod specs;

use super::{
    answer::{PreparedPrompts, PromptWithRoom, answer},
    options::{SharedOptions, specs::N_PREDICT},
    requested,
};
use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::{FieldError, Fields, token_caps::TokenCap},
        openai::{
            completions, models,
            shared::{
                length,
                limits::RequestLimits,
                room::{AnswerRoom, TokenLimit},
            },
        },
        warnings::Warnings,
    },
    gateway::handle::EngineHandle,
    protocol::{SpecialText, Token},
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
    let mut warnings = Warnings::default();
    let model = requested(&call, &mut fields, &mut warnings)?;
    let info = models::generating(&model)?;
    let LlamaCompletion { prompts, mut options } = LlamaCompletion::read(fields, &RequestLimits::of(&model, &info))?;
    warnings.extend(options.warnings());
    for text in prompts.iter().flatten().filter_map(PromptPart::text) {
        length::check(&[text], &info, specs::PROMPT.name)?;
    }
    let encoded = try_join_all(prompts.into_iter().map(|prompt| encode(&model.handle, prompt))).await?;
    completions::check_total(encoded.iter().map(Vec::len), info.max_model_len.into())?;
    let room = AnswerRoom {
        max_model_len: info.max_model_len.into(),
        limit: Some(options.limit),
        default: TokenCap::AsManyAsFit,
        prompt: specs::PROMPT.name,
        strict: call.policy.is_strict(),
    };
    room.report(encoded.iter().map(Vec::len), &mut warnings);
    let fitting = encoded.into_iter().map(|tokens| fit(tokens, &room)).collect::<Result<Vec<_>, _>>()?;
    let prepared = PreparedPrompts { field: specs::PROMPT.name, prompts: fitting, warnings };
    answer(&call, model, &info, options, prepared).await
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
fn fit(tokens: Vec<Token>, room: &AnswerRoom) -> Result<PromptWithRoom, ApiError> {
    // There must be room for one token in any case, also for an answer of none.
    let left = AnswerRoom { limit: None, ..*room }.after(tokens.len())?;
    let max_tokens = room.after(tokens.len())?;
    let is_cut_short = room.limit.and_then(TokenLimit::tokens).is_none_or(|asked| asked > u64::from(left));
    Ok(PromptWithRoom { tokens, max_tokens, is_cut_short })
}
