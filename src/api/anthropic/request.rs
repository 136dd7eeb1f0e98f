//! The reader of `POST /v1/messages`: takes every field of Anthropic's `MessageCreateParams`, and makes a
//! [`ChatRequest`], as chat's reader does.
//!
//! Name, range and default of each field stand in `specs.rs`. A field either works, or is refused by name because
//! ignoring it would change the result, or is reported. Chat's code reads the fields that both routes have, in chat's
//! ranges. Fields of the beta API are read too, as far as clients send them by default.

use super::{
    conversation::{MessageTurns, is_read},
    specs,
    tools::{self, Offer},
};
use crate::{
    api::{
        fields::{FieldError, FieldFault, Fields, ignored::Ignored},
        openai::{
            chat::{
                field_names::{self, FieldNames},
                request::ChatRequest,
                switches::Switches,
            },
            shared::{
                ending::{Ending, read_stop},
                limits::{RequestLimits, STREAM},
                room::TokenLimit,
                sampling::Sampling,
                structured::Constrained,
            },
        },
    },
    chat::messages::replace_unread_parts,
    field_path::{FieldPath, PathStyle},
    protocol::Constraint,
};
use serde_json::{Map, Value, json};

/// This route's names for the fields that error messages of chat's code mention.
static NAMES: FieldNames = FieldNames {
    message: "messages",
    calls: "messages.content.tool_use",
    thoughts: "messages.content.thinking",
    function: "tools",
    text_tool: "tools",
    continuation: "a last message of the assistant",
    ..field_names::CHAT
};

/// The route that a body was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum MessagesEndpoint {
    /// `POST /v1/messages`, which answers.
    Create,
    /// `POST /v1/messages/count_tokens`, which counts the prompt's tokens.
    Count,
}

/// A request, and whether its answer shows thinking.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct MessageRequest {
    /// The request in the form that chat prepares.
    pub(in crate::api) chat: ChatRequest,
    /// True if the text of thinking blocks is shown.
    pub(super) shows_thoughts: bool,
}

/// The field `thinking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thinking {
    on: bool,
    shown: bool,
    has_budget: bool,
}

/// The fields `output_config` and `output_format`.
struct OutputConfig {
    effort: Option<&'static str>,
    format: Option<Constrained>,
}

impl MessageRequest {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub(in crate::api) fn read(mut f: Fields, aim: MessagesEndpoint, limits: &RequestLimits) -> Result<Self, FieldError> {
        f.check(specs::REFUSED)?;
        let mut ignored = without_effect(&mut f)?;
        let system = f.get(&specs::SYSTEM)?;
        let mut messages = f.require(&specs::MESSAGES)?;
        let at = specs::MESSAGES.name.into();
        replace_unread_parts(&mut messages, &at, is_read, &mut |at| ignored.add(&at.spelled(PathStyle::Dots)));
        let turns = MessageTurns::read(system, messages)?;
        ignored.extend(turns.ignored);
        let Offer { tools, calls, parallel, mut left_out, mut partly } = tools::read(&mut f, &mut ignored)?;
        left_out.extend(turns.left_out);
        let limit = f.get(&specs::MAX_TOKENS)?.map(|tokens| TokenLimit::at_most(specs::MAX_TOKENS.name, tokens.unsigned_abs()));
        if limit.is_none() && aim == MessagesEndpoint::Create {
            return Err(FieldError::missing(specs::MAX_TOKENS.name));
        }
        let strings = stop_sequences(&mut f, limits.max_stop_strings)?;
        let sampling = sampling(&mut f, limits.vocabulary_size)?;
        let stream = f.get(&STREAM)?;
        let mut switches = Switches::of_kwargs(&mut f)?;
        if turns.continues {
            switches.continue_last_message();
        }
        let thinking = thinking(&mut f, &mut ignored)?;
        let OutputConfig { effort, format } = output_config(&mut f, &mut ignored)?;
        let (effort, from) = settle_effort(thinking, effort, &mut ignored);
        switches.set_effort(effort, from);
        if matches!(thinking, Some(Thinking { has_budget: true, .. })) {
            partly.push(("thinking.budget_tokens", "thinking.budget_tokens is not enforced"));
        }
        ignored.extend(f.finish());
        let chat = ChatRequest {
            tools,
            calls,
            parallel,
            limit,
            constrained: format,
            ending: Ending { strings, ..Ending::default() },
            stream,
            ignored_last: ignored,
            left_out,
            partly,
            ..ChatRequest::new(turns.conversation, sampling, switches, &NAMES)
        };
        Ok(Self { chat, shows_thoughts: thinking.is_none_or(|thinking| thinking.shown) })
    }
}

/// Takes the known fields that have no effect on the answer. Returns the names of those that ask for something that is
/// not done.
fn without_effect(f: &mut Fields) -> Result<Ignored, FieldError> {
    f.check(specs::UNUSED)?;
    let mut ignored = Ignored::default();
    if f.get(&specs::SPEED)?.is_some_and(|speed| speed != "standard") {
        ignored.add(specs::SPEED.name);
    }
    if let Some(diagnostics) = f.get(&specs::DIAGNOSTICS)?
        && diagnostics.values().any(|value| !value.is_null())
    {
        ignored.add(specs::DIAGNOSTICS.name);
    }
    // Edits would clear parts of a long conversation; nothing is cleared.
    if let Some(management) = f.get(&specs::CONTEXT_MANAGEMENT)?
        && management.get("edits").is_none_or(|edits| *edits != json!([]))
    {
        ignored.add(specs::CONTEXT_MANAGEMENT.name);
    }
    Ok(ignored)
}

/// The strings that end the answer.
fn stop_sequences(f: &mut Fields, max_strings: usize) -> Result<Vec<String>, FieldError> {
    const NAME: &str = specs::STOP_SEQUENCES.name;
    match f.peek(NAME) {
        Some(other) if !other.is_array() => Err(FieldError::wrong_type(NAME, "an array of strings", other)),
        _ => read_stop(f, &specs::STOP_SEQUENCES, max_strings),
    }
}

/// Reads the samplers of this route with chat's code.
fn sampling(f: &mut Fields, vocabulary_size: u32) -> Result<Sampling, FieldError> {
    let mut samplers = f.pick(specs::SAMPLERS.iter().map(|spec| spec.name()));
    Sampling::read(&mut samplers, vocabulary_size)
}

/// The field `thinking`.
fn thinking(f: &mut Fields, ignored: &mut Ignored) -> Result<Option<Thinking>, FieldError> {
    const AT: &str = specs::THINKING.name;
    let inside = |error: FieldError| error.inside(AT);
    let Some(thinking) = f.get(&specs::THINKING)? else { return Ok(None) };
    let mut thinking = Fields::new(thinking);
    let kind = tools::string(&mut thinking, "type", &AT.into())?;
    let on = match kind.as_str() {
        "enabled" | "adaptive" => true,
        "disabled" => false,
        _ => return Err(FieldError::invalid("thinking.type", "expected 'enabled', 'disabled' or 'adaptive'")),
    };
    // The budget is not enforced, so that any number of tokens will do.
    let has_budget = match thinking.integer("budget_tokens", i64::MIN..=i64::MAX) {
        Ok(budget) => budget.is_some(),
        Err(FieldError { fault: FieldFault::OutOfRange { .. }, .. }) => true,
        Err(error) => return Err(inside(error)),
    };
    let shown = match thinking.string("display").map_err(inside)?.as_deref() {
        // Nothing is summarized: thinking is shown in full.
        None | Some("summarized") => true,
        Some("omitted") => false,
        Some(_) => return Err(FieldError::invalid("thinking.display", "expected 'summarized' or 'omitted'")),
    };
    ignored.extend_inside(AT, &thinking.finish());
    Ok(Some(Thinking { on, shown, has_budget: on && has_budget }))
}

/// Reads `output_config`, and `output_format`, its predecessor.
fn output_config(f: &mut Fields, ignored: &mut Ignored) -> Result<OutputConfig, FieldError> {
    const AT: &str = specs::OUTPUT_CONFIG.name;
    const OLDER: &str = specs::OUTPUT_FORMAT.name;
    let older = f.get(&specs::OUTPUT_FORMAT)?;
    let mut config = Fields::new(f.get(&specs::OUTPUT_CONFIG)?.unwrap_or_default());
    let effort = match config.string("effort").map_err(|error| error.inside(AT))?.as_deref() {
        None => None,
        Some("low") => Some("low"),
        Some("medium") => Some("medium"),
        Some("high") => Some("high"),
        Some("xhigh" | "max") => Some("xhigh"),
        Some(_) => {
            config.report("effort");
            None
        }
    };
    let newer = config.object("format").map_err(|error| error.inside(AT))?;
    if older.is_some() && newer.is_some() {
        return Err(FieldError::invalid(OLDER, "'output_config.format', which replaced it, is there too; send one"));
    }
    let path = if older.is_some() { OLDER.into() } else { FieldPath::from(AT).field("format") };
    let format = match newer.or(older) {
        None => None,
        Some(format) => {
            let schema = schema(Fields::new(format), &path, ignored)?;
            Some(Constrained { constraint: Constraint::JsonSchema(Value::Object(schema).to_string()), path })
        }
    };
    ignored.extend_inside(AT, &config.finish());
    Ok(OutputConfig { effort, format })
}

/// The schema of a format at `at`.
fn schema(mut format: Fields, at: &FieldPath, ignored: &mut Ignored) -> Result<Map<String, Value>, FieldError> {
    if tools::string(&mut format, "type", at)? != "json_schema" {
        return Err(FieldError::invalid(at.field("type"), "expected 'json_schema'"));
    }
    let schema = format.object("schema").map_err(|error| error.inside(at))?;
    ignored.extend_inside(at.as_str(), &format.finish());
    schema.ok_or_else(|| FieldError::missing(at.field("schema")))
}

/// The effort in OpenAI's terms that follows from `thinking` and `output_config.effort`, and the names of the fields
/// that set it.
fn settle_effort(thinking: Option<Thinking>, effort: Option<&'static str>, ignored: &mut Ignored) -> (Option<&'static str>, &'static str) {
    match (thinking.map(|thinking| thinking.on), effort) {
        (Some(false), effort) => {
            ignored.extend(effort.iter().map(|_| "output_config.effort").collect());
            (Some("none"), "thinking")
        }
        (Some(true), None) => (Some("medium"), "thinking"),
        (Some(true), effort) => (effort, "thinking, output_config.effort"),
        (None, effort) => (effort, "output_config.effort"),
    }
}

#[cfg(test)]
mod tests;
