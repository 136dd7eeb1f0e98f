//! Generates the answers to prompts that fit, and writes them as llama-server does; for `/completion` and `/infill`.

use super::{
    format::{LlamaFormat, PromptHead},
    options::{SharedOptions, specs},
    settings::{AnswerSettings, settings},
};
use crate::{
    api::{
        call::Call,
        driver::{Submission, generate},
        error::ApiError,
        openai::shared::{answer::draw_seed, structured},
        respond::RequestFields,
        warnings::Warnings,
    },
    gateway::models::Model,
    protocol::{ModelInfo, SequenceRequest, Token},
};
use axum::response::Response;
use futures_util::future::try_join_all;

/// A prompt, and the room for its answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::api) struct PromptWithRoom {
    /// The prompt, at least one token.
    pub(in crate::api) tokens: Vec<Token>,
    /// The maximum number of tokens to generate; 0 computes the prompt only. There is room for one in any case.
    pub(in crate::api) max_tokens: u32,
    /// True if the request asked for more.
    pub(in crate::api) is_cut_short: bool,
}

/// The prompts of a request, and the warnings so far.
pub(in crate::api) struct PreparedPrompts {
    /// The field that they come from.
    pub(in crate::api) field: &'static str,
    /// The prompts, at least one.
    pub(in crate::api) prompts: Vec<PromptWithRoom>,
    /// Parts of the request that have no effect or are changed.
    pub(in crate::api) warnings: Warnings,
}

/// Checks the constraint, generates, and answers.
///
/// # Errors
/// Any failure before the response has begun.
pub(in crate::api) async fn answer(
    call: &Call,
    model: Model,
    info: &ModelInfo,
    mut options: SharedOptions,
    PreparedPrompts { field, prompts, mut warnings }: PreparedPrompts,
) -> Result<Response, ApiError> {
    structured::check(&model.handle, options.constraint.as_ref(), &mut warnings, |text| text).await?;
    let warnings = call.enforce(warnings)?;
    let shows_prompt = options.view.includes("prompt");
    let texts = try_join_all(
        prompts.iter().map(
            async |prompt| {
                if shows_prompt { model.handle.detokenize(prompt.tokens.clone()).await.map(Some) } else { Ok(None) }
            },
        ),
    );
    let texts = texts.await?;
    let fields = RequestFields {
        prompt: field,
        choices: specs::N_CMPL.name,
        constraint: options.constraint.as_ref().map(|constrained| constrained.path.clone()),
    };
    let seed = options.sampling.seed.map_or_else(draw_seed, Ok)?;
    let mut sequences = Vec::with_capacity(prompts.len() * options.n);
    let mut heads = Vec::with_capacity(prompts.len());
    let common = take_sequence(&mut options);
    for (prompt, text) in prompts.into_iter().zip(texts) {
        let sequence = SequenceRequest {
            // llama-server computes the prompt of `n_predict: 0`, so that it is cached when the next request comes.
            max_tokens: prompt.max_tokens.max(1),
            sampling: options.sampling.for_choice(0, seed),
            ..common.clone()
        };
        let shown = AnswerSettings {
            seed,
            n_predict: prompt.max_tokens.into(),
            n_ctx: info.max_model_len,
            stream: options.stream,
            timings_per_token: options.view.timings_per_token,
        };
        heads.push(PromptHead {
            model: model.name.clone(),
            prompt: text,
            prompt_tokens: prompt.tokens.len(),
            settings: settings(&sequence, shown),
            stop: sequence.stop.clone(),
            max_tokens: prompt.max_tokens,
            is_cut_short: prompt.is_cut_short,
        });
        let choice =
            |k| SequenceRequest { sampling: options.sampling.for_choice(k, seed), prompt: prompt.tokens.clone(), ..sequence.clone() };
        sequences.extend((0..options.n).map(choice));
    }
    let format = LlamaFormat::new(heads, options.n, options.view, options.n_probs.is_some());
    let (choices, stream, line_limit) = (options.n, options.stream, options.time_limit);
    generate(call, Submission { model, sequences, choices, stream, fields, warnings, line_limit }, format).await
}

/// The parts that all sequences of the request have in common.
fn take_sequence(options: &mut SharedOptions) -> SequenceRequest {
    let ending = std::mem::take(&mut options.ending);
    SequenceRequest {
        stop: ending.strings,
        include_stop: ending.include,
        stop_tokens: ending.tokens,
        min_tokens: ending.min_tokens,
        ignore_eos: ending.ignore_eos,
        logprobs: options.n_probs,
        show_special: options.show_special,
        constraint: options.constraint.take().map(|constrained| constrained.constraint),
        // The driver assigns the namespace, the gateway the id.
        ..SequenceRequest::default()
    }
}
