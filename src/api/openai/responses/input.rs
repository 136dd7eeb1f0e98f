//! `instructions` and `input` of the Responses API, read into a conversation.
//!
//! Owns the kinds of items and the rule by which they join: the messages, reasoning and calls of one assistant turn
//! become one message, however many items they were. `crate::chat` reads content and calls, with the paths of the
//! items.

use crate::{
    api::fields::{FieldError, Fields, ignored::Ignored},
    chat::{
        CALL_ID, Conversation, Message, Role,
        messages::{CallFields, MessageError, check_count, read_content, unread_in_parts},
    },
    field_path::FieldPath,
};
use serde_json::Value;

/// The conversation that `instructions` and `input` make.
#[derive(Debug, Default, PartialEq)]
pub(super) struct InputItems {
    /// At least one message.
    pub(super) conversation: Conversation,
    /// Fields of parts that had no effect, such as `input[].content[].detail`.
    pub(super) hidden: Ignored,
    /// Fields of items that had no effect, such as `input[2].encrypted_content`.
    pub(super) ignored: Ignored,
}

/// A message of the assistant that the next item may extend.
struct Turn {
    message: Message,
    /// True if an item has set its content.
    is_said: bool,
}

/// Reads items, one after the other.
#[derive(Default)]
struct Reader {
    read: InputItems,
    turn: Option<Turn>,
}

/// Reads `instructions` and `input`.
///
/// # Errors
/// `input` has another type, or an item is of a kind that is not supported or lacks a field that its kind needs.
pub(super) fn read(instructions: Option<String>, input: Value) -> Result<InputItems, FieldError> {
    let mut reader = Reader::default();
    let at = FieldPath::from("input");
    if let Some(instructions) = instructions {
        reader.add(Message::of_text(Role::System, instructions, "instructions".into()));
    }
    match input {
        Value::String(text) => reader.add(Message::of_text(Role::User, text, at.clone())),
        Value::Array(items) if items.is_empty() => {
            return Err(FieldError::invalid(at, "expected a string or at least one item, but got an empty array instead"));
        }
        Value::Array(items) => {
            for (index, item) in items.into_iter().enumerate() {
                reader.item(item, &at.index(index))?;
            }
        }
        other => return Err(FieldError::wrong_type(at, "a string or an array of items", &other)),
    }
    reader.end_turn();
    check_count(reader.read.conversation.messages.len(), &at)?;
    Ok(reader.read)
}

impl Reader {
    fn item(&mut self, item: Value, at: &FieldPath) -> Result<(), FieldError> {
        let Value::Object(mut item) = item else { return Err(FieldError::wrong_type(at, "an item object", &item)) };
        item.retain(|_, value| !value.is_null());
        let mut item = Fields::new(item);
        let kind = item.string("type").map_err(|error| error.inside(at))?;
        // Items of an earlier answer have these two fields; they change nothing.
        for name in ["id", "status"] {
            item.take(name);
        }
        match kind.as_deref() {
            Some("message") => self.message(&mut item, at)?,
            None if item.has("role") => self.message(&mut item, at)?,
            Some("function_call") => self.call(&mut item, at)?,
            Some("function_call_output") => self.output(&mut item, at)?,
            Some("reasoning") => self.reasoning(&mut item, at)?,
            None => return Err(FieldError::missing(at.field("type"))),
            Some("item_reference") => {
                let reason = "'item_reference' is not supported: items are not stored here; send the item itself";
                return Err(FieldError::invalid(at.field("type"), reason));
            }
            Some(other) => {
                let shown: String = other.chars().take(32).collect();
                let reason = format!(
                    "items of type '{shown}' are not supported; 'message', 'function_call', 'function_call_output' and 'reasoning' are"
                );
                return Err(FieldError::invalid(at.field("type"), reason));
            }
        }
        let unread = item.finish();
        if !unread.is_empty() {
            self.read.ignored.extend_inside(at.as_str(), &unread);
        }
        Ok(())
    }

    fn message(&mut self, item: &mut Fields, at: &FieldPath) -> Result<(), FieldError> {
        // `phase` marks messages that a model of OpenAI's wrote before its last answer.
        item.take("phase");
        let missing = |name: &str| FieldError::missing(at.field(name));
        let role = item.string("role").map_err(|error| error.inside(at))?.ok_or_else(|| missing("role"))?;
        let content = item.take("content").ok_or_else(|| missing("content"))?;
        let role = match role.as_str() {
            "user" => Role::User,
            "system" | "developer" => Role::System,
            "assistant" => Role::Assistant,
            _ => {
                let reason = "expected one of 'user', 'system', 'developer' and 'assistant'";
                return Err(FieldError::invalid(at.field("role"), reason));
            }
        };
        unread_in_parts(Some(&content), "input[].content[]", &mut |at, name| self.read.hidden.add_inside(at, name));
        let content = read_content(content, &at.field("content"))?;
        if role == Role::Assistant {
            let turn = self.turn(at, |turn| !turn.is_said);
            (turn.message.content, turn.message.at, turn.is_said) = (content, at.clone(), true);
        } else {
            self.add(Message { content, ..Message::new(role, at.clone()) });
        }
        Ok(())
    }

    fn call(&mut self, item: &mut Fields, at: &FieldPath) -> Result<(), FieldError> {
        let mut field = |name: &str| (item.take(name), at.field(name));
        let call = CallFields { id: field("call_id"), name: field("name"), arguments: field("arguments") };
        let call = call.read(at.clone())?;
        self.turn(at, |_| true).message.calls.push(call);
        Ok(())
    }

    fn output(&mut self, item: &mut Fields, at: &FieldPath) -> Result<(), FieldError> {
        let output_at = at.field("output");
        let text = |item: &mut Fields, name: &str| match item.take(name) {
            Some(other) if !other.is_string() => Err(MessageError::wrong_type(at.field(name), "a string", &other)),
            text => Ok(text),
        };
        let (name, id) = (text(item, "name")?, text(item, "call_id")?);
        let output = item.take("output").ok_or_else(|| MessageError::missing(&output_at))?;
        unread_in_parts(Some(&output), "input[].output[]", &mut |at, name| self.read.hidden.add_inside(at, name));
        let mut message = Message { content: read_content(output, &output_at)?, ..Message::new(Role::Tool, at.clone()) };
        let id = id.ok_or_else(|| MessageError::missing(at.field("call_id")))?;
        message.fields.insert(CALL_ID.to_owned(), id);
        message.fields.extend(name.map(|name| ("name".to_owned(), name)));
        self.add(message);
        Ok(())
    }

    fn reasoning(&mut self, item: &mut Fields, at: &FieldPath) -> Result<(), FieldError> {
        let content = texts(item, "content", at)?;
        let summary = texts(item, "summary", at)?;
        let thoughts = if content.is_empty() { summary } else { content };
        if !thoughts.is_empty() {
            let turn = self.turn(at, |turn| !turn.is_said && turn.message.calls.is_empty());
            thoughts.iter().for_each(|thought| turn.message.add_thought(thought));
        }
        Ok(())
    }

    /// The turn that an item belongs to: the open one if it `may_go_on`, else a new one.
    fn turn(&mut self, at: &FieldPath, may_go_on: impl Fn(&Turn) -> bool) -> &mut Turn {
        if self.turn.as_ref().is_some_and(|turn| !may_go_on(turn)) {
            self.end_turn();
        }
        self.turn.get_or_insert_with(|| Turn { message: Message::new(Role::Assistant, at.clone()), is_said: false })
    }

    fn end_turn(&mut self) {
        self.read.conversation.messages.extend(self.turn.take().map(|turn| turn.message));
    }

    /// Adds a message that is not the assistant's.
    fn add(&mut self, message: Message) {
        self.end_turn();
        self.read.conversation.messages.push(message);
    }
}

/// The texts of the field `name`, a list of `{type, text}`.
fn texts(item: &mut Fields, name: &str, at: &FieldPath) -> Result<Vec<String>, FieldError> {
    let at = at.field(name);
    let parts = match item.take(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(parts)) => parts,
        Some(other) => return Err(FieldError::wrong_type(at, "an array of parts", &other)),
    };
    let text = |(index, part): (usize, &Value)| match part.get("text") {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(FieldError::wrong_type(at.index(index), "an object with 'text'", part)),
    };
    parts.iter().enumerate().map(text).collect()
}

#[cfg(test)]
mod tests;
