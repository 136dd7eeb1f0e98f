//! `instructions` and `input` of the Responses API, read into a conversation.
//!
//! Owns the kinds of items and the rule by which they join: the messages, reasoning and calls of one assistant turn
//! become one message, however many items they were. Items of kinds that have no place in a prompt are left out and
//! reported. `crate::chat` reads content and calls, with the paths of the items.

use super::names::ToolNames;
use crate::{
    api::{
        fields::{FieldError, Fields, ignored::Ignored},
        openai::shared::left_out::{LeftOut, LeftOutPart},
    },
    chat::{
        CALL_ID, Conversation, Message, Role, ToolCall,
        messages::{CallFields, MessageError, check_count, fill_call_ids, read_content, unread_in_parts},
    },
    field_path::FieldPath,
};
use serde_json::{Map, Value};

/// The conversation that `instructions` and `input` make.
#[derive(Debug, Default, PartialEq)]
pub(super) struct InputItems {
    /// At least one message.
    pub(super) conversation: Conversation,
    /// Fields of parts that had no effect, such as `input[].content[].detail`.
    pub(super) hidden: Ignored,
    /// Fields of items that had no effect, such as `input[2].encrypted_content`.
    pub(super) ignored: Ignored,
    /// Items that are left out because of their type.
    pub(super) left_out: LeftOut,
}

/// A message of the assistant that the next item may extend.
struct Turn {
    message: Message,
    /// True if an item has set its content.
    is_said: bool,
}

/// The calls of OpenAI's own tools that the client runs. Their results are items of the same name with `_output`.
const CLIENT_CALLS: [&str; 3] = ["local_shell_call", "shell_call", "apply_patch_call"];

/// Reads items, one after the other.
struct Reader<'a> {
    read: InputItems,
    turn: Option<Turn>,
    names: &'a ToolNames,
}

/// Reads `instructions` and `input`. Past calls get the names by which the model knows the tools of this request.
///
/// # Errors
/// `input` has another type, or an item refers to something that is stored, or lacks a field that its kind needs.
pub(super) fn read(instructions: Option<String>, input: Value, names: &ToolNames) -> Result<InputItems, FieldError> {
    let mut reader = Reader { read: InputItems::default(), turn: None, names };
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
    fill_call_ids(&mut reader.read.conversation);
    Ok(reader.read)
}

impl Reader<'_> {
    fn item(&mut self, item: Value, at: &FieldPath) -> Result<(), FieldError> {
        let Value::Object(mut item) = item else { return Err(FieldError::wrong_type(at, "an item object", &item)) };
        item.retain(|_, value| !value.is_null());
        let mut item = Fields::new(item);
        let kind = item.string("type").map_err(|error| error.inside(at))?;
        // Items of an earlier answer have these two fields; they change nothing.
        let id = item.take("id");
        item.take("status");
        match kind.as_deref() {
            Some("message") => self.message(&mut item, at)?,
            None if item.has("role") => self.message(&mut item, at)?,
            Some("function_call") => self.call(&mut item, at, CallFields::read)?,
            Some("custom_tool_call") => self.call(&mut item, at, CallFields::read_text)?,
            Some("function_call_output" | "custom_tool_call_output") => self.output(&mut item, at)?,
            Some("reasoning") => self.reasoning(&mut item, at)?,
            None => return Err(FieldError::missing(at.field("type"))),
            Some("item_reference") => {
                let reason = "'item_reference' is not supported: items are not stored here; send the item itself";
                return Err(FieldError::invalid(at.field("type"), reason));
            }
            Some(other) => {
                self.other(other, id, item, at);
                return Ok(());
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
        let role = match role.as_str() {
            "user" => Role::User,
            "system" | "developer" => Role::System,
            "assistant" => Role::Assistant,
            _ => {
                let reason = "expected one of 'user', 'system', 'developer' and 'assistant'";
                return Err(FieldError::invalid(at.field("role"), reason));
            }
        };
        let content = match item.take("content") {
            None if role != Role::Assistant => return Err(missing("content")),
            content => content.unwrap_or_else(|| Value::Array(Vec::new())),
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

    /// Reads a call of a function or of a custom tool.
    fn call(
        &mut self,
        item: &mut Fields,
        at: &FieldPath,
        read: fn(CallFields, FieldPath) -> Result<ToolCall, MessageError>,
    ) -> Result<(), FieldError> {
        let namespace = item.string("namespace").map_err(|error| error.inside(at))?;
        let input = if item.has("input") { "input" } else { "arguments" };
        let mut field = |name: &str| (item.take(name), at.field(name));
        let call = CallFields { id: field("call_id"), name: field("name"), arguments: field(input) };
        let mut call = read(call, at.clone())?;
        call.name = self.names.for_model(namespace, call.name);
        self.turn(at, |_| true).message.calls.push(call);
        Ok(())
    }

    /// Reads an item of another kind. A call that the client ran, and its result, become a call and a result of a
    /// function; anything else is left out, and so is an item without an id.
    fn other(&mut self, kind: &str, id: Option<Value>, mut item: Fields, at: &FieldPath) {
        let (call, is_output) = kind.strip_suffix("_output").map_or((kind, false), |call| (call, true));
        let id = item.take("call_id").or(id);
        let (true, Some(Value::String(id))) = (CLIENT_CALLS.contains(&call), id) else {
            self.read.left_out.add(LeftOutPart::Item, kind, at);
            return;
        };
        if is_output {
            let text = match item.take("output") {
                Some(Value::String(text)) => text,
                other => other.unwrap_or(Value::Null).to_string(),
            };
            let mut message = Message::of_text(Role::Tool, text, at.clone());
            message.fields.insert(CALL_ID.to_owned(), id.into());
            self.add(message);
        } else {
            let action = item.take("action").or_else(|| item.take("operation"));
            let arguments = action.filter(Value::is_object).unwrap_or_else(|| Value::Object(Map::new()));
            let name = call.trim_end_matches("_call").to_owned();
            self.turn(at, |_| true).message.calls.push(ToolCall { id, name, arguments, at: at.clone() });
        }
    }

    fn output(&mut self, item: &mut Fields, at: &FieldPath) -> Result<(), FieldError> {
        let output_at = at.field("output");
        let text = |item: &mut Fields, name: &str| match item.take(name) {
            Some(other) if !other.is_string() => Err(MessageError::wrong_type(at.field(name), "a string", &other)),
            text => Ok(text),
        };
        let (name, id) = (text(item, "name")?, text(item, "call_id")?);
        let output = item.take("output").unwrap_or_else(|| Value::Array(Vec::new()));
        unread_in_parts(Some(&output), "input[].output[]", &mut |at, name| self.read.hidden.add_inside(at, name));
        let mut message = Message { content: read_content(output, &output_at)?, ..Message::new(Role::Tool, at.clone()) };
        message.fields.extend(id.map(|id| (CALL_ID.to_owned(), id)));
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
