//! `POST /v1/chat/completions`: reads the request, renders and tokenizes the prompt, checks its length, and follows the
//! generation.
//!
//! ```text
//! request (conversation, switches, …) ─▶ prompt ─▶ tokens ─▶ sequences ─▶ events ─▶ format ─▶ objects
//! ```
//!
//! `crate::chat` defines messages, templates and calls; `api/respond` streams.

pub(in crate::api) mod field_names;
mod format;
pub(super) mod logprobs;
mod object;
mod prompt;
pub(in crate::api) mod request;
pub(in crate::api) mod specs;
pub(in crate::api) mod switches;
mod truncation;

use super::{
    models,
    shared::answer::{ResponseHead, draw_seed},
    shared::length,
    shared::limits::{N, RequestLimits},
    shared::room::{AnswerRoom, reserved},
    shared::structured::{self, Constrained},
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
    chat::Conversation,
    chat::output::{Calls, OutputSpec, Reasoning, forced_constraint, in_words_of_tools, offered_constraint},
    gateway::models::Model,
    protocol::{ModelInfo, SequenceRequest, Token},
    telemetry::metrics::WarningName,
};
use axum::response::Response;
use format::{ChatFormat, ChatView};
use request::ChatRequest;
use std::sync::Arc;

/// Warning for answers made without a template. It goes into a header, so it has no semicolon.
const NO_TEMPLATE: &str = "the model has no chat template, so ChatML was used, which it may not know (--chat-template gives it one)";

/// Warning for tools that are left out because the text that describes them is too long.
const TOOLS_TOO_LONG: &str = "no tool was offered: their description in the system turn does not fit into the context";

/// The handler of `POST /v1/chat/completions`.
///
/// # Errors
/// Any failure before the response has begun.
pub(in crate::api) async fn create(call: Call, fields: Fields) -> Result<Response, ApiError> {
    let PreparedChat { request, model, info, warnings, seed, output, sequences, fields } = prepare(&call, fields).await?;
    let warnings = call.enforce(warnings)?;
    let view = ChatView {
        n: request.n,
        logprobs: request.logprobs.is_some(),
        reasoning: request.include_reasoning,
        stream_usage: request.stream.then_some(request.include_usage),
        seed,
        warnings: warnings.for_body(),
        stop: request.ending.strings,
    };
    let format = ChatFormat::new(ResponseHead::new("chatcmpl", model.name.clone(), &info), view, &output);
    let format = format.with_progress(request.return_progress);
    let submission = Submission { model, sequences, choices: request.n, stream: request.stream, fields, warnings, line_limit: None };
    generate(&call, submission, format).await
}

/// A request that passed all checks, with the sequences that the engine would compute.
#[derive(Debug)]
pub(in crate::api) struct PreparedChat {
    /// The fields, without messages and tools, which are in the prompt.
    pub(in crate::api) request: ChatRequest,
    /// The model, under the name that the request gave.
    pub(in crate::api) model: Model,
    /// Facts about the model.
    pub(in crate::api) info: Arc<ModelInfo>,
    /// Parts of the request that have no effect or are changed.
    pub(in crate::api) warnings: Warnings,
    /// The request's seed or the one drawn for it.
    pub(in crate::api) seed: i64,
    /// The rules for parsing the text of a choice.
    pub(in crate::api) output: Arc<OutputSpec>,
    /// One sequence for each choice.
    pub(in crate::api) sequences: Vec<SequenceRequest>,
    /// The fields that later errors name.
    pub(in crate::api) fields: RequestFields,
}

/// A request whose prompt is known. It is not checked yet that an answer fits after the prompt.
#[derive(Debug)]
pub(in crate::api) struct Understood {
    /// The fields, without messages, tools and constraint.
    request: ChatRequest,
    model: Model,
    info: Arc<ModelInfo>,
    /// Parts of the request that have no effect or are changed.
    pub(in crate::api) warnings: Warnings,
    output: OutputSpec,
    constrained: Option<Constrained>,
    /// Texts that end the answer.
    end_marks: Vec<String>,
    /// The tokens of the prompt.
    pub(in crate::api) tokens: Vec<Token>,
}

impl Understood {
    /// True if the prompt leaves room for this number of tokens.
    fn leaves(&self, tokens: u64) -> bool {
        let prompt = u64::try_from(self.tokens.len()).unwrap_or(u64::MAX);
        prompt.saturating_add(tokens) <= u64::from(self.info.max_model_len)
    }
}

/// Reads a request of this route, renders its messages and turns them into tokens.
///
/// # Errors
/// Any fault of the request except its length, or the engine is not available.
pub(in crate::api) async fn understand(call: &Call, fields: Fields) -> Result<Understood, ApiError> {
    let (understood, ()) = understand_as(call, fields, of_chat).await?;
    Ok(understood)
}

/// The text that the template makes of a conversation, and the warnings of the request. It is tokenized too, so that a
/// text that cannot be is refused here and not by the next request.
///
/// # Errors
/// As [`understand`].
pub(in crate::api) async fn render_text(call: &Call, fields: Fields) -> Result<(String, Warnings), ApiError> {
    let mut text = String::new();
    let keep = |texts: &[&str], _: &ModelInfo, _| {
        text = texts.concat();
        Ok(())
    };
    let (understood, ()) = read(call, fields, of_chat, keep).await?;
    Ok((text, understood.warnings))
}

/// As [`understand`] for another route: `reader` reads its fields and may return a second value, which is passed on.
///
/// # Errors
/// As [`understand`].
pub(in crate::api) async fn understand_as<T>(
    call: &Call,
    fields: Fields,
    reader: impl FnOnce(Fields, &RequestLimits) -> Result<(ChatRequest, T), FieldError>,
) -> Result<(Understood, T), ApiError> {
    read(call, fields, reader, |_, _, _| Ok(())).await
}

fn of_chat(fields: Fields, limits: &RequestLimits) -> Result<(ChatRequest, ()), FieldError> {
    ChatRequest::read(fields, limits).map(|request| (request, ()))
}

/// Reads a request and calls `check_length` on the rendered text before tokenizing it. Tools that only a text of this
/// server's describes are left out if they are what does not fit; `check_length` is then called a second time.
async fn read<T>(
    call: &Call,
    mut fields: Fields,
    reader: impl FnOnce(Fields, &RequestLimits) -> Result<(ChatRequest, T), FieldError>,
    mut check_length: impl FnMut(&[&str], &ModelInfo, &'static str) -> Result<(), ApiError>,
) -> Result<(Understood, T), ApiError> {
    let mut warnings = Warnings::default();
    let model = models::requested(call, &mut fields, &mut warnings)?;
    let info = models::generating(&model)?;
    let limits = RequestLimits::of(&model, &info);
    let (mut request, rest) = reader(fields, &limits)?;
    prompt::drop_unseen_tools(&model, &info, &mut request).await?;
    let may_drop_tools = !call.policy.is_strict() && prompt::describes_optional_tools(&model, &info, &request).await?;
    let unrendered = Box::new(Unrendered { model, info, request, warnings });
    let spare = (may_drop_tools || unrendered.request.leaves_out_oldest).then(|| unrendered.clone());
    // Boxes keep the futures of routes small.
    let first = Box::pin(unrendered.render(call, &mut check_length)).await.map(Box::new);
    let needs_room = |spare: &Unrendered| is_too_long(&first) || spare.lacks_wanted_room(&first);
    let Some(mut spare) = spare.filter(|spare| needs_room(spare)) else { return Ok((*first?, rest)) };
    let shorter = Box::pin(spare.render_shorter(call, &mut check_length)).await?;
    if shorter.is_some() || !may_drop_tools || !is_too_long(&first) {
        return Ok((*shorter.map_or(first, Ok)?, rest));
    }
    drop(first);
    spare.request.calls = Calls::None;
    spare.warnings.clamped("tools", TOOLS_TOO_LONG.to_owned());
    let last = Box::pin(spare.clone().render(call, &mut check_length)).await.map(Box::new);
    let shorter = if is_too_long(&last) { Box::pin(spare.render_shorter(call, &mut check_length)).await? } else { None };
    Ok((*shorter.map_or(last, Ok)?, rest))
}

/// True if no answer fits after this prompt.
fn is_too_long(understood: &Result<Box<Understood>, ApiError>) -> bool {
    match understood {
        Ok(understood) => !understood.leaves(1),
        Err(error) => matches!(error, ApiError::PromptTooLong { .. }),
    }
}

/// A request whose fields are read.
#[derive(Clone)]
struct Unrendered {
    model: Model,
    info: Arc<ModelInfo>,
    request: ChatRequest,
    warnings: Warnings,
}

impl Unrendered {
    /// As [`Self::render`] without the oldest turns, as few as possible, if the request allows that; `None` if it does
    /// not, or if the newest turn does not fit either. Where turns are left out, an answer gets room.
    async fn render_shorter(
        &mut self,
        call: &Call,
        check_length: &mut impl FnMut(&[&str], &ModelInfo, &'static str) -> Result<(), ApiError>,
    ) -> Result<Option<Box<Understood>>, ApiError> {
        let wanted = self.wanted_room();
        let turns = if self.request.leaves_out_oldest { truncation::later_turns(&self.request.conversation) } else { Vec::new() };
        // Apart, so that each try copies only what it keeps.
        let whole = std::mem::take(&mut self.request.conversation);
        let (mut fewest, mut most, mut shortest) = (0, turns.len(), None);
        while fewest < most {
            let middle = usize::midpoint(fewest, most);
            let understood = Box::pin(self.beginning_at(&whole, turns[middle]).render(call, check_length)).await.map(Box::new);
            let room = if middle + 1 == turns.len() { 1 } else { wanted };
            match understood {
                Ok(understood) if understood.leaves(room) => (most, shortest) = (middle, Some(understood)),
                Ok(_) | Err(ApiError::PromptTooLong { .. }) => fewest = middle + 1,
                Err(error) => return Err(error),
            }
        }
        self.request.conversation = whole;
        Ok(shortest)
    }

    /// The number of tokens that an answer should have room for where turns are left out.
    fn wanted_room(&self) -> u64 {
        let cap = self.request.limit.map_or(TokenCap::AsManyAsFit, |limit| limit.cap);
        reserved(cap, self.info.max_model_len.into()).max(1)
    }

    /// True if turns may be left out and the answer has less room than its limit asks for.
    fn lacks_wanted_room(&self, understood: &Result<Box<Understood>, ApiError>) -> bool {
        let may_leave_out = self.request.leaves_out_oldest && self.request.limit.is_some();
        may_leave_out && understood.as_ref().is_ok_and(|understood| !understood.leaves(self.wanted_room()))
    }

    /// The same request with the messages of `whole` from this one on.
    fn beginning_at(&self, whole: &Conversation, message: usize) -> Self {
        let mut shorter = self.clone();
        let name = shorter.request.names.conversation;
        let (conversation, count) = truncation::beginning_at(whole, message);
        shorter.request.conversation = conversation;
        let text = format!("{name}: the oldest {count} messages were left out, because they do not fit into the context");
        shorter.warnings.note(WarningName::Messages, text);
        shorter
    }

    /// Renders the messages, checks their length and the constraint, and turns them into tokens.
    async fn render(
        self,
        call: &Call,
        check_length: &mut impl FnMut(&[&str], &ModelInfo, &'static str) -> Result<(), ApiError>,
    ) -> Result<Understood, ApiError> {
        let Self { model, info, mut request, mut warnings } = self;
        let names = request.names;
        let overruled = settle(&mut request, &model, &info).await?;
        let free = request.constrained.is_none() && !is_forced(&request.calls);
        let mut prompt = prompt::render(call, &model, &info, &mut request, free).await?;
        request.ignored.extend(std::mem::take(&mut prompt.ignored));
        request.ignored.extend(std::mem::take(&mut request.ignored_last));
        warnings.ignore(request.ignored.clone());
        if let Some((param, text)) = overruled {
            warnings.clamped(&param, text);
        }
        if !prompt.end_marks.is_empty() {
            warnings.clamped(names.conversation, NO_TEMPLATE.to_owned());
        }
        for (param, text) in std::mem::take(&mut prompt.changes).into_iter().chain(std::mem::take(&mut request.partly)) {
            warnings.clamped(param, text.to_owned());
        }
        for (param, text) in std::mem::take(&mut request.left_out).warnings() {
            warnings.clamped(&param, text);
        }
        if let Some(text) = repeated(&request.tools.repeated) {
            warnings.clamped("tools", text);
        }
        let forced = forced_constraint(&prompt.output).map(|constraint| Constrained { constraint, path: "tools".into() });
        let constrained: Option<Constrained> = forced.or(request.constrained.take());
        check_length(&[&prompt.text], &info, names.conversation)?;
        structured::check(&model.handle, constrained.as_ref(), &mut warnings, |text| in_words_of_tools(&prompt.output, text)).await?;
        let tokens = prompt::encode(&model, &mut prompt, names).await?;
        // A constraint defines the end of its text, and a request that ignores every end ignores the end marks too.
        let ends_by_itself = constrained.is_some() || request.ending.ignore_eos;
        let end_marks = if ends_by_itself { Vec::new() } else { prompt.end_marks };
        Ok(Understood { request, model, info, warnings, output: prompt.output, constrained, end_marks, tokens })
    }
}

/// Reads a request of this route, renders its messages, turns them into tokens and checks their number. Nothing is
/// computed or reserved yet.
///
/// # Errors
/// Any fault of the request, or the engine is not available.
pub(in crate::api) async fn prepare(call: &Call, fields: Fields) -> Result<PreparedChat, ApiError> {
    let (prepared, ()) = prepare_as(call, fields, of_chat).await?;
    Ok(prepared)
}

/// As [`prepare`] for another route: `reader` reads its fields and may return a second value, which is passed on.
///
/// # Errors
/// As [`prepare`].
pub(in crate::api) async fn prepare_as<T>(
    call: &Call,
    fields: Fields,
    reader: impl FnOnce(Fields, &RequestLimits) -> Result<(ChatRequest, T), FieldError>,
) -> Result<(PreparedChat, T), ApiError> {
    let (understood, rest) = read(call, fields, reader, length::check).await?;
    let Understood { request, model, info, mut warnings, output, constrained, end_marks, tokens } = understood;
    let seed = request.sampling.seed.map_or_else(draw_seed, Ok)?;
    let output = Arc::new(output);
    let room = AnswerRoom {
        max_model_len: info.max_model_len.into(),
        limit: request.limit,
        default: TokenCap::AsManyAsFit,
        prompt: request.names.conversation,
        strict: call.policy.is_strict(),
    };
    let max_tokens = room.after(tokens.len())?;
    room.report([tokens.len()], &mut warnings);
    let (constraint, field) = constrained.map(|constrained| (constrained.constraint, constrained.path)).unzip();
    let fields = RequestFields { prompt: request.names.conversation, choices: N.name, constraint: field };
    let prediction = prompt::encode_prediction(&model, request.prediction.as_deref(), &info).await?;
    let sequence = SequenceRequest {
        max_tokens,
        prompt: tokens,
        stop: request.ending.strings.clone(),
        include_stop: request.ending.include,
        end_marks,
        stop_tokens: request.ending.tokens.clone(),
        min_tokens: request.ending.min_tokens,
        ignore_eos: request.ending.ignore_eos,
        logprobs: request.logprobs,
        constraint,
        show_special: request.show_special || marks_are_special(&output, &info),
        prediction,
        // The driver assigns the namespace, the gateway the id.
        ..SequenceRequest::default()
    };
    let choice = |k| SequenceRequest { sampling: request.sampling.for_choice(k, seed), ..sequence.clone() };
    let sequences = (0..request.n).map(choice).collect();
    Ok((PreparedChat { request, model, info, warnings, seed, output, sequences, fields }, rest))
}

/// The number of tokens in the prompt that these messages and tools make.
///
/// # Errors
/// The template refuses them, or the engine is not available.
pub(in crate::api) async fn count(call: &Call, model: &Model, info: &Arc<ModelInfo>, mut request: ChatRequest) -> Result<usize, ApiError> {
    let free = request.constrained.is_none() && !is_forced(&request.calls);
    let mut prompt = prompt::render(call, model, info, &mut request, free).await?;
    Ok(prompt::encode(model, &mut prompt, request.names).await?.len())
}

/// The warning for tools that were sent more than once with equal contents.
fn repeated(names: &[String]) -> Option<String> {
    const SHOWN: usize = 8;
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<&str>>().join(", ");
    (!names.is_empty()).then(|| format!("tools that were sent more than once count once: {shown}{more}"))
}

fn is_forced(calls: &Calls) -> bool {
    matches!(calls, Calls::Required | Calls::Named(_))
}

/// Settles a conflict between a format and calls, because one constraint rules the whole of an output. A call that must
/// be made takes precedence over a format. Calls that may be made become a part of the format's constraint, or are not
/// offered if no constraint says both. Returns the overruled field and the warning.
///
/// # Errors
/// The model has no template that compiles.
async fn settle(request: &mut ChatRequest, model: &Model, info: &Arc<ModelInfo>) -> Result<Option<(String, String)>, ApiError> {
    let Some(Constrained { constraint, path }) = &mut request.constrained else { return Ok(None) };
    let format = path.to_string();
    if is_forced(&request.calls) {
        let text = format!("{format} was not applied: tool_choice asks for a call");
        request.constrained = None;
        return Ok(Some((format, text)));
    }
    if request.calls == Calls::None {
        return Ok(None);
    }
    let control = |mark: &str| info.control_tokens.iter().find(|(text, _)| text == mark).map(|(_, token)| *token);
    let syntax = prompt::call_syntax(model, info).await?;
    if let Some(both) = offered_constraint(&request.tools.specs, request.parallel, syntax, constraint, control) {
        *constraint = both;
        return Ok(None);
    }
    request.calls = Calls::None;
    let text = format!("no tool was offered: {format} rules the whole answer");
    Ok(Some(("tools".to_owned(), text)))
}

/// True if the marks of calls or thoughts can be control tokens, whose text is empty unless special tokens are written
/// out.
fn marks_are_special(output: &OutputSpec, info: &ModelInfo) -> bool {
    let is_control = |mark: &str| info.control_tokens.iter().any(|(text, _)| text == mark);
    match output.reasoning {
        _ if output.calls == Calls::Auto => true,
        Reasoning::Tags { open, close, .. } => is_control(open) || is_control(close),
        Reasoning::None | Reasoning::Excluded => false,
    }
}

#[cfg(test)]
mod tests;
