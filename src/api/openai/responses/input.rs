//! `instructions` and `input` of the Responses API as chat's messages.
//!
//! Owns which kinds of items there are and how they join: what one turn of the assistant said, thought and called is one
//! message, whatever number of items it came as. Content is checked by `crate::chat`; where each message came from is kept,
//! so that an error names the item.

use crate::api::fields::{FieldError, Fields, ignored::Ignored};
use serde_json::{Map, Value, json};

/// Chat's messages, and where they came from.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Conversation {
    /// As `POST /v1/chat/completions` takes them.
    pub(super) messages: Vec<Value>,
    /// Of each message.
    pub(super) origins: Vec<Origin>,
    /// Names of what had no effect, such as `input[2].encrypted_content`.
    pub(super) ignored: Ignored,
}

/// Which part of a request became a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// Such as `instructions` or `input[3]`.
    pub(super) at: String,
    /// The key that its content has there.
    pub(super) content: &'static str,
    /// Of each call that it makes.
    pub(super) calls: Vec<String>,
}

/// A turn of the assistant that may go on with the next item.
struct Turn {
    origin: Origin,
    thoughts: Vec<String>,
    content: Option<Value>,
    calls: Vec<Value>,
}

/// What reads items, one after the other.
#[derive(Default)]
struct Reader {
    conversation: Conversation,
    turn: Option<Turn>,
}

/// Reads both fields.
///
/// # Errors
/// `input` of another type, an item of a kind that is not supported, or one that lacks what its kind needs.
pub(super) fn read(instructions: Option<String>, input: Value) -> Result<Conversation, FieldError> {
    let mut reader = Reader::default();
    if let Some(instructions) = instructions {
        reader.add(json!({"role": "system", "content": instructions}), "instructions", "content");
    }
    match input {
        Value::String(text) => reader.add(json!({"role": "user", "content": text}), "input", "content"),
        Value::Array(items) if items.is_empty() => {
            return Err(FieldError::invalid("input", "expected a string or at least one item, but got an empty array instead"));
        }
        Value::Array(items) => {
            for (index, item) in items.into_iter().enumerate() {
                reader.item(item, &format!("input[{index}]"))?;
            }
        }
        other => return Err(FieldError::wrong_type("input", "a string or an array of items", &other)),
    }
    reader.end_turn();
    Ok(reader.conversation)
}

impl Reader {
    fn item(&mut self, item: Value, at: &str) -> Result<(), FieldError> {
        let Value::Object(mut item) = item else { return Err(FieldError::wrong_type(at, "an item object", &item)) };
        item.retain(|_, value| !value.is_null());
        let mut item = Fields::new(item);
        let kind = item.string("type").map_err(|error| error.inside(at))?;
        // Of items that are sent back; they change nothing.
        for name in ["id", "status"] {
            item.take(name);
        }
        match kind.as_deref() {
            Some("message") => self.message(&mut item, at)?,
            None if item.has("role") => self.message(&mut item, at)?,
            Some("function_call") => self.call(&mut item, at),
            Some("function_call_output") => self.output(&mut item, at),
            Some("reasoning") => self.reasoning(&mut item, at)?,
            None => return Err(FieldError::missing(format!("{at}.type"))),
            Some("item_reference") => {
                let reason = "'item_reference' is not supported: items are not stored here; send the item itself";
                return Err(FieldError::invalid(format!("{at}.type"), reason));
            }
            Some(other) => {
                let shown: String = other.chars().take(32).collect();
                let reason = format!(
                    "items of type '{shown}' are not supported; 'message', 'function_call', 'function_call_output' and 'reasoning' are"
                );
                return Err(FieldError::invalid(format!("{at}.type"), reason));
            }
        }
        self.conversation.ignored.extend_inside(at, &item.finish());
        Ok(())
    }

    fn message(&mut self, item: &mut Fields, at: &str) -> Result<(), FieldError> {
        // It marks what a model of OpenAI's said before its last answer.
        item.take("phase");
        let missing = |name: &str| FieldError::missing(format!("{at}.{name}"));
        let role = item.string("role").map_err(|error| error.inside(at))?.ok_or_else(|| missing("role"))?;
        let content = item.take("content").ok_or_else(|| missing("content"))?;
        match role.as_str() {
            "user" | "system" | "developer" => self.add(json!({"role": role, "content": content}), at, "content"),
            "assistant" => {
                let turn = self.turn(at, |turn| turn.content.is_none());
                turn.content = Some(content);
                at.clone_into(&mut turn.origin.at);
            }
            _ => {
                let reason = "expected one of 'user', 'system', 'developer' and 'assistant'";
                return Err(FieldError::invalid(format!("{at}.role"), reason));
            }
        }
        Ok(())
    }

    /// Whatever is wrong with it is found where calls of messages are read.
    fn call(&mut self, item: &mut Fields, at: &str) {
        let [id, name, arguments] = ["call_id", "name", "arguments"].map(|name| item.take(name));
        let turn = self.turn(at, |_| true);
        turn.calls.push(json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}));
        turn.origin.calls.push(at.to_owned());
    }

    fn output(&mut self, item: &mut Fields, at: &str) {
        let [id, output, name] = ["call_id", "output", "name"].map(|name| item.take(name));
        self.add(json!({"role": "tool", "tool_call_id": id, "content": output, "name": name}), at, "output");
    }

    fn reasoning(&mut self, item: &mut Fields, at: &str) -> Result<(), FieldError> {
        let content = texts(item, "content", at)?;
        let summary = texts(item, "summary", at)?;
        let thought = if content.is_empty() { summary } else { content };
        if !thought.is_empty() {
            let turn = self.turn(at, |turn| turn.content.is_none() && turn.calls.is_empty());
            turn.thoughts.extend(thought);
        }
        Ok(())
    }

    /// The turn that an item belongs to: the one under way if it `may_go_on`, else a new one.
    fn turn(&mut self, at: &str, may_go_on: impl Fn(&Turn) -> bool) -> &mut Turn {
        if self.turn.as_ref().is_some_and(|turn| !may_go_on(turn)) {
            self.end_turn();
        }
        self.turn.get_or_insert_with(|| Turn {
            origin: Origin { at: at.to_owned(), content: "content", calls: Vec::new() },
            thoughts: Vec::new(),
            content: None,
            calls: Vec::new(),
        })
    }

    fn end_turn(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let mut message = Map::from_iter([("role".to_owned(), Value::from("assistant"))]);
        message.extend(turn.content.map(|content| ("content".to_owned(), content)));
        if !turn.thoughts.is_empty() {
            message.insert("reasoning_content".to_owned(), turn.thoughts.join("\n").into());
        }
        if !turn.calls.is_empty() {
            message.insert("tool_calls".to_owned(), turn.calls.into());
        }
        self.conversation.messages.push(message.into());
        self.conversation.origins.push(turn.origin);
    }

    /// Adds a message that is no turn of the assistant's.
    fn add(&mut self, message: Value, at: &str, content: &'static str) {
        self.end_turn();
        self.conversation.messages.push(message);
        self.conversation.origins.push(Origin { at: at.to_owned(), content, calls: Vec::new() });
    }
}

/// The texts of a list of `{type, text}`.
fn texts(item: &mut Fields, name: &str, at: &str) -> Result<Vec<String>, FieldError> {
    let at = format!("{at}.{name}");
    let parts = match item.take(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(parts)) => parts,
        Some(other) => return Err(FieldError::wrong_type(&at, "an array of parts", &other)),
    };
    let text = |(index, part): (usize, &Value)| match part.get("text") {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(FieldError::wrong_type(format!("{at}[{index}]"), "an object with 'text'", part)),
    };
    parts.iter().enumerate().map(text).collect()
}

#[cfg(test)]
mod tests;
