//! `tools`, `tool_choice` and `text.format` of the Responses API, which are flat, in chat's shape, which is nested.
//!
//! Refuses OpenAI's built-in tools, which would run here; everything else is checked where chat's fields are read.

use crate::api::fields::{FieldError, Fields, ignored::Ignored};
use serde_json::{Map, Value, json};

/// `tools` for chat, and as a response repeats them.
///
/// # Errors
/// Another type than a list of objects, or a tool that is no function.
pub(super) fn tools(f: &mut Fields, ignored: &mut Ignored) -> Result<(Option<Value>, Vec<Value>), FieldError> {
    let tools = match f.take("tools") {
        None => return Ok((None, Vec::new())),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(FieldError::wrong_type("tools", "an array of tools", &other)),
    };
    let (mut offered, mut shown) = (Vec::new(), Vec::new());
    for (index, tool) in tools.into_iter().enumerate() {
        let at = format!("tools[{index}]");
        let Value::Object(mut tool) = tool else { return Err(FieldError::wrong_type(&at, "a tool object", &tool)) };
        tool.retain(|_, value| !value.is_null());
        let mut tool = Fields::new(tool);
        match tool.string("type").map_err(|error| error.inside(&at))?.as_deref() {
            Some("function") => {}
            None => return Err(FieldError::missing(format!("{at}.type"))),
            Some(other) => {
                let shown: String = other.chars().take(32).collect();
                let reason = format!("'{shown}' is not supported: only functions are, which the caller runs");
                return Err(FieldError::invalid(format!("{at}.type"), reason));
            }
        }
        let [name, description, parameters, strict] = ["name", "description", "parameters", "strict"].map(|name| tool.take(name));
        let function = json!({"name": name, "description": description, "parameters": parameters, "strict": strict});
        offered.push(json!({"type": "function", "function": function}));
        let strict = strict.unwrap_or(Value::Bool(false));
        shown.push(json!({"type": "function", "name": name, "description": description, "parameters": parameters, "strict": strict}));
        ignored.extend_inside(&at, &tool.finish());
    }
    Ok((Some(offered.into()), shown))
}

/// `tool_choice` for chat, and as a response repeats it.
pub(super) fn tool_choice(f: &mut Fields) -> (Option<Value>, Value) {
    let given = f.take("tool_choice");
    let shown = given.clone().unwrap_or_else(|| "auto".into());
    let choice = given.map(|choice| match choice {
        Value::Object(mut choice) => {
            let [kind, name] = ["type", "name"].map(|key| choice.shift_remove(key));
            json!({"type": kind, "function": {"name": name}})
        }
        other => other,
    });
    (choice, shown)
}

/// `text.format` as chat's `response_format`. One that is no schema has the same shape.
pub(super) fn text_format(format: Map<String, Value>, ignored: &mut Ignored) -> Value {
    if format.get("type").and_then(Value::as_str) != Some("json_schema") {
        return Value::Object(format);
    }
    let mut format = Fields::new(format);
    let [kind, name, description, schema, strict] = ["type", "name", "description", "schema", "strict"].map(|name| format.take(name));
    ignored.extend_inside("text.format", &format.finish());
    json!({"type": kind, "json_schema": {"name": name, "description": description, "schema": schema, "strict": strict}})
}
