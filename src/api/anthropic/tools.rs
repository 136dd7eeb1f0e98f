//! `tools` and `tool_choice` to chat's `tools`, `tool_choice` and `parallel_tool_calls`.
//!
//! Tools of the client's own work; those that Anthropic runs, or that its models were trained for, are refused by name.

use crate::api::fields::{FieldError, Fields, ignored::Ignored};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Puts chat's fields for both into `chat`, and places of what has no effect into `ignored`.
///
/// # Errors
/// The first place at fault.
pub(super) fn read(f: &mut Fields, chat: &mut Map<String, Value>, ignored: &mut Ignored) -> Result<(), FieldError> {
    let tools = match f.take("tools") {
        None => Vec::new(),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(FieldError::wrong_type("tools", "an array of tools", &other)),
    };
    let mut names = HashSet::new();
    let mut functions = Vec::new();
    for (index, value) in tools.into_iter().enumerate() {
        let at = format!("tools.{index}");
        let (name, function) = tool(value, &at, ignored)?;
        if !names.insert(name.clone()) {
            return Err(FieldError::invalid(format!("{at}.name"), format!("'{name}' is there twice")));
        }
        functions.push(function);
    }
    if let Some(choice) = f.object("tool_choice")? {
        let mut choice = Fields::new(choice);
        chat.insert("tool_choice".to_owned(), chosen(&mut choice, &names)?);
        if choice.boolean("disable_parallel_tool_use").map_err(|error| error.inside("tool_choice"))? == Some(true) {
            chat.insert("parallel_tool_calls".to_owned(), false.into());
        }
        ignored.extend_inside("tool_choice", &choice.finish());
    }
    if !functions.is_empty() {
        chat.insert("tools".to_owned(), functions.into());
    }
    Ok(())
}

/// A tool's name, and the tool as chat has it.
fn tool(value: Value, at: &str, ignored: &mut Ignored) -> Result<(String, Value), FieldError> {
    let inside = |error: FieldError| error.inside(at);
    let mut tool = object(value, at)?;
    match tool.string("type").map_err(inside)?.as_deref() {
        None | Some("custom") => {}
        Some(kind) => {
            let shown: String = kind.chars().take(64).collect();
            let reason = format!("tools of type '{shown}' are not supported: only the client's own ('custom') are");
            return Err(FieldError::invalid(format!("{at}.type"), reason));
        }
    }
    let name = name(&mut tool, at)?;
    let schema = tool.object("input_schema").map_err(inside)?;
    let schema = schema.ok_or_else(|| FieldError::missing(format!("{at}.input_schema")))?;
    if schema.get("type").is_some_and(|kind| kind != "object") {
        return Err(FieldError::invalid(format!("{at}.input_schema.type"), "expected 'object'"));
    }
    let mut function = json!({"name": name, "parameters": schema});
    if let Some(description) = tool.string("description").map_err(inside)? {
        function["description"] = description.into();
    }
    if let Some(strict) = tool.boolean("strict").map_err(inside)? {
        function["strict"] = strict.into();
    }
    // Arguments are always streamed as they come, and every tool is always there.
    for name in ["cache_control", "eager_input_streaming"] {
        tool.take(name);
    }
    if tool.boolean("defer_loading").map_err(inside)? == Some(true) {
        ignored.add_inside(at, "defer_loading");
    }
    if tool.take("allowed_callers").is_some_and(|callers| callers != json!(["direct"])) {
        ignored.add_inside(at, "allowed_callers");
    }
    ignored.extend_inside(at, &tool.finish());
    Ok((name, json!({"type": "function", "function": function})))
}

/// Chat's `tool_choice`.
fn chosen(choice: &mut Fields, names: &HashSet<String>) -> Result<Value, FieldError> {
    const AT: &str = "tool_choice";
    match string(choice, "type", AT)?.as_str() {
        "auto" => Ok("auto".into()),
        "none" => Ok("none".into()),
        "any" if names.is_empty() => Err(FieldError::invalid(AT, "'any' needs at least one of 'tools'")),
        "any" => Ok("required".into()),
        "tool" => {
            let name = name(choice, AT)?;
            if !names.contains(&name) {
                return Err(FieldError::invalid("tool_choice.name", format!("'{name}' is not among 'tools'")));
            }
            Ok(json!({"type": "function", "function": {"name": name}}))
        }
        _ => Err(FieldError::invalid("tool_choice.type", "expected 'auto', 'any', 'tool' or 'none'")),
    }
}

/// The required field `name`, of a tool, a call or a choice.
pub(super) fn name(fields: &mut Fields, at: &str) -> Result<String, FieldError> {
    let name = string(fields, "name", at)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(FieldError::invalid(format!("{at}.name"), "expected 1 to 64 letters, digits, underscores and hyphens"))
}

/// A required string of an object at `at`.
pub(super) fn string(fields: &mut Fields, name: &str, at: &str) -> Result<String, FieldError> {
    let value = fields.string(name).map_err(|error| error.inside(at))?;
    value.ok_or_else(|| FieldError::missing(format!("{at}.{name}")))
}

/// The value at `at` as an object.
pub(super) fn object(value: Value, at: &str) -> Result<Fields, FieldError> {
    match value {
        Value::Object(fields) => Ok(Fields::new(fields)),
        other => Err(FieldError::wrong_type(at, "an object", &other)),
    }
}
