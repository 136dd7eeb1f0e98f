//! A conversation as the readers of all routes build it, and its form in the dictionaries that chat templates take.
//!
//! Every message, part and call has its path in the request. Nothing is checked here: a reader does that, in its
//! route's words. The input of templates is made here, once: dictionaries as in Hugging Face's libraries, in the forms
//! that the template's abilities ask for.

use super::abilities::{Abilities, ArgumentsForm, ContentForm};
use crate::field_path::FieldPath;
use serde_json::{Map, Value, json};

/// The key of a message's calls in template input.
pub const TOOL_CALLS: &str = "tool_calls";
/// The key of the reasoning before a message in template input.
pub const REASONING: &str = "reasoning_content";
/// The key of the call's id in a tool's message in template input.
pub const CALL_ID: &str = "tool_call_id";

/// The messages so far, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The author's role.
    pub role: Role,
    /// The content, part by part; no parts mean the empty text.
    pub content: Vec<Part>,
    /// The calls that an assistant made.
    pub calls: Vec<ToolCall>,
    /// Other keys, in order: `reasoning_content`, `tool_call_id`, `name`, and keys that only a template may use.
    pub fields: Map<String, Value>,
    /// The path of the message in the request.
    pub at: FieldPath,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator of the application; also OpenAI's `developer`.
    System,
    /// The user of the application.
    User,
    /// The model, in its earlier answers.
    Assistant,
    /// A tool that the assistant has called.
    Tool,
}

/// A part of a message's content. The model reads text only; another medium would be another variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A text.
    Text {
        /// The text as it was sent.
        text: String,
        /// The path of the part in the request.
        at: FieldPath,
    },
}

/// A call that the assistant made.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The id by which a tool's result refers to the call.
    pub id: String,
    /// The name of the function.
    pub name: String,
    /// The arguments: an object, or a string if they are no JSON object, as when they were cut off.
    pub arguments: Value,
    /// The path of the call in the request.
    pub at: FieldPath,
}

impl Role {
    /// The role's name in template input.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

impl Part {
    /// The text of the part.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text { text, .. } => text,
        }
    }
}

impl Conversation {
    /// The messages in the form that a template with these abilities takes.
    #[must_use]
    pub fn for_template(&self, abilities: &Abilities) -> Vec<Value> {
        self.messages.iter().map(|message| message.for_template(abilities)).collect()
    }
}

impl Message {
    /// A message without content.
    #[must_use]
    pub fn new(role: Role, at: FieldPath) -> Self {
        Self { role, content: Vec::new(), calls: Vec::new(), fields: Map::new(), at }
    }

    /// A message of one text, which is the whole field at `at`.
    #[must_use]
    pub fn of_text(role: Role, text: String, at: FieldPath) -> Self {
        Self { content: vec![Part::Text { text, at: at.clone() }], ..Self::new(role, at) }
    }

    /// Adds reasoning that preceded the message; several texts are joined by a line break.
    pub fn add_thought(&mut self, thought: &str) {
        match self.fields.get_mut(REASONING) {
            Some(Value::String(thoughts)) => {
                thoughts.push('\n');
                thoughts.push_str(thought);
            }
            _ => {
                self.fields.insert(REASONING.to_owned(), thought.into());
            }
        }
    }

    /// The text of all parts, joined by a line break.
    pub(super) fn text(&self) -> String {
        joined(&self.content)
    }

    /// Adds a text to the end, parted by `separator` from the text so far, if there is any.
    pub(super) fn append(&mut self, separator: &str, text: &str) {
        match self.content.last_mut() {
            Some(Part::Text { text: last, .. }) => {
                last.push_str(if last.is_empty() { "" } else { separator });
                last.push_str(text);
            }
            None => self.content.push(Part::Text { text: text.to_owned(), at: self.at.clone() }),
        }
    }

    /// The keys, besides `role` and `content`, that a template finds in the message.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let calls = (!self.calls.is_empty()).then_some(TOOL_CALLS);
        calls.into_iter().chain(self.fields.keys().map(String::as_str))
    }

    /// The message in the form that a template with these abilities takes.
    fn for_template(&self, abilities: &Abilities) -> Value {
        let mut message = Map::from_iter([("role".to_owned(), Value::from(self.role.name()))]);
        let text_is_thought = abilities.thought_replaces_text && !self.calls.is_empty() && self.fields.contains_key(REASONING);
        let content = match content_form(abilities, self.role) {
            _ if text_is_thought => "".into(),
            _ if abilities.wants_no_content && !self.calls.is_empty() && self.content.is_empty() => Value::Null,
            form => content_in(form, &self.content),
        };
        message.insert("content".to_owned(), content);
        if !self.calls.is_empty() {
            message.insert(TOOL_CALLS.to_owned(), self.calls.iter().map(|call| call.for_template(abilities)).collect());
        }
        let thought_key = abilities.thought_key.unwrap_or(REASONING);
        for (key, value) in &self.fields {
            let (key, value) = match (key.as_str(), value) {
                (REASONING, Value::String(thought)) if text_is_thought && !self.content.is_empty() => {
                    (thought_key, format!("{thought}\n{}", joined(&self.content)).into())
                }
                (REASONING, thought) => (thought_key, thought.clone()),
                (CALL_ID, Value::String(id)) if abilities.wants_short_ids => (CALL_ID, short_id(id).into()),
                (key, value) => (key, value.clone()),
            };
            message.insert(key.to_owned(), value);
        }
        Value::Object(message)
    }
}

/// The form of the content of a message with this role.
fn content_form(abilities: &Abilities, role: Role) -> ContentForm {
    match role {
        Role::System => abilities.content.system,
        Role::User => abilities.content.user,
        Role::Assistant => abilities.content.assistant,
        Role::Tool => abilities.content.tool,
    }
}

/// The content of a message in the form that a template takes.
fn content_in(form: ContentForm, parts: &[Part]) -> Value {
    let part = |text: &str| json!({"type": "text", "text": text});
    match form {
        ContentForm::Either if parts.len() > 1 => parts.iter().map(|text| part(text.text())).collect(),
        ContentForm::Text | ContentForm::Either => joined(parts).into(),
        ContentForm::Parts if parts.is_empty() => json!([part("")]),
        ContentForm::Parts => parts.iter().map(|text| part(text.text())).collect(),
    }
}

/// The texts of parts, joined by a line break, as in vLLM.
fn joined(parts: &[Part]) -> String {
    parts.iter().map(Part::text).collect::<Vec<&str>>().join("\n")
}

impl ToolCall {
    fn for_template(&self, abilities: &Abilities) -> Value {
        let arguments = match (abilities.arguments, &self.arguments) {
            // The text is no JSON object, because it was cut off or the model made a mistake.
            (ArgumentsForm::Object, Value::String(text)) => json!({"arguments": text}),
            (ArgumentsForm::Text, arguments @ Value::Object(_)) => arguments.to_string().into(),
            (_, arguments) => arguments.clone(),
        };
        let id = if abilities.wants_short_ids { short_id(&self.id) } else { self.id.clone() };
        json!({"id": id, "type": "function", "function": {"name": self.name, "arguments": arguments}})
    }
}

/// The id of a call for templates that take only nine letters and digits: `id` itself if it is one, else nine of its
/// digest, so that equal ids stay equal in each turn. The digest is FNV-1a of 64 bits.
fn short_id(id: &str) -> String {
    const LENGTH: usize = 9;
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if id.len() == LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    let mut digest = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut digit = || {
        let digit = DIGITS[usize::try_from(digest % 62).unwrap_or_default()];
        digest /= 62;
        char::from(digit)
    };
    (0..LENGTH).map(|_| digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_sees_one_text_then_calls_then_other_keys_in_their_order() {
        let part = |text: &str| Part::Text { text: text.to_owned(), at: FieldPath::default() };
        let call = ToolCall { id: "1".to_owned(), name: "f".to_owned(), arguments: json!({"a": 1}), at: FieldPath::default() };
        let mut message = Message::new(Role::Assistant, "messages[1]".into());
        message.fields.insert("prefix".to_owned(), json!(true));
        message.add_thought("Hm.");
        message.add_thought("So.");
        message.content = vec![part("a"), part("b")];
        message.calls = vec![call];

        assert_eq!(message.keys().collect::<Vec<_>>(), ["tool_calls", "prefix", "reasoning_content"]);
        let seen = Conversation { messages: vec![message] }.for_template(&Abilities::default());
        let expected = r#"{"role":"assistant","content":"a\nb","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"a":1}}}],"prefix":true,"reasoning_content":"Hm.\nSo."}"#;
        assert_eq!(seen[0].to_string(), expected);
    }

    #[test]
    fn a_message_without_content_has_the_empty_text() {
        let seen = Conversation { messages: vec![Message::new(Role::User, FieldPath::default())] }.for_template(&Abilities::default());

        assert_eq!(seen, [json!({"role": "user", "content": ""})]);
    }
}
