//! Turns a conversation into tokens: the model's template renders it, and no word of a user becomes a control token.
//!
//! Also derives, from the template and its output, the form in which this model writes calls and reasoning.

use super::{field_names::FieldNames, is_forced, request::ChatRequest, specs};
use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::{FieldError, ignored::Ignored},
        openai::shared::length,
    },
    chat::{
        CALL_ID, ChatInput, ChatTemplate, ChatTemplates, FALLBACK_MARKS, FittedPrompt, Folding, GenericTools, Message, OfferedTools,
        REASONING, Role, SINGLE_CALLS, TOOL_CALLS, TemplateError,
        output::{Calls, OutputSpec, Reasoning, ToolFormat, ToolInput, ToolSpec, text_alone},
    },
    field_path::FieldPath,
    gateway::models::Model,
    protocol::{Constraint, ModelInfo, SpecialText, Token},
};
use serde_json::Value;
use std::sync::Arc;

/// A rendered prompt, and the rules for parsing the text that the model adds to it.
#[derive(Debug)]
pub(super) struct ChatPrompt {
    /// The text, to be tokenized with `special`.
    pub(super) text: String,
    /// The parts of the text in which control tokens are recognised: those that the template wrote.
    pub(super) special: SpecialText,
    /// The rules for parsing the answer.
    pub(super) output: OutputSpec,
    /// Names of fields that had no effect on the template.
    pub(super) ignored: Ignored,
    /// The changes that the template asked for: the field concerned, and the change in words.
    pub(super) changes: Vec<(&'static str, &'static str)>,
    /// Texts that end the answer: the marks of the fallback template, which the model writes as text because they are
    /// no tokens of its vocabulary.
    pub(super) end_marks: Vec<String>,
}

/// Renders a request's messages and tools. `free` is true if nothing constrains the answer from its first token on.
///
/// # Errors
/// The template refuses the messages or fails on them: 400. The model has no template that compiles: 500.
pub(super) async fn render(
    call: &Call,
    model: &Model,
    info: &Arc<ModelInfo>,
    request: &mut ChatRequest,
    free: bool,
) -> Result<ChatPrompt, ApiError> {
    let templates = templates(model, info).await?;
    let has_tools = !request.tools.values.is_empty() && request.calls != Calls::None;
    let template = Arc::clone(templates.select(has_tools));
    let (kwargs, mut ignored) = request.switches.kwargs(template.mentions(), free);
    let generic = generic_tools(model, &template, has_tools, request);
    ignored.extend(unshown(&template, generic, request));
    let mut input = ChatInput {
        messages: Vec::new(),
        tools: has_tools.then(|| std::mem::take(&mut request.tools.values)),
        add_generation_prompt: request.switches.add_generation_prompt,
        continue_final_message: request.switches.continue_final_message,
        kwargs,
    };
    let mut conversation = std::mem::take(&mut request.conversation);
    let has_system = conversation.messages.iter().any(|message| message.role == Role::System);
    let (calls, parallel) = (request.calls.clone(), request.parallel);
    let is_text_alone = text_alone(&request.tools.specs, &calls).is_some();
    let turn = call.state.renders.turn(call.principal).await;
    let rendering = {
        let template = Arc::clone(&template);
        // A request that is cancelled meanwhile keeps its permit until the rendering ends.
        tokio::task::spawn_blocking(move || {
            let tools = if generic.tools { input.tools.take().unwrap_or_default() } else { Vec::new() };
            generic.write(&mut conversation, &OfferedTools { tools, calls, parallel, is_text_alone });
            let rendered = template.render_conversation(conversation, input);
            drop(turn);
            rendered
        })
    };
    let rendered = rendering.await.map_err(|error| {
        tracing::error!(%error, "rendering a chat template ended early");
        ApiError::Internal
    })?;
    let FittedPrompt { prompt: rendered, folding, single_calls } = rendered.map_err(|error| of_template(error, request.names))?;
    let reasoning = if free { Reasoning::detect(template.source(), &rendered.text) } else { Reasoning::Excluded };
    let output = OutputSpec {
        tools: std::mem::take(&mut request.tools.specs),
        calls: request.calls.clone(),
        parallel: request.parallel,
        format: tool_format(&template, model, info),
        reasoning,
    };
    let end_marks = if templates.is_fallback() { FALLBACK_MARKS.map(str::to_owned).to_vec() } else { Vec::new() };
    // The only system message may be the server's own description of the tools.
    let folding = folding.filter(|_| has_system);
    let changes = changes(request.names, folding, generic, single_calls);
    Ok(ChatPrompt { text: rendered.text, special: SpecialText::RecognisedOutside(rendered.barriers), output, ignored, changes, end_marks })
}

/// Forbids calls that the model may make of tools that it does not see, and reports the tools.
///
/// # Errors
/// The model has no template that compiles: 500.
pub(super) async fn drop_unseen_tools(model: &Model, info: &Arc<ModelInfo>, request: &mut ChatRequest) -> Result<(), ApiError> {
    if request.calls == Calls::Auto && !model.config.generic_tools && !shows_tools(model, info).await? {
        request.calls = Calls::None;
        request.ignored.add("tools");
    }
    Ok(())
}

/// True if the model may call tools that the template does not show, so that the system turn describes them.
///
/// # Errors
/// The model has no template that compiles: 500.
pub(super) async fn describes_optional_tools(model: &Model, info: &Arc<ModelInfo>, request: &ChatRequest) -> Result<bool, ApiError> {
    Ok(request.calls == Calls::Auto && model.config.generic_tools && !shows_tools(model, info).await?)
}

async fn shows_tools(model: &Model, info: &Arc<ModelInfo>) -> Result<bool, ApiError> {
    Ok(templates(model, info).await?.select(true).abilities().shows_tools)
}

/// The parts of the request that become text because the template does not show them.
fn generic_tools(model: &Model, template: &ChatTemplate, has_tools: bool, request: &ChatRequest) -> GenericTools {
    if model.config.generic_tools { GenericTools::of(template, has_tools, &request.conversation) } else { GenericTools::default() }
}

/// The changes for the warnings: the field concerned, and the change in words.
fn changes(
    names: &'static FieldNames,
    folding: Option<Folding>,
    generic: GenericTools,
    single_calls: bool,
) -> Vec<(&'static str, &'static str)> {
    let of_generic = if generic.tools { "tools" } else { names.calls };
    let changes = [
        folding.map(|folding| (names.conversation, folding.text())),
        generic.text().map(|text| (of_generic, text)),
        single_calls.then_some((names.calls, SINGLE_CALLS)),
    ];
    changes.into_iter().flatten().collect()
}

/// The syntax of calls of a model that is told of tools.
///
/// # Errors
/// The model has no template that compiles: 500.
pub(super) async fn call_syntax(model: &Model, info: &Arc<ModelInfo>) -> Result<ToolFormat, ApiError> {
    let templates = templates(model, info).await?;
    Ok(tool_format(templates.select(true), model, info))
}

/// The syntax of calls under this template: the family's, or that of the generic description of tools.
fn tool_format(template: &ChatTemplate, model: &Model, info: &ModelInfo) -> ToolFormat {
    if model.config.generic_tools && !template.abilities().shows_tools {
        return ToolFormat::Json;
    }
    ToolFormat::detect(template.source(), &info.architecture, &info.name)
}

async fn templates(model: &Model, info: &Arc<ModelInfo>) -> Result<Arc<ChatTemplates>, ApiError> {
    let compiled = model.templates.of(info).await;
    compiled.map_err(|reason| ApiError::EngineFailed { message: format!("Chat is not available: {reason}.") })
}

/// Names of keys in messages and tools that this template ignores, so that the model does not see them.
fn unshown(template: &ChatTemplate, generic: GenericTools, request: &ChatRequest) -> Ignored {
    // The order of the messages shows, too, which call a result belongs to.
    let is_hidden = |key: &&str| {
        let shown_as = if *key == REASONING { template.abilities().thought_key.unwrap_or(REASONING) } else { key };
        let is_written = generic.calls && *key == TOOL_CALLS;
        let is_shown = template.renders_whole_messages() || template.mentions().contains(shown_as);
        !(*key == CALL_ID || is_written || is_shown)
    };
    let mut names = Ignored::default();
    for key in request.conversation.messages.iter().flat_map(Message::keys).filter(is_hidden) {
        match key {
            TOOL_CALLS => names.add(request.names.calls),
            REASONING => names.add(request.names.thoughts),
            key => names.add_inside(request.names.message, key),
        }
    }
    let tools = &request.tools;
    // The constraint has the names and parameters of tools that must be called; only their descriptions are lost.
    let is_described = |tool: &Value| tool["function"].get("description").is_some();
    let is_lost = is_forced(&request.calls) && !generic.tools && !template.abilities().shows_tools;
    if is_lost && tools.values.iter().any(is_described) {
        names.add_inside(request.names.function, "description");
    }
    if request.calls == Calls::Auto && tools.specs.iter().any(|tool| tool.strict) {
        // Nothing constrains a call that the model may or may not make.
        names.add_inside(request.names.function, "strict");
    }
    if tools.specs.iter().any(|tool| misses_grammar(tool, &request.calls)) {
        names.add_inside(request.names.text_tool, "format");
    }
    names
}

/// True if nothing holds the input of the tool to its grammar: only a tool that must be called has all of it, and a
/// list of calls can hold a regular expression.
fn misses_grammar(tool: &ToolSpec, calls: &Calls) -> bool {
    let ToolInput::Text { grammar: Some(grammar) } = &tool.input else { return false };
    match calls {
        Calls::None | Calls::Named(_) => false,
        Calls::Auto => true,
        Calls::Required => !matches!(grammar, Constraint::Regex(_)),
    }
}

/// Turns a rendered prompt into tokens, with BOS in front where the vocabulary requires it and the template left it
/// out.
///
/// # Errors
/// As [`EngineHandle::tokenize`](crate::gateway::handle::EngineHandle::tokenize), naming the field with the
/// conversation.
pub(super) async fn encode(model: &Model, prompt: &mut ChatPrompt, names: &FieldNames) -> Result<Vec<Token>, ApiError> {
    let text = std::mem::take(&mut prompt.text);
    let special = std::mem::replace(&mut prompt.special, SpecialText::Plain);
    model.handle.tokenize(text, true, special).await.map_err(|error| ApiError::of_text(names.conversation, error))
}

/// The tokens of OpenAI's `prediction`, at most as many as the context holds: a longer output is impossible.
pub(super) async fn encode_prediction(model: &Model, text: Option<&str>, info: &ModelInfo) -> Result<Vec<Token>, ApiError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let text = length::within_context(text, info).to_owned();
    let tokens = model.handle.tokenize(text, false, SpecialText::Continuation).await;
    let mut tokens = tokens.map_err(|error| ApiError::of_text("prediction", error))?;
    tokens.truncate(usize::try_from(info.max_model_len).unwrap_or(usize::MAX));
    Ok(tokens)
}

/// The error for a template that fails on one conversation. It serves others, so the request is at fault and not the
/// server.
fn of_template(error: TemplateError, names: &FieldNames) -> ApiError {
    let reason = match error {
        TemplateError::Raised(reason) => format!("the model's chat template refuses them: {}", reason.trim_end_matches('.')),
        TemplateError::Continuation(error) => format!("{}{error}", names.continuation),
        TemplateError::Reserved(name) => {
            let at = FieldPath::from(specs::CHAT_TEMPLATE_KWARGS.name).field(&name);
            return FieldError::invalid(at, "the server sets it").into();
        }
        TemplateError::Input(reason) | TemplateError::Failed(reason) => reason,
    };
    FieldError::invalid(names.conversation, reason).into()
}
