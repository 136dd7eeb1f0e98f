//! OpenAI's messages and tools, checked and brought into the shape that chat templates of the Hugging Face kind expect.
//!
//! Owns names, types and limits of `messages`, `tools` and `tool_choice`, and what is refused. Renders nothing.
//!
//! What changes on the way to the template:
//! - `developer` is `system`, the name that templates know.
//! - Content is one string; text parts are joined by a line break, as vLLM does. Other parts are refused by name.
//! - An assistant's message without content has the empty string, since templates print `None` as a word.
//! - The arguments of calls are objects, no longer JSON text, unless the text is no object.
//! - Fields that are `null` are absent. Fields of no meaning here are kept: a template may know them.
//!
//! OpenAI's predecessors of tools (`functions`, `function_call`, the role `function`) are refused by name, because an
//! answer to them would have to come in their shape too.

#[cfg(test)]
mod tests;
mod tools;
mod unread;

pub use unread::unread;

pub use tools::{MAX_TOOL_BYTES, MAX_TOOLS, Tools, read_tool_choice, read_tools};

use serde_json::{Map, Value};

/// Messages of one request.
pub const MAX_MESSAGES: usize = 2048;

/// Fields of a request that OpenAI has replaced, and why they are refused.
pub const REPLACED: [(&str, &str); 2] =
    [("functions", "is not supported: send 'tools'"), ("function_call", "is not supported: send 'tool_choice'")];

/// Why messages or tools cannot be accepted. Always the client's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid '{param}': {reason}.")]
pub struct MessageError {
    /// The field, such as `messages[3].content[0]`.
    pub param: String,
    /// The rule, and what came; without a full stop.
    pub reason: String,
}

impl MessageError {
    fn new(param: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { param: param.into(), reason: reason.into() }
    }

    fn missing(param: impl Into<String>) -> Self {
        Self::new(param, "it is required")
    }

    fn wrong_type(param: impl Into<String>, expected: &str, found: &Value) -> Self {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Self::new(param, format!("expected {expected}, but got {found} instead"))
    }
}

/// Reads `messages`.
///
/// # Errors
/// If it is no list of 1 to [`MAX_MESSAGES`] messages, or one of them breaks a rule of its role.
pub fn read_messages(value: Value) -> Result<Vec<Value>, MessageError> {
    let Value::Array(messages) = value else {
        return Err(MessageError::wrong_type("messages", "an array of messages", &value));
    };
    if messages.is_empty() || messages.len() > MAX_MESSAGES {
        let reason = format!("expected 1 to {MAX_MESSAGES} messages, but got {} instead", messages.len());
        return Err(MessageError::new("messages", reason));
    }
    messages.into_iter().enumerate().map(|(at, message)| read_message(message, &format!("messages[{at}]"))).collect()
}

fn read_message(message: Value, at: &str) -> Result<Value, MessageError> {
    let mut fields = object(message, at, "a message object")?;
    fields.retain(|_, value| !value.is_null());
    let role = match fields.shift_remove("role") {
        Some(Value::String(role)) => role,
        Some(other) => return Err(MessageError::wrong_type(format!("{at}.role"), "a string", &other)),
        None => return Err(MessageError::missing(format!("{at}.role"))),
    };
    let role = match role.as_str() {
        "developer" => "system",
        "system" | "user" | "assistant" | "tool" => &role,
        "function" => return Err(MessageError::new(format!("{at}.role"), "'function' is not supported: use 'tool' with 'tool_call_id'")),
        _ => {
            let reason = "expected one of 'system', 'developer', 'user', 'assistant' and 'tool'";
            return Err(MessageError::new(format!("{at}.role"), reason));
        }
    };
    for name in ["name", "tool_call_id", "reasoning_content", "refusal"] {
        if let Some(other) = fields.get(name).filter(|value| !value.is_string()) {
            return Err(MessageError::wrong_type(format!("{at}.{name}"), "a string", other));
        }
    }
    for (name, instead) in [("function_call", "send 'tool_calls'"), ("audio", "the model reads text only")] {
        if fields.contains_key(name) {
            return Err(MessageError::new(format!("{at}.{name}"), format!("it is not supported: {instead}")));
        }
    }
    let content = fields.shift_remove("content").map(|content| read_content(content, &format!("{at}.content"))).transpose()?;
    let calls = fields.shift_remove("tool_calls").map(|calls| read_calls(calls, &format!("{at}.tool_calls"))).transpose()?;
    let calls = calls.filter(|calls| !calls.is_empty());
    let content = match (role, content, &calls) {
        (_, Some(content), _) => content,
        ("assistant", None, Some(_)) => String::new(),
        ("assistant", None, None) => {
            assistant_without_content(&mut fields).ok_or_else(|| MessageError::missing(format!("{at}.content")))?
        }
        _ => return Err(MessageError::missing(format!("{at}.content"))),
    };
    if role != "assistant" && calls.is_some() {
        return Err(MessageError::new(format!("{at}.tool_calls"), format!("a message of role '{role}' makes no calls")));
    }
    if role == "tool" && !fields.contains_key("tool_call_id") {
        return Err(MessageError::missing(format!("{at}.tool_call_id")));
    }
    let mut read = Map::from_iter([("role".to_owned(), Value::from(role)), ("content".to_owned(), Value::String(content))]);
    read.extend(calls.map(|calls| ("tool_calls".to_owned(), Value::Array(calls))));
    read.extend(fields);
    Ok(Value::Object(read))
}

/// What stands for the content of an answer that has none: a refusal, or nothing after a thought.
fn assistant_without_content(fields: &mut Map<String, Value>) -> Option<String> {
    match fields.shift_remove("refusal") {
        Some(Value::String(refusal)) => Some(refusal),
        _ => fields.contains_key("reasoning_content").then(String::new),
    }
}

fn read_content(content: Value, at: &str) -> Result<String, MessageError> {
    match content {
        Value::String(text) => Ok(text),
        Value::Array(parts) if parts.is_empty() => Err(MessageError::new(at, "expected at least one part, but got an empty array instead")),
        Value::Array(parts) => {
            let texts = parts.into_iter().enumerate().map(|(part, value)| read_part(value, &format!("{at}[{part}]")));
            Ok(texts.collect::<Result<Vec<String>, _>>()?.join("\n"))
        }
        other => Err(MessageError::wrong_type(at, "a string or an array of parts", &other)),
    }
}

fn read_part(part: Value, at: &str) -> Result<String, MessageError> {
    let mut fields = object(part, at, "an object with 'type' and 'text'")?;
    let field = match fields.get("type").and_then(Value::as_str) {
        Some("text" | "input_text" | "output_text") => "text",
        Some("refusal") => "refusal",
        Some(kind @ ("image_url" | "input_image" | "input_audio" | "video_url" | "audio_url" | "file" | "input_file")) => {
            return Err(MessageError::new(at, format!("parts of type '{kind}' are not supported: the model reads text only")));
        }
        Some(_) => return Err(MessageError::new(format!("{at}.type"), "expected 'text'")),
        None => return Err(MessageError::missing(format!("{at}.type"))),
    };
    match fields.shift_remove(field) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(MessageError::wrong_type(format!("{at}.{field}"), "a string", &other)),
        None => Err(MessageError::missing(format!("{at}.{field}"))),
    }
}

fn read_calls(calls: Value, at: &str) -> Result<Vec<Value>, MessageError> {
    match calls {
        Value::Array(calls) => calls.into_iter().enumerate().map(|(call, value)| read_call(value, &format!("{at}[{call}]"))).collect(),
        other => Err(MessageError::wrong_type(at, "an array of calls", &other)),
    }
}

fn read_call(call: Value, at: &str) -> Result<Value, MessageError> {
    let mut fields = object(call, at, "an object with 'id', 'type' and 'function'")?;
    function_type(&fields, at)?;
    let Some(function) = fields.shift_remove("function") else {
        return Err(MessageError::missing(format!("{at}.function")));
    };
    let mut function = object(function, &format!("{at}.function"), "an object with 'name' and 'arguments'")?;
    let name = read_name(function.shift_remove("name"), &format!("{at}.function.name"))?;
    let arguments = match function.shift_remove("arguments") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(Value::String(text)) => as_object(text),
        Some(Value::Object(arguments)) => Value::Object(arguments),
        Some(other) => return Err(MessageError::wrong_type(format!("{at}.function.arguments"), "JSON text in a string", &other)),
    };
    match fields.shift_remove("id") {
        Some(Value::String(id)) => {
            let function = Map::from_iter([("name".to_owned(), Value::String(name)), ("arguments".to_owned(), arguments)]);
            let call = [("id", Value::String(id)), ("type", "function".into()), ("function", Value::Object(function))];
            Ok(Value::Object(call.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
        }
        Some(Value::Null) | None => Err(MessageError::missing(format!("{at}.id"))),
        Some(other) => Err(MessageError::wrong_type(format!("{at}.id"), "a string", &other)),
    }
}

/// The object that `text` is as JSON; no text is none. Other text, such as arguments that were cut off, stays what it is.
fn as_object(text: String) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Map::new());
    }
    serde_json::from_str::<Map<String, Value>>(&text).map_or(Value::String(text), Value::Object)
}

/// `type`, of tools and calls, is `function` where it is given.
fn function_type(fields: &Map<String, Value>, at: &str) -> Result<(), MessageError> {
    match fields.get("type") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(kind)) if kind == "function" => Ok(()),
        Some(Value::String(_)) => Err(MessageError::new(format!("{at}.type"), "only 'function' is supported")),
        Some(other) => Err(MessageError::wrong_type(format!("{at}.type"), "a string", other)),
    }
}

/// A function's name by OpenAI's rule.
fn read_name(name: Option<Value>, at: &str) -> Result<String, MessageError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match name {
        Some(Value::String(name)) if (1..=64).contains(&name.len()) && name.chars().all(allowed) => Ok(name),
        Some(Value::String(_)) => Err(MessageError::new(at, "expected 1 to 64 letters, digits, underscores and hyphens")),
        Some(Value::Null) | None => Err(MessageError::missing(at)),
        Some(other) => Err(MessageError::wrong_type(at, "a string", &other)),
    }
}

fn object(value: Value, at: &str, expected: &str) -> Result<Map<String, Value>, MessageError> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(MessageError::wrong_type(at, expected, &other)),
    }
}
