//! OpenAI's chat messages and tools, checked and read into a [`Conversation`] and [`Tools`].
//!
//! Owns names, types and limits of `messages`, `tools` and `tool_choice`, and the refusals. Renders nothing. Readers of
//! other routes use it for the parts that they share with chat: content, calls, functions.
//!
//! Changes on the way to the template:
//! - `developer` becomes `system`, the name that templates use.
//! - Text parts stay a list where the template takes lists, else they become one string, joined by a line break, as in
//!   vLLM. Other parts and `audio` are refused by name in a user's newest turn, else replaced by a note (`media`).
//! - An assistant's message without content gets the empty string, since templates print `None` as a word; `None` where
//!   the template would else leave its calls out.
//! - The arguments of calls become objects instead of JSON text, unless the text is no object or the template wants
//!   text.
//! - `reasoning_content` gets the name that the template reads, and ids of calls become shorter where it wants that.
//! - Fields that are `null` count as absent. Fields without meaning here are kept: a template may use them.
//! - A call or a result without an id gets one by its place (`call_ids`).
//! - In the history, OpenAI's predecessors of tool calls (`function_call`, the role `function`) are calls and results.

mod allowed_tools;
mod call_ids;
mod media;
#[cfg(test)]
mod tests;
mod text_tools;
mod tools;
mod unread;

pub use allowed_tools::{ALLOWED_TOOLS, allow_only, name_in_choice};
pub use call_ids::fill_call_ids;
pub use media::{is_text_part, replace_unread_parts};
pub use unread::{unread, unread_in_parts};

pub use text_tools::{TextTool, text_arguments};
pub use tools::{
    CUSTOM, FUNCTION, MAX_TOOL_BYTES, MAX_TOOLS, Tools, named_function, read_tool_choice, read_tools, settle_schema_type, tool_kind,
};

use super::conversation::{CALL_ID, Conversation, Message, Part, REASONING, Role, TOOL_CALLS, ToolCall};
use crate::{field_path::FieldPath, surrogates::without_lone};
use serde_json::{Map, Value};

/// The predecessor of [`TOOL_CALLS`] in messages.
const FUNCTION_CALL: &str = "function_call";

/// Maximum number of messages in one request.
pub const MAX_MESSAGES: usize = 2048;

/// The longest name of a function in OpenAI's APIs, characters. Other families have limits of their own.
pub const MAX_FUNCTION_NAME: usize = 64;

/// The longest name of a past call, bytes. It was made elsewhere, so it may have any characters.
pub const MAX_PAST_NAME: usize = 1024;

/// The reason why messages or tools cannot be accepted. The client is always at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid '{path}': {reason}.")]
pub struct MessageError {
    /// The path of the field, such as `messages[3].content[0]`.
    pub path: FieldPath,
    /// The rule and the value that was sent; without a full stop.
    pub reason: String,
}

impl MessageError {
    /// The error for a broken rule that concerns neither presence nor type.
    #[must_use]
    pub fn new(path: impl Into<FieldPath>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    /// The error for a required field that is absent.
    #[must_use]
    pub fn missing(path: impl Into<FieldPath>) -> Self {
        Self::new(path, "it is required")
    }

    /// The error for a value of the wrong type.
    #[must_use]
    pub fn wrong_type(path: impl Into<FieldPath>, expected: &str, found: &Value) -> Self {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Self::new(path, format!("expected {expected}, but got {found} instead"))
    }
}

/// Reads chat's `messages`.
///
/// # Errors
/// The value is no list of 1 to [`MAX_MESSAGES`] messages, or a message breaks a rule of its role.
pub fn read_messages(value: Value) -> Result<Conversation, MessageError> {
    let at = FieldPath::from("messages");
    let Value::Array(messages) = value else {
        return Err(MessageError::wrong_type(at, "an array of messages", &value));
    };
    check_count(messages.len(), &at)?;
    let messages = messages.into_iter().enumerate().map(|(index, message)| read_message(message, at.index(index)));
    let mut conversation = Conversation { messages: messages.collect::<Result<_, _>>()? };
    fill_call_ids(&mut conversation);
    Ok(conversation)
}

/// Checks the number of messages in the field `at`.
///
/// # Errors
/// There are none, or more than [`MAX_MESSAGES`].
pub fn check_count(messages: usize, at: &FieldPath) -> Result<(), MessageError> {
    if messages == 0 || messages > MAX_MESSAGES {
        return Err(MessageError::new(at, format!("expected 1 to {MAX_MESSAGES} messages, but got {messages} instead")));
    }
    Ok(())
}

fn read_message(message: Value, at: FieldPath) -> Result<Message, MessageError> {
    let mut fields = object(message, &at, "a message object")?;
    fields.retain(|_, value| !value.is_null());
    let role = read_role(fields.shift_remove("role"), &at.field("role"))?;
    for name in ["name", CALL_ID, REASONING, "refusal"] {
        if let Some(other) = fields.get(name).filter(|value| !value.is_string()) {
            return Err(MessageError::wrong_type(at.field(name), "a string", other));
        }
    }
    if fields.contains_key("audio") {
        return Err(MessageError::new(at.field("audio"), "it is not supported: the model reads text only"));
    }
    let content_at = at.field("content");
    let content = fields.shift_remove("content").map(|content| read_content(content, &content_at)).transpose()?;
    let calls = calls_of(role, &mut fields, &at)?;
    let content = match (role, content) {
        (_, Some(content)) => content,
        (Role::Assistant, None) if calls.is_empty() => refusal(&mut fields, &at),
        (Role::Assistant | Role::Tool, None) => Vec::new(),
        (Role::System | Role::User, None) => return Err(MessageError::missing(content_at)),
    };
    Ok(Message { role, content, calls, fields, at })
}

fn read_role(role: Option<Value>, at: &FieldPath) -> Result<Role, MessageError> {
    match role {
        Some(Value::String(role)) => match role.as_str() {
            "system" | "developer" => Ok(Role::System),
            "user" => Ok(Role::User),
            "assistant" => Ok(Role::Assistant),
            "tool" | "function" => Ok(Role::Tool),
            _ => Err(MessageError::new(at, "expected one of 'system', 'developer', 'user', 'assistant' and 'tool'")),
        },
        Some(other) => Err(MessageError::wrong_type(at, "a string", &other)),
        None => Err(MessageError::missing(at)),
    }
}

/// The content of an assistant's message without `content`: its refusal, if there is one.
fn refusal(fields: &mut Map<String, Value>, at: &FieldPath) -> Vec<Part> {
    match fields.shift_remove("refusal") {
        Some(Value::String(text)) => vec![Part::Text { text, at: at.field("refusal") }],
        _ => Vec::new(),
    }
}

/// The calls in the fields of a message, and the one in `function_call`, the predecessor of `tool_calls`.
fn calls_of(role: Role, fields: &mut Map<String, Value>, at: &FieldPath) -> Result<Vec<ToolCall>, MessageError> {
    let (at_calls, at_call) = (at.field(TOOL_CALLS), at.field(FUNCTION_CALL));
    let mut calls = fields.shift_remove(TOOL_CALLS).map(|calls| read_calls(calls, &at_calls)).transpose()?.unwrap_or_default();
    let no_calls = |at: FieldPath| Err(MessageError::new(at, format!("a message of role '{}' makes no calls", role.name())));
    if role != Role::Assistant && !calls.is_empty() {
        return no_calls(at_calls);
    }
    let Some(call) = fields.shift_remove(FUNCTION_CALL) else { return Ok(calls) };
    if role != Role::Assistant {
        return no_calls(at_call);
    }
    if calls.is_empty() {
        calls.push(read_function((None, at_call.clone()), call, &at_call, at_call.clone())?);
    }
    Ok(calls)
}

/// Reads the content of a message: a string, or a list of parts.
///
/// # Errors
/// The value is neither, or a part is no text. No parts mean the empty text.
pub fn read_content(content: Value, at: &FieldPath) -> Result<Vec<Part>, MessageError> {
    match content {
        Value::String(text) => Ok(vec![Part::Text { text, at: at.clone() }]),
        Value::Array(parts) => parts.into_iter().enumerate().map(|(index, part)| read_part(part, at.index(index))).collect(),
        other => Err(MessageError::wrong_type(at, "a string or an array of parts", &other)),
    }
}

fn read_part(part: Value, at: FieldPath) -> Result<Part, MessageError> {
    let mut fields = object(part, &at, "an object with 'type' and 'text'")?;
    let field = match fields.get("type").and_then(Value::as_str) {
        Some("text" | "input_text" | "output_text") => "text",
        Some("refusal") => "refusal",
        Some(kind @ ("image_url" | "input_image" | "input_audio" | "video_url" | "audio_url" | "file" | "input_file")) => {
            return Err(MessageError::new(at, format!("parts of type '{kind}' are not supported: the model reads text only")));
        }
        Some(kind) => {
            let shown: String = kind.chars().take(32).collect();
            return Err(MessageError::new(at.field("type"), format!("'{shown}' is not known here: expected 'text'")));
        }
        None => return Err(MessageError::missing(at.field("type"))),
    };
    match fields.shift_remove(field) {
        Some(Value::String(text)) => Ok(Part::Text { text, at }),
        Some(other) => Err(MessageError::wrong_type(at.field(field), "a string", &other)),
        None => Err(MessageError::missing(at.field(field))),
    }
}

fn read_calls(calls: Value, at: &FieldPath) -> Result<Vec<ToolCall>, MessageError> {
    match calls {
        Value::Array(calls) => calls.into_iter().enumerate().map(|(index, call)| read_call(call, at.index(index))).collect(),
        other => Err(MessageError::wrong_type(at, "an array of calls", &other)),
    }
}

fn read_call(call: Value, at: FieldPath) -> Result<ToolCall, MessageError> {
    let mut fields = object(call, &at, "an object with 'id', 'type' and 'function'")?;
    if tool_kind(&fields, &at)? == CUSTOM {
        return read_text_call(fields, at);
    }
    let function_at = at.field("function");
    let Some(function) = fields.shift_remove("function") else {
        return Err(MessageError::missing(function_at));
    };
    read_function((fields.shift_remove("id"), at.field("id")), function, &function_at, at)
}

/// Reads the function of the past call at `at`.
fn read_function(
    id: (Option<Value>, FieldPath),
    function: Value,
    function_at: &FieldPath,
    at: FieldPath,
) -> Result<ToolCall, MessageError> {
    let mut function = object(function, function_at, "an object with 'name' and 'arguments'")?;
    let call = CallFields {
        id,
        name: (function.shift_remove("name"), function_at.field("name")),
        arguments: (function.shift_remove("arguments"), function_at.field("arguments")),
    };
    call.read(at)
}

/// Reads a past call of a tool whose input is a text.
fn read_text_call(mut fields: Map<String, Value>, at: FieldPath) -> Result<ToolCall, MessageError> {
    let inner_at = at.field(CUSTOM);
    let Some(inner) = fields.shift_remove(CUSTOM) else {
        return Err(MessageError::missing(inner_at));
    };
    let mut inner = object(inner, &inner_at, "an object with 'name' and 'input'")?;
    let call = CallFields {
        id: (fields.shift_remove("id"), at.field("id")),
        name: (inner.shift_remove("name"), inner_at.field("name")),
        arguments: (inner.shift_remove("input"), inner_at.field("input")),
    };
    call.read_text(at)
}

/// The fields of a past call with their paths, which differ from route to route.
#[derive(Debug)]
pub struct CallFields {
    /// The id by which a result refers to the call.
    pub id: (Option<Value>, FieldPath),
    /// The function's name.
    pub name: (Option<Value>, FieldPath),
    /// The arguments: JSON text in a string, or an object. For a tool whose input is a text, that text.
    pub arguments: (Option<Value>, FieldPath),
}

impl CallFields {
    /// Reads the call whose path is `at`, of a tool whose input is a text.
    ///
    /// # Errors
    /// As [`CallFields::read`].
    pub fn read_text(mut self, at: FieldPath) -> Result<ToolCall, MessageError> {
        self.arguments.0 = match self.arguments.0.take() {
            Some(Value::String(text)) => Some(text_arguments(&text)),
            None | Some(Value::Null) => Some(text_arguments("")),
            Some(other) => return Err(MessageError::wrong_type(self.arguments.1, "a string", &other)),
        };
        self.read(at)
    }

    /// Reads the call whose path is `at`. A call without an id gets an empty one, for [`fill_call_ids`].
    ///
    /// # Errors
    /// A field has the wrong type, or the name is missing, empty or above [`MAX_PAST_NAME`].
    pub fn read(self, at: FieldPath) -> Result<ToolCall, MessageError> {
        let (name, name_at) = self.name;
        let name = read_past_name(name, &name_at)?;
        let arguments = match self.arguments {
            (None | Some(Value::Null), _) => Value::Object(Map::new()),
            (Some(Value::String(text)), _) => as_object(text),
            (Some(Value::Object(arguments)), _) => Value::Object(arguments),
            (Some(other), arguments_at) => return Err(MessageError::wrong_type(arguments_at, "JSON text in a string", &other)),
        };
        match self.id {
            (Some(Value::String(id)), _) => Ok(ToolCall { id, name, arguments, at }),
            (Some(Value::Null) | None, _) => Ok(ToolCall { id: String::new(), name, arguments, at }),
            (Some(other), id_at) => Err(MessageError::wrong_type(id_at, "a string", &other)),
        }
    }
}

/// Parses `text` as a JSON object; an absent text is an empty object. Other text, such as arguments that were cut off,
/// stays a string.
fn as_object(text: String) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Map::new());
    }
    serde_json::from_slice::<Map<String, Value>>(&without_lone(text.as_bytes())).map_or(Value::String(text), Value::Object)
}

/// Reads a function's name, which has at most `longest` characters.
///
/// # Errors
/// The name is missing, no string, empty, too long, or has a character that is no letter, digit, underscore or hyphen.
pub fn read_name(name: Option<Value>, at: &FieldPath, longest: usize) -> Result<String, MessageError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match name {
        Some(Value::String(name)) if (1..=longest).contains(&name.len()) && name.chars().all(allowed) => Ok(name),
        Some(Value::String(_)) => Err(MessageError::new(at, format!("expected 1 to {longest} letters, digits, underscores and hyphens"))),
        Some(Value::Null) | None => Err(MessageError::missing(at)),
        Some(other) => Err(MessageError::wrong_type(at, "a string", &other)),
    }
}

/// Reads the name of a past call, whose tool may have been offered elsewhere, under other rules.
///
/// # Errors
/// The name is missing, no string, empty, or above [`MAX_PAST_NAME`].
pub fn read_past_name(name: Option<Value>, at: &FieldPath) -> Result<String, MessageError> {
    match name {
        Some(Value::String(name)) if (1..=MAX_PAST_NAME).contains(&name.len()) => Ok(name),
        Some(Value::String(_)) => Err(MessageError::new(at, format!("expected 1 to {MAX_PAST_NAME} bytes"))),
        Some(Value::Null) | None => Err(MessageError::missing(at)),
        Some(other) => Err(MessageError::wrong_type(at, "a string", &other)),
    }
}

fn object(value: Value, at: &FieldPath, expected: &str) -> Result<Map<String, Value>, MessageError> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(MessageError::wrong_type(at, expected, &other)),
    }
}
