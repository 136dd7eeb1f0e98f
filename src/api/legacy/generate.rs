//! `POST /generate`: prompt in, completion out, on the same path as every other generation.

use super::{model_name, request::GenerateRequest};
use crate::{
    api::{
        error::ApiError,
        openai::shared::length,
        respond::{Mode, Recorder, Run, Usage, WireFormat, respond},
        state::{AppState, OfCaller},
        warnings::{WarningPolicy, Warnings},
    },
    gateway::{handle::GenerationEvent, keys::Principal},
    protocol::{SamplingParams, SequenceRequest, SpecialText, Token},
};
use axum::{
    Extension,
    body::Bytes,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::Instant;

/// Below this vLLM samples greedily instead of dividing by almost nothing (`_SAMPLING_EPS`).
const GREEDY_BELOW: f32 = 1e-5;

/// Answers with the completion, or as FastAPI would. Dropped when the client goes away, which cancels the generation.
pub(super) async fn generate(
    OfCaller(state): OfCaller,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Instant::now();
    let request = match GenerateRequest::read(&headers, &body) {
        Ok(request) => request,
        Err(refusal) => return (refusal.status, [(header::CONTENT_TYPE, "application/json")], refusal.body).into_response(),
    };
    let policy = WarningPolicy::of(&headers, &state.config);
    match complete(&state, principal, request, policy, received).await {
        Ok(response) => response,
        Err(error) => super::refusal(&error),
    }
}

async fn complete(
    state: &AppState,
    principal: Principal,
    request: GenerateRequest,
    policy: WarningPolicy,
    received: Instant,
) -> Result<Response, ApiError> {
    let model = model_name(&state.config);
    if let Some(info) = state.engine.model() {
        length::check(&[&request.prompt], &info)?;
    }
    let prompt = state.engine.tokenize(request.prompt.clone(), true, SpecialText::Recognised).await?;
    let Some(info) = state.engine.model() else {
        tracing::error!("the engine tokenizes before its model is known");
        return Err(ApiError::Internal);
    };
    let max_tokens = room(&prompt, request.max_tokens, info.max_model_len)?;
    let warnings = warnings(&request, max_tokens).enforce(policy)?;
    let format = Completion { text: String::new(), prompt: request.prompt.clone(), model: model.to_owned() };
    let sequence = sequence(request, prompt, max_tokens, principal)?;

    let recorder = Recorder::new("generate", model, false, received);
    let run = Run::start(&state.engine, vec![sequence], 1, recorder)?;
    let mut response = respond(run, format, Mode::Whole).await?;
    warnings.put_on(&mut response);
    Ok(response)
}

/// Tokens to generate: what was asked for, reduced to what the context leaves. Old callers send 512 to any model.
fn room(prompt: &[Token], max_tokens: u64, max_model_len: u32) -> Result<u32, ApiError> {
    if prompt.is_empty() {
        return Err(ApiError::invalid("prompt", "The prompt has no tokens. Please send at least one character."));
    }
    let prompt_tokens = u64::try_from(prompt.len()).unwrap_or(u64::MAX);
    let left = u64::from(max_model_len).saturating_sub(prompt_tokens);
    if left == 0 {
        return Err(ApiError::ContextLength { prompt_tokens, max_tokens, max_model_len: u64::from(max_model_len) });
    }
    // Not more than `max_model_len`, so it fits.
    Ok(u32::try_from(max_tokens.min(left)).unwrap_or(max_model_len))
}

fn sequence(request: GenerateRequest, prompt: Vec<Token>, max_tokens: u32, principal: Principal) -> Result<SequenceRequest, ApiError> {
    let seed = getrandom::u64().map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        ApiError::Internal
    })?;
    Ok(SequenceRequest {
        prompt,
        max_tokens,
        sampling: SamplingParams {
            temperature: if request.temperature < GREEDY_BELOW { 0.0 } else { request.temperature },
            // The field is > 0; its 32-bit value need not be.
            top_p: request.top_p.max(f32::MIN_POSITIVE),
            seed,
            ..SamplingParams::default()
        },
        stop: request.stop,
        namespace: principal.id.namespace(),
        // The gateway assigns the id.
        ..SequenceRequest::default()
    })
}

/// What was not done as asked.
fn warnings(request: &GenerateRequest, max_tokens: u32) -> Warnings {
    let mut warnings = Warnings::ignored(request.ignored.clone());
    if u64::from(max_tokens) < request.max_tokens {
        warnings.clamped("max_tokens", format!("max_tokens was reduced to {max_tokens}, the room that the prompt leaves in the context"));
    }
    warnings
}

/// The answer: the completion alone, the prompt as sent, and the model's name.
#[derive(Serialize)]
struct Completion {
    text: String,
    prompt: String,
    model: String,
}

impl WireFormat for Completion {
    type Chunk = String;
    type Chunks = Option<String>;
    type Whole = Self;

    fn opening(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn chunks(&mut self, event: GenerationEvent) -> Option<String> {
        Some(event.output.text)
    }

    fn closing(&mut self, _usage: &Usage) -> Vec<String> {
        Vec::new()
    }

    fn absorb(&mut self, chunk: String) {
        self.text.push_str(&chunk);
    }

    fn whole(self, _usage: &Usage) -> Self {
        self
    }
}
