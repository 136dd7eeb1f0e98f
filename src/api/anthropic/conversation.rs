//! `system` and `messages`: Anthropic's blocks, read into a conversation.
//!
//! | block | becomes |
//! | --- | --- |
//! | `text` | the message's content; several are joined by a line break |
//! | `tool_use` | a call of the assistant's message |
//! | `tool_result` | a message of the role `tool`, in its place between the blocks before and after it |
//! | `thinking` | the message's `reasoning_content`; the template decides whether the model sees it |
//! | `redacted_thinking` | nothing, which is reported: only Anthropic can read it |
//! | `document` of text, `search_result` | a text: the title, the context or the address, and the content |
//! | `tool_reference` | a text in the result of a tool that looks for tools |
//! | `tool_addition`, `tool_removal` | nothing, which is reported: every tool of a request is offered |
//!
//! Other blocks are refused by name in a user's newest turn, else replaced by a note. Messages of one role in
//! a row become one message, as Anthropic documents, so that templates which require alternating roles accept them. A
//! last message of the assistant is the beginning of the answer.

use super::tools::{object, string};
use crate::{
    api::{
        fields::{FieldError, Fields, ignored::Ignored},
        openai::shared::left_out::{LeftOut, LeftOutPart},
    },
    chat::{
        CALL_ID, Conversation, Message, Part, REASONING, Role, ToolCall,
        messages::{check_count, fill_call_ids, read_past_name},
    },
    field_path::{FieldPath, PathStyle},
};
use serde_json::{Value, json};

/// Blocks that are text.
const TEXT: &str = "text";
const DOCUMENT: &str = "document";
const SEARCH_RESULT: &str = "search_result";
/// Blocks of system turns that change the tools that may be called.
const TOOL_ADDITION: &str = "tool_addition";
const TOOL_REMOVAL: &str = "tool_removal";

/// True if the reader reads the block, or leaves it out and reports it, in a message of this role.
pub(super) fn is_read(role: &str, block: &Value) -> bool {
    let Some(kind) = block["type"].as_str() else { return true };
    match kind {
        DOCUMENT => is_text_document(block),
        SEARCH_RESULT => is_text(&block["content"]),
        TEXT | "tool_use" | "tool_result" | "thinking" | "redacted_thinking" | "tool_reference" => true,
        TOOL_ADDITION | TOOL_REMOVAL => role == "system",
        _ => role == "assistant",
    }
}

/// True for a document whose source is text and no file.
fn is_text_document(block: &Value) -> bool {
    let source = &block["source"];
    source["type"] == "text" || source["type"] == "content" && is_text(&source["content"])
}

/// True for the `content` of a source that is a string or has blocks of text alone.
fn is_text(content: &Value) -> bool {
    match content {
        Value::String(_) => true,
        Value::Array(blocks) => blocks.iter().all(|block| block["type"] == TEXT),
        _ => false,
    }
}

/// The messages so far, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct MessageTurns {
    /// At least one message; messages of one role in a row are one.
    pub(super) conversation: Conversation,
    /// True if the answer continues the last message.
    pub(super) continues: bool,
    /// Paths of the fields that have no effect.
    pub(super) ignored: Ignored,
    /// Blocks that are left out because of their type.
    pub(super) left_out: LeftOut,
}

impl MessageTurns {
    /// Reads both fields.
    ///
    /// # Errors
    /// The first place at fault.
    pub(super) fn read(system: Option<Value>, messages: Value) -> Result<Self, FieldError> {
        let mut read = Self::default();
        if let Some(system) = system {
            let at = FieldPath::from("system");
            let content = read.texts(Role::System, system, &at)?;
            if content.iter().any(|part| !part.text().is_empty()) {
                read.turn(Role::System, &at).content = content;
            }
        }
        let at = FieldPath::from("messages");
        let messages = match messages {
            Value::Array(messages) if !messages.is_empty() => messages,
            Value::Array(_) => return Err(FieldError::invalid(at, "at least one message is required")),
            other => return Err(FieldError::wrong_type(at, "an array of messages", &other)),
        };
        let mut role = Role::User;
        for (index, message) in messages.into_iter().enumerate() {
            role = read.message(message, &at.index(index))?;
        }
        if role == Role::Assistant {
            read.settle_prefill()?;
        }
        check_count(read.conversation.messages.len(), &at)?;
        read.join_texts();
        fill_call_ids(&mut read.conversation);
        Ok(read)
    }

    fn message(&mut self, message: Value, at: &FieldPath) -> Result<Role, FieldError> {
        let mut message = object(message, at)?;
        let role = match string(&mut message, "role", at)?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(FieldError::invalid(at.field("role"), "expected 'user', 'assistant' or 'system'")),
        };
        let place = at.field("content");
        match message.take("content") {
            Some(Value::String(text)) => self.turn(role, at).content.push(Part::Text { text, at: place }),
            Some(Value::Array(blocks)) => {
                // A message without blocks is an empty one.
                if blocks.is_empty() {
                    self.turn(role, at);
                }
                for (index, block) in blocks.into_iter().enumerate() {
                    self.block(role, block, place.index(index))?;
                }
            }
            Some(other) => return Err(FieldError::wrong_type(place, "a string or an array of blocks", &other)),
            None if role == Role::Assistant => {
                self.turn(role, at);
            }
            None => return Err(FieldError::missing(place)),
        }
        self.report(message, at);
        Ok(role)
    }

    fn block(&mut self, role: Role, block: Value, at: FieldPath) -> Result<(), FieldError> {
        let mut block = object(block, &at)?;
        let kind = string(&mut block, "type", &at)?;
        match (role, kind.as_str()) {
            (_, TEXT | DOCUMENT | SEARCH_RESULT) => {
                let text = self.text_of(&kind, block, &at)?;
                self.turn(role, &at).content.push(Part::Text { text, at });
                return Ok(());
            }
            (Role::Assistant, "tool_use") => {
                let id = block.string("id").map_err(|error| error.inside(&at))?.unwrap_or_default();
                let name = read_past_name(block.take("name"), &at.field("name"))?;
                let input = block.object("input").map_err(|error| error.inside(&at))?;
                let input = input.ok_or_else(|| FieldError::missing(at.field("input")))?;
                self.turn(role, &at).calls.push(ToolCall { id, name, arguments: Value::Object(input), at: at.clone() });
                // Both fields name the caller of a tool; only Anthropic's own tools use them.
                for name in ["caller", "toolset_name"] {
                    block.take(name);
                }
            }
            (Role::User, "tool_result") => self.result(&mut block, &at)?,
            (Role::Assistant, "thinking") => {
                let thought = string(&mut block, "thinking", &at)?;
                block.take("signature");
                self.turn(role, &at).add_thought(&thought);
            }
            (Role::Assistant, "redacted_thinking") => {
                block.take("data");
                self.ignored.add(&at.spelled(PathStyle::Dots));
            }
            (_, "tool_use" | "thinking" | "redacted_thinking" | "tool_result") => {
                return Err(FieldError::invalid(at, format!("a message of role '{}' has no blocks of type '{kind}'", role.name())));
            }
            // Calls and results of tools that another server ran, and changes of the tools that may be called.
            (Role::Assistant, _) | (Role::System, TOOL_ADDITION | TOOL_REMOVAL) => {
                self.left_out.add(LeftOutPart::Block, &kind, &at);
                return Ok(());
            }
            _ => return Err(not_text(&kind, at)),
        }
        block.take("cache_control");
        self.report(block, &at);
        Ok(())
    }

    /// Adds the message with the result of a tool.
    fn result(&mut self, block: &mut Fields, at: &FieldPath) -> Result<(), FieldError> {
        let call_id = block.string("tool_use_id").map_err(|error| error.inside(at))?;
        let content = block.take("content").map(|content| self.texts(Role::Tool, content, &at.field("content"))).transpose()?;
        let mut content = content.unwrap_or_default();
        // Templates have no field for a failed call, so the text states it, unless it does already.
        let failed = block.boolean("is_error").map_err(|error| error.inside(at))? == Some(true);
        if failed && !mentions_error(&content) {
            match content.first_mut() {
                Some(Part::Text { text, .. }) => text.insert_str(0, "Error: "),
                None => content.push(Part::Text { text: "Error: ".to_owned(), at: at.clone() }),
            }
        }
        block.take("toolset_name");
        let mut message = Message { content, ..Message::new(Role::Tool, at.clone()) };
        message.fields.extend(call_id.map(|id| (CALL_ID.to_owned(), id.into())));
        self.conversation.messages.push(message);
        Ok(())
    }

    /// Reads the content of a system prompt or of a tool's result: a string, or an array of blocks that become text.
    fn texts(&mut self, role: Role, content: Value, at: &FieldPath) -> Result<Vec<Part>, FieldError> {
        let blocks = match content {
            Value::String(text) => return Ok(vec![Part::Text { text, at: at.clone() }]),
            Value::Array(blocks) => blocks,
            other => return Err(FieldError::wrong_type(at, "a string or an array of text blocks", &other)),
        };
        let mut texts = Vec::new();
        for (index, block) in blocks.into_iter().enumerate() {
            let at = at.index(index);
            let mut block = object(block, &at)?;
            let kind = string(&mut block, "type", &at)?;
            let text = match (role, kind.as_str()) {
                (_, TEXT | DOCUMENT | SEARCH_RESULT) => self.text_of(&kind, block, &at)?,
                (Role::Tool, "tool_reference") => self.tool_reference(block, &at)?,
                (Role::System, TOOL_ADDITION | TOOL_REMOVAL) => {
                    self.left_out.add(LeftOutPart::Block, &kind, &at);
                    continue;
                }
                _ => return Err(not_text(&kind, at)),
            };
            texts.push(Part::Text { text, at });
        }
        Ok(texts)
    }

    /// Returns the text for a tool that Claude Code's search has found. All tools are offered, so the name is enough.
    fn tool_reference(&mut self, mut block: Fields, at: &FieldPath) -> Result<String, FieldError> {
        let name = string(&mut block, "tool_name", at)?;
        block.take("cache_control");
        self.report(block, at);
        Ok(format!("Tool {name} can be called now."))
    }

    /// Returns the text of a block of a type that is text, whose `type` was taken before.
    fn text_of(&mut self, kind: &str, block: Fields, at: &FieldPath) -> Result<String, FieldError> {
        match kind {
            DOCUMENT => self.document(block, at),
            SEARCH_RESULT => self.search_result(block, at),
            _ => self.text(block, at),
        }
    }

    /// Returns the title, the context and the text of a document. A source that is a file or an address is refused.
    fn document(&mut self, mut block: Fields, at: &FieldPath) -> Result<String, FieldError> {
        let inside = |error: FieldError| error.inside(at);
        let source_at = at.field("source");
        let mut texts =
            [block.string("title").map_err(inside)?, block.string("context").map_err(inside)?].map(Option::unwrap_or_default).to_vec();
        let mut source = Fields::new(block.object("source").map_err(inside)?.ok_or_else(|| FieldError::missing(&source_at))?);
        match string(&mut source, "type", &source_at)?.as_str() {
            "text" => {
                source.take("media_type");
                texts.push(string(&mut source, "data", &source_at)?);
            }
            "content" => texts.extend(self.inner_texts(&mut source, &source_at)?),
            _ => return Err(not_text(DOCUMENT, at.clone())),
        }
        block.leave("source", source);
        self.end_source(block, at);
        Ok(joined(texts))
    }

    /// Returns the title, the address and the text of a search result.
    fn search_result(&mut self, mut block: Fields, at: &FieldPath) -> Result<String, FieldError> {
        let mut text = |name| block.string(name).map_err(|error| error.inside(at)).map(Option::unwrap_or_default);
        let mut texts = vec![text("title")?, text("source")?];
        texts.extend(self.inner_texts(&mut block, at)?);
        self.end_source(block, at);
        Ok(joined(texts))
    }

    /// The texts of the required `content` of a source.
    fn inner_texts(&mut self, source: &mut Fields, at: &FieldPath) -> Result<Vec<String>, FieldError> {
        let at = at.field("content");
        let content = source.take("content").ok_or_else(|| FieldError::missing(&at))?;
        Ok(self.texts(Role::User, content, &at)?.into_iter().map(|Part::Text { text, .. }| text).collect())
    }

    /// Reports the fields of a document or a search result that have no effect. The answer cites nothing.
    fn end_source(&mut self, mut block: Fields, at: &FieldPath) {
        block.take("cache_control");
        if block.take("citations").is_some_and(|citations| citations["enabled"] == true) {
            self.ignored.add_inside(&at.spelled(PathStyle::Dots), "citations");
        }
        self.report(block, at);
    }

    /// Returns the text of a text block, whose `type` was taken before.
    fn text(&mut self, mut block: Fields, at: &FieldPath) -> Result<String, FieldError> {
        let text = string(&mut block, "text", at)?;
        block.take("cache_control");
        if block.take("citations").is_some_and(|citations| citations != json!([])) {
            self.ignored.add_inside(&at.spelled(PathStyle::Dots), "citations");
        }
        self.report(block, at);
        Ok(text)
    }

    /// The last message if it has this role, else a new one, whose place is `at`.
    fn turn(&mut self, role: Role, at: &FieldPath) -> &mut Message {
        let messages = &mut self.conversation.messages;
        if messages.last().is_none_or(|message| message.role != role) {
            messages.push(Message::new(role, at.clone()));
        }
        messages.last_mut().expect("one was pushed where there was none")
    }

    /// Settles a last message of the assistant: its text is the beginning of the answer; an empty one is removed.
    fn settle_prefill(&mut self) -> Result<(), FieldError> {
        let messages = &mut self.conversation.messages;
        let Some(last) = messages.last().filter(|message| message.role == Role::Assistant) else { return Ok(()) };
        let has_text = last.content.iter().any(|part| !part.text().is_empty());
        if has_text && last.calls.is_empty() {
            self.continues = true;
        } else if last.calls.is_empty() && !last.fields.contains_key(REASONING) {
            messages.pop();
        } else {
            let reason = "the last message is the assistant's and is to be continued, which only works with text and without 'tool_use'";
            return Err(FieldError::invalid("messages", reason));
        }
        Ok(())
    }

    /// Joins the texts of each message by a line break. A template that takes lists of texts would put them together
    /// without one, and they may come from several messages.
    fn join_texts(&mut self) {
        for message in self.conversation.messages.iter_mut().filter(|message| message.content.len() > 1) {
            let text = message.content.iter().map(Part::text).collect::<Vec<&str>>().join("\n");
            message.content = vec![Part::Text { text, at: message.at.clone() }];
        }
    }

    fn report(&mut self, unread: Fields, at: &FieldPath) {
        let unread = unread.finish();
        if !unread.is_empty() {
            self.ignored.extend_inside(&at.spelled(PathStyle::Dots), &unread);
        }
    }
}

/// The texts that are not empty, each on lines of its own.
fn joined(texts: Vec<String>) -> String {
    texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<String>>().join("\n")
}

/// True if a tool's text begins with the word `error`.
fn mentions_error(content: &[Part]) -> bool {
    let text = content.iter().map(Part::text).collect::<Vec<_>>().join("\n");
    text.trim_start().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"))
}

fn not_text(kind: &str, at: FieldPath) -> FieldError {
    let shown: String = kind.chars().take(64).collect();
    FieldError::invalid(at, format!("blocks of type '{shown}' are not supported here: the model reads text only"))
}
