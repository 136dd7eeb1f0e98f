//! `POST /generate`: answers a prompt with its completion, through the same driver as every other generation.

use super::request::{GenerateRequest, specs};
use crate::{
    api::{
        call::Call,
        driver::{self, Submission},
        error::{ApiError, PromptLength},
        openai::shared::{length, room},
        respond::{RequestFields, Usage, WireFormat},
        state::AppState,
        warnings::Warnings,
    },
    gateway::handle::GenerationEvent,
    protocol::{SamplingParams, SequenceRequest, SpecialText, Token},
};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;

const PROMPT: &str = specs::PROMPT.name;
const LIMIT: &str = specs::MAX_TOKENS.name;
/// The temperature below which vLLM samples greedily instead of dividing by almost nothing (`_SAMPLING_EPS`).
const GREEDY_BELOW: f32 = 1e-5;

/// Answers with the completion, or with an error in FastAPI's shape. The future is dropped when the client disconnects,
/// which cancels the generation.
pub(in crate::api) async fn generate(call: Call, request: GenerateRequest) -> Response {
    complete(&call, request).await.unwrap_or_else(|error| super::refusal::refusal(&error))
}

impl FromRequest<AppState> for GenerateRequest {
    type Rejection = Response;

    async fn from_request(mut request: Request, state: &AppState) -> Result<Self, Response> {
        let headers = std::mem::take(request.headers_mut());
        let body = Bytes::from_request(request, state).await.map_err(|refusal| refusal.into_response())?;
        Self::read(&headers, &body, state.config.now().max_stop_strings)
            .map_err(|refusal| (refusal.status, [(header::CONTENT_TYPE, "application/json")], refusal.body).into_response())
    }
}

async fn complete(call: &Call, request: GenerateRequest) -> Result<Response, ApiError> {
    let model = call.first_model();
    if let Some(info) = &model.info {
        length::check(&[&request.prompt], info, PROMPT)?;
    }
    let prompt = model.handle.tokenize(request.prompt.clone(), true, SpecialText::Recognised).await?;
    // The model may have been loaded meanwhile.
    let model = call.first_model();
    let Some(info) = &model.info else {
        tracing::error!("the engine tokenizes before its model is known");
        return Err(ApiError::Internal);
    };
    let max_tokens = fitting(&prompt, request.max_tokens, info.max_model_len)?;
    let warnings = call.enforce(warnings(&request, max_tokens))?;
    let format = Completion { text: String::new(), prompt: request.prompt.clone(), model: model.name.clone() };
    let sequences = vec![sequence(request, prompt, max_tokens)?];
    // The number of choices is fixed, and nothing constrains the text.
    let fields = RequestFields { prompt: PROMPT, choices: PROMPT, constraint: None };
    driver::generate(call, Submission { model, sequences, choices: 1, stream: false, fields, warnings, line_limit: None }, format).await
}

/// The number of tokens to generate: the number of the request, reduced to the rest of the context. Old callers send
/// 512 to any model.
fn fitting(prompt: &[Token], max_tokens: u64, max_model_len: u32) -> Result<u32, ApiError> {
    if prompt.is_empty() {
        return Err(ApiError::invalid(PROMPT, "The prompt has no tokens. Please send at least one character."));
    }
    let prompt_tokens = u64::try_from(prompt.len()).unwrap_or(u64::MAX);
    let left = u64::from(max_model_len).saturating_sub(prompt_tokens);
    if left == 0 {
        let (length, max_model_len) = (PromptLength::Exactly(prompt_tokens), u64::from(max_model_len));
        return Err(ApiError::PromptTooLong { length, max_model_len, param: PROMPT });
    }
    // The number is at most `max_model_len`, so it fits.
    Ok(u32::try_from(max_tokens.min(left)).unwrap_or(max_model_len))
}

fn sequence(request: GenerateRequest, prompt: Vec<Token>, max_tokens: u32) -> Result<SequenceRequest, ApiError> {
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
        // The driver assigns the namespace, the gateway the id.
        ..SequenceRequest::default()
    })
}

/// The warnings of the answer.
fn warnings(request: &GenerateRequest, max_tokens: u32) -> Warnings {
    let mut warnings = Warnings::ignored(request.ignored.clone());
    if u64::from(max_tokens) < request.max_tokens {
        warnings.clamped(LIMIT, room::reduced(LIMIT, max_tokens));
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
