//! Turns texts into vectors for the routes that need them: tokenizes, checks lengths, asks the engine, records the
//! request.

use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::{FieldError, ignored::Ignored},
        heavy,
        openai::{models, shared::prompt::Prompt},
        request_log, trace,
        warning_log::WarningGate,
        warnings::{Reported, Warnings},
    },
    gateway::{error::SubmitError, handle::EngineHandle, models::Model},
    protocol::{EmbeddingInfo, ModelInfo, SpecialText, Token},
    telemetry::{self, EmbeddingRecord, Outcome},
};
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The maximum number of tokens in all inputs together (OpenAI).
const MAX_TOKENS: usize = 300_000;
/// Number of texts of a request that are tokenized at once; the engine has few threads for all requests.
const TEXTS_AT_ONCE: usize = 8;

/// The count of numbers in all vectors of a request up to which they are normalised and written in a millisecond or
/// two.
const LIGHT_NUMBERS: usize = 16 * 1024;

/// OpenAI's usage of an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(in crate::api) struct EmbeddingUsageObject {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// A request that needs vectors. Exactly one record of it is written, in the span of the request, unless it is refused.
pub(in crate::api) struct EmbeddingRun {
    handle: EngineHandle,
    /// Facts about the model.
    pub(in crate::api) model: Arc<ModelInfo>,
    received: Instant,
    span: tracing::Span,
    record: EmbeddingRecord,
    /// True if the request was refused for a fault of the client: it then has the log line of any refusal, and does not
    /// count as a failure.
    refused: bool,
    gate: WarningGate,
    warnings: Warnings,
    reported: Reported,
}

impl EmbeddingRun {
    /// A run for a request that is answered by this model, and has these warnings so far.
    ///
    /// # Errors
    /// The model has never been loaded.
    pub(in crate::api) fn new(call: &Call, model: &Model, warnings: Warnings) -> Result<Self, ApiError> {
        let info = models::loaded(model)?;
        let record = EmbeddingRecord {
            endpoint: call.route.label,
            model: model.name.clone(),
            inputs: 0,
            prompt_tokens: 0,
            total: Duration::ZERO,
            warnings: None,
            // This is the outcome if the run is dropped before another one is known.
            outcome: Outcome::ClientGone,
            trace: trace::present(),
        };
        Ok(Self {
            handle: model.handle.clone(),
            model: info,
            received: call.received,
            span: tracing::Span::current(),
            record,
            refused: false,
            gate: call.gate(),
            warnings,
            reported: Reported::default(),
        })
    }

    /// Takes note of fields that have no effect.
    pub(in crate::api) fn ignored(&mut self, fields: Ignored) {
        self.warnings.ignore(fields);
    }

    /// The model's facts about embeddings.
    ///
    /// # Errors
    /// The model generates text instead.
    pub(in crate::api) fn info(&self) -> Result<&EmbeddingInfo, ApiError> {
        self.model.embedding().ok_or_else(|| SubmitError::NotEmbedding.into())
    }

    /// Refuses texts that are too long for the model whatever their tokens are, unless long inputs are cut.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub(in crate::api) fn check_lengths<'a>(
        &self,
        name: impl Fn(usize) -> String,
        texts: impl Iterator<Item = &'a str>,
        truncate: Option<usize>,
    ) -> Result<(), ApiError> {
        let longest = self.info()?.max_input_tokens;
        if truncate.is_some() {
            return Ok(());
        }
        for (index, text) in texts.enumerate() {
            let fewest = self.model.fewest_tokens(&[text]);
            if fewest > u64::from(longest) {
                return Err(too_long(&name(index), &format!("at least {fewest}"), longest as usize).into());
            }
        }
        Ok(())
    }

    /// The tokens of the inputs, in order. Texts are a user's words: the spelling of a special token is text like any
    /// other.
    ///
    /// # Errors
    /// A text cannot be tokenized (the error has `name`, with the text's index if `is_list`), or the engine is not
    /// available.
    pub(in crate::api) async fn tokenize(
        &self,
        name: &str,
        is_list: bool,
        inputs: Vec<Prompt>,
        add_special: bool,
    ) -> Result<Vec<Vec<Token>>, ApiError> {
        let one = async |(index, input): (usize, Prompt)| match input {
            Prompt::Tokens(tokens) => Ok(tokens),
            Prompt::Text(text) => {
                let tokens = self.handle.tokenize(text, add_special, SpecialText::Plain).await;
                tokens.map_err(|error| ApiError::of_text(&element(name, is_list, index), error))
            }
        };
        stream::iter(inputs.into_iter().enumerate()).map(one).buffered(TEXTS_AT_ONCE).try_collect().await
    }

    /// Cuts each list of tokens to `truncate` tokens, of which the last `kept` stay, and reports that; or refuses a
    /// list that is too long.
    ///
    /// # Errors
    /// A list is too long or empty; the error names the input.
    pub(in crate::api) fn fit(
        &mut self,
        name: impl Fn(usize) -> String,
        inputs: &mut [Vec<Token>],
        truncate: Option<usize>,
        kept: usize,
    ) -> Result<(), ApiError> {
        let longest = self.info()?.max_input_tokens as usize;
        let mut cut = 0;
        for (index, input) in inputs.iter_mut().enumerate() {
            match truncate {
                Some(most) if input.len() > most => {
                    let behind = input.split_off(input.len() - kept.min(most));
                    input.truncate(most - behind.len());
                    input.extend(behind);
                    cut += 1;
                }
                None if input.len() > longest => return Err(too_long(&name(index), &input.len().to_string(), longest).into()),
                _ => {}
            }
            if input.is_empty() {
                return Err(FieldError::invalid(name(index), "it has no tokens").into());
            }
        }
        if let (Some(most), true) = (truncate, cut > 0) {
            self.warnings.clamped("truncate_prompt_tokens", format!("{cut} inputs were truncated to {most} tokens"));
        }
        Ok(())
    }

    /// A vector for each input, as the model computes it. Dropping the future stops the work.
    ///
    /// # Errors
    /// The inputs have too many tokens together (the error names `param`), a strict request has a warning, or the
    /// engine fails.
    pub(in crate::api) async fn embed(&mut self, param: &str, inputs: Vec<Vec<Token>>) -> Result<Vec<Vec<f32>>, ApiError> {
        let tokens = inputs.iter().map(Vec::len).sum();
        few_tokens(param, tokens)?;
        self.reported = self.gate.enforce(std::mem::take(&mut self.warnings))?;
        self.record.warnings = self.reported.for_log();
        self.record.inputs = inputs.len();
        self.record.prompt_tokens = tokens;
        Ok(self.handle.embed(inputs).await?)
    }

    /// True if the vectors have more than `LIGHT_NUMBERS` numbers together.
    pub(in crate::api) fn is_heavy(&self) -> bool {
        let dimensions = self.model.embedding().map_or(0, |info| info.dimensions as usize);
        self.record.inputs.saturating_mul(dimensions) > LIGHT_NUMBERS
    }

    /// The usage: the tokens of all inputs.
    pub(in crate::api) fn usage(&self) -> EmbeddingUsageObject {
        EmbeddingUsageObject { prompt_tokens: self.record.prompt_tokens, total_tokens: self.record.prompt_tokens }
    }

    /// The answer, with warnings in a header, or the error. The outcome is recorded.
    ///
    /// # Errors
    /// The error of `result`, and `Internal` for a body that cannot be written.
    pub(in crate::api) async fn answer<T: Serialize + Send + 'static>(mut self, result: Result<T, ApiError>) -> Result<Response, ApiError> {
        let written = match result {
            Ok(body) => heavy::json(self.is_heavy(), body).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(mut response) => {
                self.record.outcome = Outcome::Finished;
                self.reported.write_header(&mut response);
                Ok(response)
            }
            Err(error) => {
                self.refused = error.status().is_client_error();
                self.record.outcome = Outcome::Failed { code: error.code().unwrap_or("error"), detail: error.to_string() };
                Err(error)
            }
        }
    }
}

impl Drop for EmbeddingRun {
    fn drop(&mut self) {
        if self.refused {
            return;
        }
        self.record.total = self.received.elapsed();
        request_log::has_line();
        self.span.in_scope(|| telemetry::record_embedding(&self.record));
    }
}

/// The error for an input that has more tokens than the model takes.
pub(in crate::api) fn too_long(param: &str, tokens: &str, longest: usize) -> FieldError {
    let reason = format!("it has {tokens} tokens and this model takes {longest} at most; shorten it or send 'truncate_prompt_tokens': -1");
    FieldError::invalid(param, reason)
}

/// Refuses inputs of too many tokens together.
///
/// # Errors
/// There are more than [`MAX_TOKENS`]; the error names `param` and the limit.
pub(in crate::api) fn few_tokens(param: &str, tokens: usize) -> Result<(), FieldError> {
    if tokens > MAX_TOKENS {
        return Err(FieldError::invalid(param, format!("the inputs have {tokens} tokens together; at most {MAX_TOKENS} are accepted")));
    }
    Ok(())
}

/// `name`, or the name of its `index`-th element.
pub(in crate::api) fn element(name: &str, is_list: bool, index: usize) -> String {
    if is_list { format!("{name}[{index}]") } else { name.to_owned() }
}
