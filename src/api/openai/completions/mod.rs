//! `POST /v1/completions`: reads the request, turns prompts into tokens, checks their number, and follows the
//! generation.
//!
//! `request.rs` reads the fields, `format.rs` shapes the answer, `api/respond` streams.

pub mod fim;
pub mod format;
mod prompt_logprobs;
pub mod request;

use super::{
    models,
    shared::{
        self,
        answer::{ResponseHead, draw_seed},
        length,
        limits::{N, RequestLimits},
        prompt::Prompt,
        room::{AnswerRoom, reserved},
        structured,
    },
};
use crate::{
    api::{
        call::Call,
        driver::{Submission, generate},
        error::ApiError,
        fields::{FieldError, Fields, token_caps::TokenCap},
        respond::RequestFields,
        warnings::Warnings,
    },
    gateway::{handle::EngineHandle, models::Model},
    protocol::{FimTokens, ModelInfo, SequenceRequest, SpecialText, Token},
};
use axum::response::Response;
use fim::{FimTexts, NO_MARKS, begin};
use format::{CompletionFormat, CompletionView, PromptView};
use futures_util::future::try_join_all;
use request::{CompletionRequest, PromptEncoding, PromptTruncation};
use std::sync::Arc;

const PROMPT: &str = shared::prompt::PROMPT.name;
/// OpenAI's default for `max_tokens`.
const DEFAULT_LIMIT: TokenCap = request::specs::MAX_TOKENS.values.default;
/// The maximum number of tokens in all prompts together, as a multiple of the context's.
const MAX_BATCH_CONTEXTS: u64 = 2;

/// The handler of `POST /v1/completions`.
///
/// # Errors
/// Any failure before the response has begun.
pub(in crate::api) async fn create(call: Call, fields: Fields) -> Result<Response, ApiError> {
    let PreparedCompletion { request, model, info, warnings, seed, prompts, sequences } = prepare(&call, fields).await?;
    let warnings = call.enforce(warnings)?;
    let view = CompletionView {
        n: request.n,
        candidates: request.best_of,
        logprobs: request.logprobs.is_some(),
        prompt_logprobs: request.prompt_logprobs.is_some(),
        echo: request.echo,
        token_ids: request.return_token_ids,
        stream_usage: request.stream.then_some(request.include_usage),
        seed,
        warnings: warnings.for_body(),
        stop: request.ending.strings,
    };
    let format = CompletionFormat::new(ResponseHead::new("cmpl", model.name.clone(), &info), view, prompts);
    let format = format.with_progress(request.return_progress);
    let (choices, stream) = (request.best_of, request.stream);
    let fields = RequestFields {
        prompt: PROMPT,
        choices: if request.best_of > request.n { request::specs::BEST_OF.name } else { N.name },
        constraint: request.constraint.map(|constrained| constrained.path),
    };
    let submission = Submission { model, sequences, choices, stream, fields, warnings, line_limit: None };
    generate(&call, submission, format).await
}

/// A request that passed all checks, with the sequences that the engine would compute.
#[derive(Debug)]
pub(super) struct PreparedCompletion {
    /// The fields, without the prompts, which are in `sequences`.
    pub(super) request: CompletionRequest,
    /// The model, under the name that the request gave.
    pub(super) model: Model,
    /// Facts about the model.
    pub(super) info: Arc<ModelInfo>,
    /// Parts of the request that have no effect or are changed.
    pub(super) warnings: Warnings,
    /// The request's seed or the one drawn for it.
    pub(super) seed: i64,
    /// The parts of the prompts that the answer needs.
    pub(super) prompts: Vec<PromptView>,
    /// The sequences in the order of the prompts; the candidates of one prompt are adjacent.
    pub(super) sequences: Vec<SequenceRequest>,
}

/// Reads a request, turns its prompts into tokens and checks their number. Nothing is computed or reserved yet.
///
/// # Errors
/// Any fault of the request, or the engine is not available.
pub(super) async fn prepare(call: &Call, mut fields: Fields) -> Result<PreparedCompletion, ApiError> {
    let mut warnings = Warnings::default();
    let model = models::requested(call, &mut fields, &mut warnings)?;
    let info = models::generating(&model)?;
    let limits = RequestLimits::of(&model, &info);
    let mut request = CompletionRequest::read(fields, &limits)?;
    warnings.ignore(request.unknown.clone());
    let prompts = std::mem::take(&mut request.prompts);
    check_lengths(&request, &prompts, &info)?;
    let room = AnswerRoom {
        max_model_len: info.max_model_len.into(),
        limit: request.limit,
        default: DEFAULT_LIMIT,
        prompt: PROMPT,
        strict: call.policy.is_strict(),
    };
    let encoder = Encoder::new(&model.handle, &request, &info, room).await?;
    let encoded = try_join_all(prompts.into_iter().map(|prompt| encoder.encode(prompt))).await?;
    for dropped in encoded.iter().map(|prompt| prompt.dropped).filter(|dropped| *dropped > 0) {
        warnings.clamped("truncate_prompt_tokens", format!("the first {dropped} tokens of a prompt were dropped"));
    }
    structured::check(&model.handle, request.constraint.as_ref(), &mut warnings, |text| text).await?;
    room.report(encoded.iter().map(|prompt| prompt.tokens.len()), &mut warnings);
    let (tokens, prompts) = encoded.into_iter().map(|prompt| (prompt.tokens, prompt.view)).unzip();
    let seed = request.sampling.seed.map_or_else(draw_seed, Ok)?;
    let sequences = sequences(&request, tokens, &room, seed)?;
    Ok(PreparedCompletion { request, model, info, warnings, seed, prompts, sequences })
}

/// Refuses prompts that cannot fit with the suffix, before anything is tokenized.
fn check_lengths(request: &CompletionRequest, prompts: &[Prompt], info: &ModelInfo) -> Result<(), ApiError> {
    if request.encoding.truncation != PromptTruncation::None {
        return Ok(());
    }
    // The suffix follows each of the prompts, and its bytes are counted once.
    let suffix = info.fewest_tokens(&[request.suffix.as_deref().unwrap_or_default()]);
    prompts.iter().try_for_each(|prompt| match prompt {
        Prompt::Text(text) => length::check_tokens(suffix + info.fewest_tokens(&[text]), info, PROMPT),
        Prompt::Tokens(_) => Ok(()),
    })
}

/// Turns the prompts of a request into tokens.
struct Encoder<'a> {
    engine: &'a EngineHandle,
    request: &'a CompletionRequest,
    info: &'a ModelInfo,
    room: AnswerRoom,
    /// The tokens that follow the text to be filled in, the same for every prompt, and the model's FIM tokens.
    suffix: Option<(Vec<Token>, FimTokens)>,
}

/// A prompt as tokens.
struct EncodedPrompt {
    tokens: Vec<Token>,
    view: PromptView,
    /// Number of tokens that truncation dropped.
    dropped: usize,
}

impl<'a> Encoder<'a> {
    async fn new(
        engine: &'a EngineHandle,
        request: &'a CompletionRequest,
        info: &'a ModelInfo,
        room: AnswerRoom,
    ) -> Result<Self, ApiError> {
        let suffix = match request.suffix.clone() {
            None => None,
            Some(text) => {
                let no_marks = || FieldError::unsupported("suffix", NO_MARKS);
                let marks = info.fim.ok_or_else(no_marks)?;
                // The suffix is tokenized once for all prompts.
                Some((fim::suffix(engine, text, "suffix").await?, marks))
            }
        };
        Ok(Self { engine, request, info, room, suffix })
    }

    /// Turns a prompt into tokens. Text gets BOS where the vocabulary requires it; tokens are taken as they are.
    async fn encode(&self, prompt: Prompt) -> Result<EncodedPrompt, ApiError> {
        let PromptEncoding { add_special, .. } = self.request.encoding;
        let (mut tokens, text) = match prompt {
            Prompt::Text(text) => {
                let shown = if self.returns_text() { text.clone() } else { String::new() };
                (self.tokenize(text, add_special).await?, Some(shown))
            }
            Prompt::Tokens(tokens) => (tokens, None),
        };
        let keeps_bos = text.is_some() && add_special && self.info.adds_bos;
        let begins_with_bos = keeps_bos && tokens.first().copied() == self.info.bos;
        let dropped = truncate(&mut tokens, self.most_tokens(), begins_with_bos);
        // The length is checked before the engine detokenizes, for `echo`, a prompt that it will not compute.
        self.room.after(tokens.len())?;
        let text = match text {
            Some(text) if dropped == 0 => text,
            _ if !self.returns_text() => String::new(),
            _ => self.engine.detokenize(tokens.clone()).await?,
        };
        let shown_ids = if self.request.return_token_ids { tokens.clone() } else { Vec::new() };
        Ok(EncodedPrompt { tokens, view: PromptView { text, ids: shown_ids }, dropped })
    }

    /// The tokens of a text, or of the texts around the hole if there is a suffix.
    async fn tokenize(&self, text: String, add_special: bool) -> Result<Vec<Token>, ApiError> {
        let Some((suffix, marks)) = &self.suffix else {
            return Ok(self.engine.tokenize(text, add_special, SpecialText::Recognised).await?);
        };
        let hole = FimTexts { prefix: fim::prefix(self.engine, text, "prompt").await?, suffix: suffix.clone() };
        Ok(hole.assemble(begin(self.info).filter(|_| add_special), marks, &[]))
    }

    /// True if the answer needs the prompt's text: for `echo`, or for `logprobs`, which count its characters.
    fn returns_text(&self) -> bool {
        self.request.echo || self.request.logprobs.is_some()
    }

    fn most_tokens(&self) -> Option<usize> {
        let max = match self.request.encoding.truncation {
            PromptTruncation::None => return None,
            PromptTruncation::Keep(max) => max,
            PromptTruncation::Fit => prompt_share(&self.room),
        };
        Some(usize::try_from(max).unwrap_or(usize::MAX))
    }
}

/// The number of tokens that a prompt may keep which is cut to fit. The answer gets the rest of the context.
fn prompt_share(room: &AnswerRoom) -> u64 {
    let context = room.max_model_len;
    let cap = room.limit.map_or(room.default, |limit| limit.cap);
    context.saturating_sub(reserved(cap, context)).max(1)
}

/// Keeps the last `max` tokens, and the first one if it is a BOS that the server added. Returns the number of dropped
/// tokens.
fn truncate(tokens: &mut Vec<Token>, max: Option<usize>, keep_first: bool) -> usize {
    let dropped = tokens.len().saturating_sub(max.unwrap_or(usize::MAX));
    if dropped > 0 {
        let from = usize::from(keep_first && max > Some(1));
        tokens.drain(from..from + dropped);
    }
    dropped
}

/// The sequences to generate in the order of the prompts; the candidates of one prompt are adjacent.
fn sequences(
    request: &CompletionRequest,
    prompts: Vec<Vec<Token>>,
    room: &AnswerRoom,
    seed: i64,
) -> Result<Vec<SequenceRequest>, ApiError> {
    let rooms: Vec<u32> = prompts.iter().map(|prompt| room.after(prompt.len())).collect::<Result<_, _>>()?;
    check_total(prompts.iter().map(Vec::len), room.max_model_len)?;
    // Candidates are compared by the log-probabilities of their tokens.
    let compared = (request.best_of > request.n).then_some(0);
    let mut sequences = Vec::with_capacity(prompts.len() * request.best_of);
    for (prompt, max_tokens) in prompts.into_iter().zip(rooms) {
        for k in 0..request.best_of {
            sequences.push(SequenceRequest {
                prompt: prompt.clone(),
                max_tokens,
                sampling: request.sampling.for_choice(k, seed),
                stop: request.ending.strings.clone(),
                include_stop: request.ending.include,
                stop_tokens: request.ending.tokens.clone(),
                min_tokens: request.ending.min_tokens,
                ignore_eos: request.ending.ignore_eos,
                logprobs: request.logprobs.max(compared),
                prompt_logprobs: request.scores_prompts(),
                show_special: request.show_special,
                constraint: request.constraint.as_ref().map(|constrained| constrained.constraint.clone()),
                // The driver assigns the namespace, the gateway the id.
                ..SequenceRequest::default()
            });
        }
    }
    Ok(sequences)
}

/// Refuses prompts of too many tokens together.
///
/// # Errors
/// The prompts have more tokens than [`MAX_BATCH_CONTEXTS`] contexts.
pub(in crate::api) fn check_total(lengths: impl Iterator<Item = usize>, max_model_len: u64) -> Result<(), FieldError> {
    let total: u64 = lengths.map(|length| u64::try_from(length).unwrap_or(u64::MAX)).fold(0, u64::saturating_add);
    let most = MAX_BATCH_CONTEXTS * max_model_len;
    if total > most {
        return Err(FieldError::invalid("prompt", format!("the prompts have {total} tokens together; at most {most} are accepted")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
