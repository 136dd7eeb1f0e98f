//! `POST /v1/explain`: describes how a request that generates would be handled, without running it.
//!
//! The body is that of `POST /v1/responses` if it has `input`, of `POST /v1/messages` if it has `messages` and
//! Anthropic's fields, of `POST /v1/chat/completions` if it has other `messages`, else that of `POST /v1/completions`.
//! The `prepare` of that route prepares it, so that refusals are the same and `prompt_tokens` is the later
//! `usage.prompt_tokens`. A call counts as one request against the limit per minute. `prediction.rs` predicts the
//! times, and `parts.rs` measures what fills the prompt of a conversation.

mod parameters;
mod parts;
mod prediction;

use super::{
    chat::{self, request::ChatRequest},
    completions,
    responses::request::ResponsesRequest,
    shared::limits::RequestLimits,
};
use crate::{
    api::{
        anthropic::request::{MessageRequest, MessagesEndpoint},
        call::Call,
        error::ApiError,
        fields::{FieldError, Fields},
        warnings::Warnings,
    },
    gateway::{handle::EngineHandle, keys::KeyId, limits::Allowance, models::Model},
    protocol::{Forecast, Prospect, SequenceRequest},
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use futures_util::future::try_join_all;
use parameters::Parameters;
use parts::{PromptParts, measure};
use prediction::{Prediction, predict};
use serde::Serialize;

/// The answer of `/v1/explain`.
#[derive(Serialize)]
struct Explanation {
    object: &'static str,
    endpoint: &'static str,
    model: String,
    prompt_tokens: u64,
    /// The part of `prompt_tokens` that the prefix cache would supply now.
    cached_tokens: u64,
    prompts: Vec<ExplainedPrompt>,
    /// The tokens of each part of a conversation's prompt; `null` for completions.
    prompt_parts: Option<PromptParts>,
    parameters: Parameters,
    /// Names of the first 16 fields that would have no effect.
    ignored_fields: Vec<String>,
    /// The texts that `x-llamero-warnings` would contain.
    warnings: Vec<String>,
    limits: LimitsObject,
    prediction: Prediction,
}

#[derive(Serialize)]
struct ExplainedPrompt {
    /// The tokens as text, control tokens written out.
    text: String,
    prompt_tokens: usize,
    cached_tokens: u32,
    max_tokens: u32,
}

/// The limits that apply to the request, and the rest of each.
#[derive(Serialize)]
struct LimitsObject {
    max_model_len: u32,
    /// Tokens that the context has left after the longest prompt and its `max_tokens`.
    context_left: u64,
    /// The limit of requests; `null` without one. `remaining` is the number after this request, which counted.
    requests_per_minute: Option<RequestsPerMinute>,
    /// Number of sequences of this request: prompts times candidates.
    sequences: usize,
    /// Number of sequences that would be admitted now, to run or to wait.
    places_free: usize,
    places: usize,
    /// True if the request would be admitted now; else the answer is 503 with a wait, or 400 if it has more sequences
    /// than places.
    accepted: bool,
}

#[derive(Serialize)]
struct RequestsPerMinute {
    limit: u32,
    remaining: u32,
}

/// A request that was prepared and will not be run.
enum Subject {
    Completion(Box<completions::PreparedCompletion>),
    Chat { endpoint: &'static str, prepared: Box<chat::PreparedChat> },
}

/// Reads the fields of a route with a conversation.
type ConversationReader = fn(Fields, &RequestLimits) -> Result<ChatRequest, FieldError>;

/// The route with a conversation that a body is for, and its reader; `None` for a completion.
fn conversation_route(fields: &Fields) -> Option<(&'static str, ConversationReader)> {
    if fields.has("input") {
        return Some(("/v1/responses", |fields, limits| ResponsesRequest::read(fields, limits).map(|request| request.chat)));
    }
    if !fields.has("messages") {
        return None;
    }
    let tools = fields.peek("tools").and_then(serde_json::Value::as_array);
    let is_anthropics = fields.has("system") || tools.into_iter().flatten().any(|tool| tool.get("input_schema").is_some());
    Some(if is_anthropics {
        ("/v1/messages", |fields, limits| MessageRequest::read(fields, MessagesEndpoint::Create, limits).map(|request| request.chat))
    } else {
        ("/v1/chat/completions", ChatRequest::read)
    })
}

/// The handler of `POST /v1/explain`.
///
/// # Errors
/// The errors of the request itself.
pub(in crate::api) async fn explain(call: Call, fields: Fields) -> Result<Response, ApiError> {
    let (mut subject, sent) = match conversation_route(&fields) {
        Some((endpoint, read)) => {
            let twice = |fields, limits: &RequestLimits| read(fields, limits).map(|request| (request.clone(), request));
            let (prepared, sent) = chat::prepare_as(&call, fields, twice).await?;
            (Subject::Chat { endpoint, prepared: Box::new(prepared) }, Some(Box::new(sent)))
        }
        None => (Subject::Completion(Box::new(completions::prepare(&call, fields).await?)), None),
    };
    let warnings = call.enforce(subject.take_warnings())?;
    let prompt_parts = match (&subject, sent) {
        (Subject::Chat { prepared, .. }, Some(sent)) => {
            let total = subject.prompts().map(|sequence| wide(sequence.prompt.len())).sum();
            Some(Box::pin(measure(&call, prepared, *sent, total)).await)
        }
        _ => None,
    };
    let engine = subject.model().handle.clone();
    let forecast = engine.forecast(subject.prospect(call.principal.id)).await?;
    let texts = try_join_all(subject.prompts().map(|sequence| engine.detokenize(sequence.prompt.clone()))).await?;
    let mut explanation = subject.explanation(&forecast, texts, call.allowance, &engine);
    explanation.warnings = warnings.all().to_vec();
    explanation.prompt_parts = prompt_parts;
    let mut response = Json(explanation).into_response();
    warnings.write_header(&mut response);
    Ok(response)
}

impl Subject {
    /// Parts of the request that have no effect or are changed.
    fn take_warnings(&mut self) -> Warnings {
        std::mem::take(match self {
            Self::Completion(prepared) => &mut prepared.warnings,
            Self::Chat { prepared, .. } => &mut prepared.warnings,
        })
    }

    fn model(&self) -> &Model {
        match self {
            Self::Completion(prepared) => &prepared.model,
            Self::Chat { prepared, .. } => &prepared.model,
        }
    }

    fn sequences(&self) -> &[SequenceRequest] {
        match self {
            Self::Completion(prepared) => &prepared.sequences,
            Self::Chat { prepared, .. } => &prepared.sequences,
        }
    }

    /// Number of sequences of each prompt.
    fn candidates(&self) -> usize {
        match self {
            Self::Completion(prepared) => prepared.request.best_of,
            Self::Chat { prepared, .. } => prepared.request.n,
        }
    }

    /// The first sequence of each prompt.
    fn prompts(&self) -> impl Iterator<Item = &SequenceRequest> {
        self.sequences().iter().step_by(self.candidates())
    }

    fn prospect(&self, key: KeyId) -> Prospect {
        Prospect {
            prompts: self.prompts().map(|sequence| sequence.prompt.clone()).collect(),
            choices: u32::try_from(self.candidates()).unwrap_or(u32::MAX),
            namespace: key.namespace(),
            scored: matches!(self, Self::Completion(prepared) if prepared.request.scores_prompts().is_some()),
        }
    }

    fn explanation(self, forecast: &Forecast, texts: Vec<String>, allowance: Option<Allowance>, engine: &EngineHandle) -> Explanation {
        let each = self.prompts().zip(&forecast.cached_tokens).zip(texts);
        let prompts: Vec<ExplainedPrompt> = each
            .map(|((sequence, cached), text)| ExplainedPrompt {
                text,
                prompt_tokens: sequence.prompt.len(),
                cached_tokens: *cached,
                max_tokens: sequence.max_tokens,
            })
            .collect();
        let sequences = self.sequences();
        let max_tokens = sequences.iter().map(|sequence| sequence.max_tokens).max().unwrap_or(0);
        let (count, used) = (sequences.len(), sequences.iter().map(positions).max().unwrap_or(0));
        let model = self.model().name.clone();
        let (endpoint, info, ignored, parameters) = match self {
            Self::Completion(mut prepared) => {
                let ignored = std::mem::take(&mut prepared.request.unknown);
                let info = prepared.info.clone();
                ("/v1/completions", info, ignored, Parameters::of_completion(*prepared))
            }
            Self::Chat { endpoint, mut prepared } => {
                let ignored = std::mem::take(&mut prepared.request.ignored);
                let info = prepared.info.clone();
                (endpoint, info, ignored, Parameters::of_chat(*prepared))
            }
        };
        Explanation {
            object: "explanation",
            endpoint,
            model,
            prompt_tokens: prompts.iter().map(|prompt| wide(prompt.prompt_tokens)).sum(),
            cached_tokens: prompts.iter().map(|prompt| u64::from(prompt.cached_tokens)).sum(),
            prompts,
            parameters,
            ignored_fields: ignored.shown().map(str::to_owned).collect(),
            // The handler sets these two.
            warnings: Vec::new(),
            prompt_parts: None,
            limits: limits(info.max_model_len, used, count, allowance, engine),
            prediction: predict(forecast, engine.pace(), count, max_tokens),
        }
    }
}

/// The limits of a request of this many sequences; `used` is the number of positions that the longest may take.
fn limits(max_model_len: u32, used: u64, sequences: usize, allowance: Option<Allowance>, engine: &EngineHandle) -> LimitsObject {
    let (places_free, places) = engine.places();
    LimitsObject {
        max_model_len,
        context_left: u64::from(max_model_len).saturating_sub(used),
        requests_per_minute: allowance.map(|Allowance { limit, remaining, .. }| RequestsPerMinute { limit, remaining }),
        sequences,
        places_free,
        places,
        accepted: sequences <= places_free,
    }
}

fn positions(sequence: &SequenceRequest) -> u64 {
    wide(sequence.prompt.len()) + u64::from(sequence.max_tokens)
}

/// A length as 64 bits, which suffice on every machine that this runs on.
fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
