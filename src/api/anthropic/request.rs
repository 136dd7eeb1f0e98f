//! What `POST /v1/messages` may ask for: every field of Anthropic's `MessageCreateParams`, as fields of chat.
//!
//! A field either works, or is refused by name because ignoring it would change the result, or is reported. Ranges are
//! Anthropic's where it has one, else those of chat, which reads the rest. What the beta API adds is here too, as far as
//! clients send it unasked.

use super::{conversation::Conversation, names::Names, tools};
use crate::api::fields::{FieldError, Fields, ignored::Ignored};
use serde_json::{Map, Value, json};

/// What a body is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Aim {
    /// An answer.
    Create,
    /// The count of its prompt's tokens.
    Count,
}

/// A request in chat's words, and what chat does not know.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct MessageRequest {
    /// Fields of chat, all but `model`.
    pub(super) chat: Map<String, Value>,
    /// Whether the text of thinking blocks is shown.
    pub(super) shows_thoughts: bool,
    /// Names and places of fields that have no effect.
    pub(in crate::api) ignored: Ignored,
    /// Fields that are obeyed in part only, and how; visible ASCII and spaces.
    pub(super) partly: Vec<(&'static str, &'static str)>,
    /// How chat's names are told.
    pub(super) names: Names,
}

/// The field `thinking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thinking {
    on: bool,
    shown: bool,
    has_budget: bool,
}

impl MessageRequest {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub(in crate::api) fn read(mut f: Fields, aim: Aim) -> Result<Self, FieldError> {
        refuse(&mut f)?;
        let mut ignored = without_effect(&mut f)?;
        let mut chat = Map::new();
        let system = f.take("system");
        let messages = f.take("messages").ok_or_else(|| FieldError::missing("messages"))?;
        let mut conversation = Conversation::read(system, messages)?;
        ignored.extend(std::mem::take(&mut conversation.ignored));
        if conversation.continues {
            chat.insert("continue_final_message".to_owned(), true.into());
        }
        chat.insert("messages".to_owned(), conversation.into_messages().into());
        tools::read(&mut f, &mut chat, &mut ignored)?;
        limits(&mut f, aim, &mut chat)?;
        let thinking = thinking(&mut f, &mut ignored)?;
        let (effort, format) = output_config(&mut f, &mut chat, &mut ignored)?;
        let (effort, from) = settle_effort(thinking, effort, &mut ignored);
        chat.extend(effort.map(|effort| ("reasoning_effort".to_owned(), effort.into())));
        let partly = match thinking {
            Some(Thinking { has_budget: true, .. }) => vec![("thinking.budget_tokens", "thinking.budget_tokens is not enforced")],
            _ => Vec::new(),
        };
        ignored.extend(f.finish());
        let shows_thoughts = thinking.is_none_or(|thinking| thinking.shown);
        Ok(Self { chat, shows_thoughts, ignored, partly, names: Names { effort: from, format } })
    }
}

/// What would be another answer, or the work of other servers.
fn refuse(f: &mut Fields) -> Result<(), FieldError> {
    let refused = [
        ("container", "is not supported: this server runs no code"),
        ("mcp_servers", "is not supported: this server calls no other servers"),
        ("thread", "is not supported: this server keeps no conversations; send all 'messages'"),
    ];
    for (name, reason) in refused {
        if f.take(name).is_some_and(|value| value != json!([])) {
            return Err(FieldError::unsupported(name, reason));
        }
    }
    Ok(())
}

/// Takes known fields without an effect on the answer. The names of those that asked for something that is not done.
fn without_effect(f: &mut Fields) -> Result<Ignored, FieldError> {
    // For the operator's books and caches. Nothing is done with them, and they are never logged.
    f.object("metadata")?;
    for name in ["cache_control", "inference_geo", "service_tier", "user_profile_id", "workspace_id"] {
        f.take(name);
    }
    let mut ignored = Ignored::default();
    if f.string("speed")?.is_some_and(|speed| speed != "standard") {
        ignored.add("speed");
    }
    if let Some(diagnostics) = f.object("diagnostics")?
        && diagnostics.values().any(|value| !value.is_null())
    {
        ignored.add("diagnostics");
    }
    // What is to be cleared from a long conversation stays in it.
    if let Some(management) = f.object("context_management")?
        && management.get("edits").is_none_or(|edits| *edits != json!([]))
    {
        ignored.add("context_management");
    }
    Ok(ignored)
}

/// How long the answer may be, where it ends, and how its tokens are chosen.
fn limits(f: &mut Fields, aim: Aim, chat: &mut Map<String, Value>) -> Result<(), FieldError> {
    let mut put = |name: &str, value: Value| chat.insert(name.to_owned(), value);
    match f.integer("max_tokens", 1..=i64::MAX)? {
        Some(most) => {
            put("max_tokens", most.into());
        }
        None if aim == Aim::Create => return Err(FieldError::missing("max_tokens")),
        None => {}
    }
    match f.take("stop_sequences") {
        None => {}
        Some(strings @ Value::Array(_)) => {
            put("stop", strings);
        }
        Some(other) => return Err(FieldError::wrong_type("stop_sequences", "an array of strings", &other)),
    }
    for name in ["temperature", "top_p"] {
        if let Some(number) = f.number(name, 0.0..=1.0)? {
            put(name, number.into());
        }
    }
    if let Some(top_k) = f.integer("top_k", 0..=i64::from(i32::MAX))? {
        put("top_k", top_k.into());
    }
    if let Some(stream) = f.boolean("stream")? {
        put("stream", stream.into());
    }
    // Chat's own, read there.
    for name in ["seed", "min_p", "chat_template_kwargs"] {
        if let Some(value) = f.take(name) {
            put(name, value);
        }
    }
    Ok(())
}

/// The field `thinking`.
fn thinking(f: &mut Fields, ignored: &mut Ignored) -> Result<Option<Thinking>, FieldError> {
    const AT: &str = "thinking";
    let inside = |error: FieldError| error.inside(AT);
    let Some(thinking) = f.object(AT)? else { return Ok(None) };
    let mut thinking = Fields::new(thinking);
    let kind = tools::string(&mut thinking, "type", AT)?;
    let on = match kind.as_str() {
        "enabled" | "adaptive" => true,
        "disabled" => false,
        _ => return Err(FieldError::invalid("thinking.type", "expected 'enabled', 'disabled' or 'adaptive'")),
    };
    let budget = thinking.integer("budget_tokens", 1..=i64::MAX).map_err(inside)?;
    if kind == "enabled" && budget.is_none() {
        return Err(FieldError::missing("thinking.budget_tokens"));
    }
    let shown = match thinking.string("display").map_err(inside)?.as_deref() {
        // Nothing is summarized: it is shown as it was thought.
        None | Some("summarized") => true,
        Some("omitted") => false,
        Some(_) => return Err(FieldError::invalid("thinking.display", "expected 'summarized' or 'omitted'")),
    };
    ignored.extend_inside(AT, &thinking.finish());
    Ok(Some(Thinking { on, shown, has_budget: on && budget.is_some() }))
}

/// The fields `output_config` and `output_format`, its predecessor: the effort, in chat's words, and which of them has the
/// format.
fn output_config(
    f: &mut Fields,
    chat: &mut Map<String, Value>,
    ignored: &mut Ignored,
) -> Result<(Option<&'static str>, &'static str), FieldError> {
    const AT: &str = "output_config";
    let older = f.object("output_format")?;
    let mut config = Fields::new(f.object(AT)?.unwrap_or_default());
    let effort = match config.string("effort").map_err(|error| error.inside(AT))?.as_deref() {
        None => None,
        Some("low") => Some("low"),
        Some("medium") => Some("medium"),
        Some("high") => Some("high"),
        Some("xhigh" | "max") => Some("xhigh"),
        Some(_) => return Err(FieldError::invalid("output_config.effort", "expected one of low, medium, high, xhigh, max")),
    };
    let newer = config.object("format").map_err(|error| error.inside(AT))?;
    if older.is_some() && newer.is_some() {
        return Err(FieldError::invalid("output_format", "'output_config.format', which replaced it, is there too; send one"));
    }
    let place = if older.is_some() { "output_format" } else { "output_config.format" };
    if let Some(format) = newer.or(older) {
        let schema = schema(&mut Fields::new(format), place)?;
        let format = json!({"type": "json_schema", "json_schema": {"name": "output", "schema": schema}});
        chat.insert("response_format".to_owned(), format);
    }
    ignored.extend_inside(AT, &config.finish());
    Ok((effort, place))
}

/// The schema of a format at `at`.
fn schema(format: &mut Fields, at: &str) -> Result<Map<String, Value>, FieldError> {
    if tools::string(format, "type", at)? != "json_schema" {
        return Err(FieldError::invalid(format!("{at}.type"), "expected 'json_schema'"));
    }
    let schema = format.object("schema").map_err(|error| error.inside(at))?;
    schema.ok_or_else(|| FieldError::missing(format!("{at}.schema")))
}

/// Chat's `reasoning_effort`, which `thinking` and `output_config.effort` are together, and the name to tell it by.
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
