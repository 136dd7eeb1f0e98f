//! `POST /v1/completions`: reads the request, turns prompts into tokens, checks what fits, and follows the generation.
//!
//! Fields are `completion_request.rs`, the answer's shape is `completion_format.rs`, streaming is `api/respond`.

use super::{
    completion_format::{CompletionFormat, Head, View},
    completion_request::{CompletionRequest, RequestLimits},
    models,
    prompt::Prompt,
    structured,
};
use crate::{
    api::{
        error::ApiError,
        fields::{FieldError, Fields},
        respond::{Mode, Recorder, Run, respond},
        state::AppState,
        warnings,
    },
    gateway::{handle::EngineHandle, keys::Principal},
    protocol::{ModelInfo, SequenceRequest, SpecialText, Token},
};
use axum::{Extension, body::Bytes, extract::State, http::HeaderValue, response::Response};
use futures_util::future::try_join_all;
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// OpenAI's default for `max_tokens`.
const DEFAULT_MAX_TOKENS: u64 = 16;
/// Tokens of all prompts together, in contexts.
const MAX_BATCH_CONTEXTS: u64 = 2;

/// The handler. Authentication has put the principal into the request.
///
/// # Errors
/// Whatever is wrong before the response has begun.
pub(super) async fn create(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let received = Instant::now();
    let mut fields = Fields::parse(&body)?;
    drop(body);
    let model = models::requested(&mut fields, &state.config.served_model_names)?;
    let info = models::loaded(&state.engine)?;
    let limits = RequestLimits {
        vocabulary_size: info.vocabulary_size,
        max_num_seqs: info.max_num_seqs,
        max_stop_strings: state.config.max_stop_strings,
    };
    let mut request = CompletionRequest::read(fields, &limits)?;

    let with_text = request.echo || request.logprobs.is_some();
    let prompts = std::mem::take(&mut request.prompts);
    let max_model_len = u64::from(info.max_model_len);
    for prompt in &prompts {
        // Before the engine writes out for `echo` what it will not compute.
        if let Prompt::Tokens(tokens) = prompt {
            room(tokens.len(), request.max_tokens, max_model_len)?;
        }
    }
    structured::check(&state.engine, request.constraint.as_ref()).await?;
    let (tokens, texts) =
        try_join_all(prompts.into_iter().map(|prompt| encode(&state.engine, prompt, with_text))).await?.into_iter().unzip();
    let job = Job { seed: request.sampling.seed.map_or_else(draw_seed, Ok)?, namespace: principal.id.namespace() };
    let sequences = sequences(&request, tokens, max_model_len, job)?;
    let view = View {
        n: request.n,
        logprobs: request.logprobs.is_some(),
        echo: request.echo,
        stream_usage: request.stream.then_some(request.include_usage),
        seed: job.seed,
    };
    let recorder = Recorder::new("completions", &model, request.stream, received);
    let run = Run::start(&state.engine, sequences, request.n, recorder)?;
    let format = CompletionFormat::new(head(model, &info), view, texts);
    let mut response = respond(run, format, Mode::of(request.stream, &state.config)).await?;
    if let Some(warning) = warnings::of_ignored(&request.unknown).and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(warnings::X_LLAMERO_WARNINGS, warning);
    }
    Ok(response)
}

/// What the sequences of a request share that its fields do not say.
#[derive(Debug, Clone, Copy)]
struct Job {
    seed: i64,
    namespace: u64,
}

/// A prompt's tokens, and its text if it is wanted. Text gets BOS where the vocabulary wants it, tokens are taken as they are.
async fn encode(engine: &EngineHandle, prompt: Prompt, with_text: bool) -> Result<(Vec<Token>, String), ApiError> {
    match prompt {
        Prompt::Text(text) => {
            let shown = if with_text { text.clone() } else { String::new() };
            Ok((engine.tokenize(text, true, SpecialText::Recognised).await?, shown))
        }
        Prompt::Tokens(tokens) => {
            let shown = if with_text { engine.detokenize(tokens.clone()).await? } else { String::new() };
            Ok((tokens, shown))
        }
    }
}

/// The sequences to generate: for each prompt its `n` choices in a row.
fn sequences(
    request: &CompletionRequest,
    prompts: Vec<Vec<Token>>,
    max_model_len: u64,
    job: Job,
) -> Result<Vec<SequenceRequest>, ApiError> {
    let rooms: Vec<u32> = prompts.iter().map(|prompt| room(prompt.len(), request.max_tokens, max_model_len)).collect::<Result<_, _>>()?;
    let total: u64 = prompts.iter().map(|prompt| u64::try_from(prompt.len()).unwrap_or(u64::MAX)).sum();
    let most = MAX_BATCH_CONTEXTS * max_model_len;
    if total > most {
        return Err(FieldError::invalid("prompt", format!("the prompts have {total} tokens together; at most {most} are accepted")).into());
    }
    let mut sequences = Vec::with_capacity(prompts.len() * request.n);
    for (prompt, max_tokens) in prompts.into_iter().zip(rooms) {
        for k in 0..request.n {
            sequences.push(SequenceRequest {
                prompt: prompt.clone(),
                max_tokens,
                sampling: request.sampling.for_choice(k, job.seed),
                stop: request.stop.clone(),
                ignore_eos: request.ignore_eos,
                logprobs: request.logprobs,
                constraint: request.constraint.as_ref().map(|(constraint, _)| constraint.clone()),
                namespace: job.namespace,
                // The gateway assigns the id.
                ..SequenceRequest::default()
            });
        }
    }
    Ok(sequences)
}

/// How many tokens may follow a prompt: what was asked for, if it fits; else 16, or as many as fit.
fn room(prompt_tokens: usize, asked: Option<u64>, max_model_len: u64) -> Result<u32, ApiError> {
    if prompt_tokens == 0 {
        return Err(
            FieldError::invalid("prompt", "it is empty, and this model has no token to begin with; send at least one character").into()
        );
    }
    let prompt_tokens = u64::try_from(prompt_tokens).unwrap_or(u64::MAX);
    let left = max_model_len.checked_sub(prompt_tokens);
    let too_long = |max_tokens| ApiError::ContextLength { prompt_tokens, max_tokens, max_model_len };
    match (left, asked) {
        (Some(left), Some(asked)) if asked <= left => Ok(asked),
        (Some(left), None) if left > 0 => Ok(left.min(DEFAULT_MAX_TOKENS)),
        // Who named no number asked for at least one token.
        _ => Err(too_long(asked.unwrap_or(1))),
    }
    .map(|fitting| u32::try_from(fitting).unwrap_or(u32::MAX))
}

/// A seed for a request without one: below 2⁵³, so that a client in JavaScript can send it back.
fn draw_seed() -> Result<i64, ApiError> {
    let random = getrandom::u64().map_err(|error| {
        tracing::error!(%error, "the system gave no random number");
        ApiError::Internal
    })?;
    Ok((random >> 11).cast_signed())
}

fn head(model: String, info: &ModelInfo) -> Head {
    // A clock before 1970 is no reason to fail a completion.
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Head { id: format!("cmpl-{}", uuid::Uuid::new_v4().simple()), created, model, system_fingerprint: fingerprint(info) }
}

/// A digest of what decides which text a seed gives: this server's version and the model.
fn fingerprint(info: &ModelInfo) -> String {
    let facts = format!(
        "{}\n{}\n{}\n{}\n{}\n{}\n{}",
        env!("CARGO_PKG_VERSION"),
        info.name,
        info.architecture,
        info.quantization,
        info.parameters,
        info.size_bytes,
        info.device
    );
    let digest = Sha256::digest(facts.as_bytes());
    digest.iter().take(5).fold("fp_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests;
