//! `POST /v1/explain`: what would become of a completions request, without running it.
//!
//! The body is that of `POST /v1/completions`, and so are the refusals: both are prepared by `completions::prepare`, so
//! `prompt_tokens` here is the later `usage.prompt_tokens`. It counts as one request against the limit per minute.
//!
//! How times are predicted, each `null` until the engine has measured what it needs:
//!
//! * `queue_seconds`: 0 while a slot is free; else the time between two completions, smoothed, for each sequence that has
//!   to end first.
//! * `first_token_seconds`: the queue, and the rows of the first prompt that no cache supplies, behind the prompt rows of
//!   those who came before, at the speed that the engine's model of step times gives them beside the running streams.
//! * `total_seconds`: the queue, all prompts so, and a step for each further token up to `max_tokens`; as many times as the
//!   sequences fill all slots. An early end is not foreseen.

use super::completions::{Prepared, prepare};
use crate::{
    api::{
        error::ApiError,
        fields::{FieldError, Fields},
        state::AppState,
        warnings::{Reported, WarningPolicy},
    },
    gateway::{handle::EngineHandle, keys::Principal, limits::Allowance},
    protocol::{Forecast, Prospect, SamplingParams, SequenceRequest, Token},
};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use futures_util::future::try_join_all;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// The answer.
#[derive(Serialize)]
struct Explanation {
    object: &'static str,
    endpoint: &'static str,
    model: String,
    prompt_tokens: u64,
    /// Of these, tokens that the prefix cache would supply now.
    cached_tokens: u64,
    prompts: Vec<ExplainedPrompt>,
    parameters: Parameters,
    /// Fields that would have no effect.
    ignored_fields: Vec<String>,
    /// What `x-llamero-warnings` would say.
    warnings: Vec<String>,
    limits: Limits,
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

/// Every parameter with its default filled in.
#[derive(Serialize)]
struct Parameters {
    max_tokens: u32,
    n: usize,
    best_of: usize,
    temperature: f32,
    top_p: f32,
    top_k: u32,
    min_p: f32,
    presence_penalty: f32,
    frequency_penalty: f32,
    repetition_penalty: f32,
    logit_bias: BTreeMap<u32, f32>,
    /// `null` draws one.
    seed: Option<i64>,
    stop: Vec<String>,
    include_stop_str_in_output: bool,
    stop_token_ids: Vec<u32>,
    min_tokens: u32,
    ignore_eos: bool,
    suffix: Option<String>,
    logprobs: Option<u8>,
    prompt_logprobs: Option<u8>,
    echo: bool,
    stream: bool,
}

/// What is left of what is limited.
#[derive(Serialize)]
struct Limits {
    max_model_len: u32,
    /// Tokens that the context has left behind the longest prompt and its `max_tokens`.
    context_left: u64,
    /// `null` without a limit. `remaining` is after this request, which counted.
    requests_per_minute: Option<RequestsPerMinute>,
    /// Sequences of this request: prompts times candidates.
    sequences: usize,
    /// Sequences that would be taken in now, to run or to wait.
    places_free: usize,
    places: usize,
    /// Whether the request would be taken in now; else the answer is 503 with a wait, or 400 if it has more sequences than places.
    accepted: bool,
}

#[derive(Serialize)]
struct RequestsPerMinute {
    limit: u32,
    remaining: u32,
}

/// See the module.
#[derive(Debug, PartialEq, Serialize)]
struct Prediction {
    running: u32,
    waiting: u32,
    slots: u32,
    queue_seconds: Option<f64>,
    first_token_seconds: Option<f64>,
    total_seconds: Option<f64>,
}

/// The handler.
///
/// # Errors
/// As of the request itself.
pub(super) async fn explain(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    allowance: Option<Extension<Allowance>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let fields = Fields::parse(&body)?;
    drop(body);
    if fields.has("messages") {
        let reason = "is not supported here yet: only requests to /v1/completions are explained";
        return Err(FieldError::Unsupported { param: "messages".to_owned(), reason }.into());
    }
    let mut prepared = prepare(&state, fields, principal).await?;
    let warnings = std::mem::take(&mut prepared.warnings).enforce(WarningPolicy::of(&headers, &state.config))?;
    let engine = &state.engine;
    let each_prompt = || prepared.sequences.iter().step_by(prepared.request.best_of).map(|sequence| sequence.prompt.clone());
    let forecast = engine
        .foresee(Prospect {
            prompts: each_prompt().collect(),
            choices: u32::try_from(prepared.request.best_of).unwrap_or(u32::MAX),
            namespace: principal.id.namespace(),
            scored: prepared.request.scores_prompts().is_some(),
        })
        .await?;
    let texts = try_join_all(each_prompt().map(|tokens| engine.detokenize(tokens))).await?;
    let explanation = explanation(prepared, &forecast, texts, &warnings, allowance.map(|Extension(allowance)| allowance), engine);
    let mut response = Json(explanation).into_response();
    warnings.put_on(&mut response);
    Ok(response)
}

fn explanation(
    prepared: Prepared,
    forecast: &Forecast,
    texts: Vec<String>,
    warnings: &Reported,
    allowance: Option<Allowance>,
    engine: &EngineHandle,
) -> Explanation {
    let sequences = &prepared.sequences;
    let each = sequences.iter().step_by(prepared.request.best_of).zip(&forecast.cached_tokens).zip(texts);
    let prompts: Vec<ExplainedPrompt> = each
        .map(|((sequence, cached), text)| ExplainedPrompt {
            text,
            prompt_tokens: sequence.prompt.len(),
            cached_tokens: *cached,
            max_tokens: sequence.max_tokens,
        })
        .collect();
    let (places_free, places) = engine.places();
    let used = sequences.iter().map(|sequence| wide(sequence.prompt.len()) + u64::from(sequence.max_tokens)).max().unwrap_or(0);
    let max_tokens = sequences.iter().map(|sequence| sequence.max_tokens).max().unwrap_or(0);
    Explanation {
        object: "explanation",
        endpoint: "/v1/completions",
        prompt_tokens: prompts.iter().map(|prompt| wide(prompt.prompt_tokens)).sum(),
        cached_tokens: prompts.iter().map(|prompt| u64::from(prompt.cached_tokens)).sum(),
        prompts,
        limits: Limits {
            max_model_len: prepared.info.max_model_len,
            context_left: u64::from(prepared.info.max_model_len).saturating_sub(used),
            requests_per_minute: allowance.map(|Allowance { limit, remaining, .. }| RequestsPerMinute { limit, remaining }),
            sequences: sequences.len(),
            places_free,
            places,
            accepted: sequences.len() <= places_free,
        },
        prediction: predict(forecast, engine.pace(), sequences.len(), max_tokens),
        ignored_fields: prepared.request.unknown.clone(),
        warnings: warnings.all().to_vec(),
        model: prepared.model.clone(),
        parameters: Parameters::of(prepared, max_tokens),
    }
}

impl Parameters {
    fn of(prepared: Prepared, max_tokens: u32) -> Self {
        let request = prepared.request;
        let sampling =
            prepared.sequences.into_iter().next().map_or_else(SamplingParams::default, |sequence: SequenceRequest| sequence.sampling);
        Self {
            max_tokens,
            n: request.n,
            best_of: request.best_of,
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            min_p: sampling.min_p,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            repetition_penalty: sampling.repetition_penalty,
            logit_bias: sampling.logit_bias.into_iter().map(|(Token(id), bias)| (id, bias)).collect(),
            seed: request.sampling.seed,
            stop: request.ending.strings,
            include_stop_str_in_output: request.ending.include,
            stop_token_ids: request.ending.tokens.into_iter().map(|Token(id)| id).collect(),
            min_tokens: request.ending.min_tokens,
            ignore_eos: request.ending.ignore_eos,
            suffix: request.suffix,
            logprobs: request.logprobs,
            prompt_logprobs: request.prompt_logprobs,
            echo: request.echo,
            stream: request.stream,
        }
    }
}

/// See the module. `pace` is the time between two completions.
fn predict(forecast: &Forecast, pace: Option<Duration>, sequences: usize, max_tokens: u32) -> Prediction {
    let busy = forecast.running.saturating_add(forecast.waiting);
    let to_end_first = busy.saturating_add(1).saturating_sub(forecast.slots);
    let queue = if to_end_first == 0 { Some(0.0) } else { pace.map(|pace| pace.as_secs_f64() * f64::from(to_end_first)) };
    let slots = usize::try_from(forecast.slots.max(1)).unwrap_or(usize::MAX);
    // Sequences are few.
    let rounds = sequences.div_ceil(slots) as f64;
    let further_tokens = f64::from(max_tokens.saturating_sub(1));
    let decode = if max_tokens <= 1 { Some(0.0) } else { forecast.step_seconds.map(|step| rounds * further_tokens * step) };
    let sum = |parts: [Option<f64>; 3]| parts.into_iter().sum::<Option<f64>>();
    Prediction {
        running: forecast.running,
        waiting: forecast.waiting,
        slots: forecast.slots,
        queue_seconds: queue,
        first_token_seconds: sum([queue, forecast.first_prompt_seconds, Some(0.0)]),
        total_seconds: sum([queue, forecast.prompts_seconds, decode]),
    }
}

/// Lengths of memory fit 64 bits on every machine that this runs on.
fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast() -> Forecast {
        Forecast {
            cached_tokens: vec![0],
            running: 1,
            waiting: 0,
            slots: 4,
            rows_ahead: 0,
            first_prompt_seconds: Some(0.5),
            prompts_seconds: Some(1.5),
            step_seconds: Some(0.125),
        }
    }

    fn times(forecast: &Forecast, pace_ms: Option<u64>, sequences: usize, max_tokens: u32) -> [Option<f64>; 3] {
        let Prediction { queue_seconds, first_token_seconds, total_seconds, .. } =
            predict(forecast, pace_ms.map(Duration::from_millis), sequences, max_tokens);
        [queue_seconds, first_token_seconds, total_seconds]
    }

    #[test]
    fn with_a_free_slot_nobody_queues_and_each_further_token_is_a_step() {
        assert_eq!(times(&forecast(), None, 1, 9), [Some(0.0), Some(0.5), Some(2.5)]);
        assert_eq!(times(&forecast(), None, 1, 1), [Some(0.0), Some(0.5), Some(1.5)]);
        assert_eq!(times(&forecast(), None, 1, 0), [Some(0.0), Some(0.5), Some(1.5)]);
    }

    #[test]
    fn without_a_free_slot_as_many_must_end_as_are_before() {
        let full = Forecast { running: 4, waiting: 2, ..forecast() };

        assert_eq!(times(&full, Some(2000), 1, 1), [Some(6.0), Some(6.5), Some(7.5)]);
        assert_eq!(times(&full, None, 1, 1), [None, None, None]);
    }

    #[test]
    fn more_sequences_than_slots_take_turns() {
        assert_eq!(times(&forecast(), None, 5, 9), [Some(0.0), Some(0.5), Some(3.5)]);
    }

    #[test]
    fn what_was_not_measured_is_not_predicted() {
        let unmeasured = Forecast { first_prompt_seconds: None, step_seconds: None, ..forecast() };

        assert_eq!(times(&unmeasured, None, 1, 9), [Some(0.0), None, None]);
        assert_eq!(times(&unmeasured, None, 1, 1), [Some(0.0), None, Some(1.5)]);
    }
}
