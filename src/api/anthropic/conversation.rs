//! `system` and `messages`: Anthropic's blocks to the messages that chat knows.
//!
//! | block | becomes |
//! | --- | --- |
//! | `text` | the message's content; several are joined by a line break, as in chat |
//! | `tool_use` | a call of the assistant's message |
//! | `tool_result` | a message of the role `tool`, in its place between what stands before and after it |
//! | `thinking` | the message's `reasoning_content`; whether it is shown to the model is the template's choice |
//! | `redacted_thinking` | nothing, which is reported: only Anthropic can read it |
//!
//! Other blocks are refused by name. Messages of one role in a row are one message, as Anthropic says, so that templates
//! which want turns to alternate do not mind. A last message of the assistant is the beginning of the answer. Places are
//! written as Anthropic writes them: `messages.0.content.1`.

use super::tools::{self, object, string};
use crate::api::fields::{FieldError, Fields, ignored::Ignored};
use serde_json::{Map, Value, json};

/// What was said so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Conversation {
    turns: Vec<Turn>,
    /// Whether the answer continues the last message.
    pub(super) continues: bool,
    /// Places of what has no effect.
    pub(super) ignored: Ignored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    System,
    User,
    Assistant,
    Tool,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// A message as chat knows it.
#[derive(Debug, Clone, PartialEq)]
struct Turn {
    role: Role,
    texts: Vec<String>,
    thoughts: Vec<String>,
    calls: Vec<Value>,
    /// Of the call that a message of the role `tool` answers.
    call_id: Option<String>,
}

impl Conversation {
    /// Reads both fields.
    ///
    /// # Errors
    /// The first place at fault.
    pub(super) fn read(system: Option<Value>, messages: Value) -> Result<Self, FieldError> {
        let mut read = Self::default();
        if let Some(system) = system {
            let texts = read.texts(system, "system")?;
            if texts.iter().any(|text| !text.is_empty()) {
                read.turn(Role::System).texts = texts;
            }
        }
        let messages = match messages {
            Value::Array(messages) if !messages.is_empty() => messages,
            Value::Array(_) => return Err(FieldError::invalid("messages", "at least one message is required")),
            other => return Err(FieldError::wrong_type("messages", "an array of messages", &other)),
        };
        let last = messages.len() - 1;
        let mut role = Role::User;
        for (index, message) in messages.into_iter().enumerate() {
            role = read.message(message, &format!("messages.{index}"), index == last)?;
        }
        if role == Role::Assistant {
            read.settle_prefill()?;
        }
        Ok(read)
    }

    /// For chat's field `messages`.
    pub(super) fn into_messages(self) -> Vec<Value> {
        self.turns.into_iter().map(Turn::into_message).collect()
    }

    fn message(&mut self, message: Value, at: &str, is_last: bool) -> Result<Role, FieldError> {
        let mut message = object(message, at)?;
        let place = format!("{at}.role");
        let role = match string(&mut message, "role", at)?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(FieldError::invalid(&place, "expected 'user', 'assistant' or 'system'")),
        };
        let place = format!("{at}.content");
        match message.take("content") {
            Some(Value::String(text)) => self.turn(role).texts.push(text),
            // An empty last message of the assistant asks for an answer without a given beginning.
            Some(Value::Array(blocks)) if blocks.is_empty() && !(is_last && role == Role::Assistant) => {
                return Err(FieldError::invalid(&place, "at least one block is required"));
            }
            Some(Value::Array(blocks)) => {
                for (index, block) in blocks.into_iter().enumerate() {
                    self.block(role, block, &format!("{place}.{index}"))?;
                }
            }
            Some(other) => return Err(FieldError::wrong_type(&place, "a string or an array of blocks", &other)),
            None => return Err(FieldError::missing(place)),
        }
        self.report(message, at);
        Ok(role)
    }

    fn block(&mut self, role: Role, block: Value, at: &str) -> Result<(), FieldError> {
        let mut block = object(block, at)?;
        let kind = string(&mut block, "type", at)?;
        match (role, kind.as_str()) {
            (_, "text") => {
                let text = self.text(block, at)?;
                self.turn(role).texts.push(text);
                return Ok(());
            }
            (Role::Assistant, "tool_use") => {
                let id = string(&mut block, "id", at)?;
                let name = tools::name(&mut block, at)?;
                let input = block.object("input").map_err(|error| error.inside(at))?;
                let input = input.ok_or_else(|| FieldError::missing(format!("{at}.input")))?;
                let call = json!({"id": id, "type": "function", "function": {"name": name, "arguments": input}});
                self.turn(role).calls.push(call);
                // Who made the call, which only Anthropic's own tools ask.
                for name in ["caller", "toolset_name"] {
                    block.take(name);
                }
            }
            (Role::User, "tool_result") => self.result(&mut block, at)?,
            (Role::Assistant, "thinking") => {
                let thought = string(&mut block, "thinking", at)?;
                block.take("signature");
                self.turn(role).thoughts.push(thought);
            }
            (Role::Assistant, "redacted_thinking") => {
                block.take("data");
                self.ignored.add(at);
            }
            (_, "tool_use" | "thinking" | "redacted_thinking" | "tool_result") => {
                return Err(FieldError::invalid(at, format!("a message of role '{}' has no blocks of type '{kind}'", role.name())));
            }
            _ => return Err(not_text(&kind, at)),
        }
        block.take("cache_control");
        self.report(block, at);
        Ok(())
    }

    /// What a tool said.
    fn result(&mut self, block: &mut Fields, at: &str) -> Result<(), FieldError> {
        let call_id = string(block, "tool_use_id", at)?;
        let mut text = match block.take("content") {
            None => String::new(),
            Some(content) => self.texts(content, &format!("{at}.content"))?.join("\n"),
        };
        // Templates know no failed call, so the model is told in words, unless it is already.
        let failed = block.boolean("is_error").map_err(|error| error.inside(at))? == Some(true);
        if failed && !text.trim_start().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error")) {
            text.insert_str(0, "Error: ");
        }
        block.take("toolset_name");
        self.turns.push(Turn { texts: vec![text], call_id: Some(call_id), ..Turn::new(Role::Tool) });
        Ok(())
    }

    /// A string, or blocks that are all text.
    fn texts(&mut self, content: Value, at: &str) -> Result<Vec<String>, FieldError> {
        let blocks = match content {
            Value::String(text) => return Ok(vec![text]),
            Value::Array(blocks) => blocks,
            other => return Err(FieldError::wrong_type(at, "a string or an array of text blocks", &other)),
        };
        let mut texts = Vec::new();
        for (index, block) in blocks.into_iter().enumerate() {
            let at = format!("{at}.{index}");
            let mut block = object(block, &at)?;
            let kind = string(&mut block, "type", &at)?;
            if kind != "text" {
                return Err(not_text(&kind, &at));
            }
            texts.push(self.text(block, &at)?);
        }
        Ok(texts)
    }

    /// The rest of a text block.
    fn text(&mut self, mut block: Fields, at: &str) -> Result<String, FieldError> {
        let text = string(&mut block, "text", at)?;
        block.take("cache_control");
        if block.take("citations").is_some_and(|citations| citations != json!([])) {
            self.ignored.add_inside(at, "citations");
        }
        self.report(block, at);
        Ok(text)
    }

    /// The turn that a part of this role belongs to.
    fn turn(&mut self, role: Role) -> &mut Turn {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(Turn::new(role));
        }
        self.turns.last_mut().expect("one was pushed where there was none")
    }

    /// The last message is the assistant's: its text is the beginning of the answer.
    fn settle_prefill(&mut self) -> Result<(), FieldError> {
        let Some(turn) = self.turns.last().filter(|turn| turn.role == Role::Assistant) else { return Ok(()) };
        let has_text = turn.texts.iter().any(|text| !text.is_empty());
        if has_text && turn.calls.is_empty() {
            self.continues = true;
        } else if turn.calls.is_empty() && turn.thoughts.is_empty() {
            self.turns.pop();
        } else {
            let reason = "the last message is the assistant's and is to be continued, which only works with text and without 'tool_use'";
            return Err(FieldError::invalid("messages", reason));
        }
        Ok(())
    }

    fn report(&mut self, unread: Fields, at: &str) {
        self.ignored.extend_inside(at, &unread.finish());
    }
}

impl Turn {
    fn new(role: Role) -> Self {
        Self { role, texts: Vec::new(), thoughts: Vec::new(), calls: Vec::new(), call_id: None }
    }

    fn into_message(self) -> Value {
        let mut message = Map::new();
        message.insert("role".to_owned(), self.role.name().into());
        message.insert("content".to_owned(), self.texts.join("\n").into());
        if !self.thoughts.is_empty() {
            message.insert("reasoning_content".to_owned(), self.thoughts.join("\n").into());
        }
        if !self.calls.is_empty() {
            message.insert("tool_calls".to_owned(), self.calls.into());
        }
        message.extend(self.call_id.map(|id| ("tool_call_id".to_owned(), id.into())));
        Value::Object(message)
    }
}

fn not_text(kind: &str, at: &str) -> FieldError {
    let shown: String = kind.chars().take(64).collect();
    FieldError::invalid(at, format!("blocks of type '{shown}' are not supported here: the model reads text only"))
}
