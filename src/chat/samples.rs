//! Finds out a chat template's abilities by rendering samples, once for each template.
//!
//! Owns the samples. Knows of the template only its prompts and the names that it mentions.

use super::{
    abilities::{Abilities, ArgumentsForm, ContentForm, ContentForms, SystemMessages, ToolNeeds},
    conversation::{CALL_ID, REASONING, Role, TOOL_CALLS},
    mentions::Mentions,
    rendering::ChatInput,
};
use serde_json::{Value, json};

/// The keys of a message under which templates look for the reasoning before it, the commonest first.
const THOUGHT_KEYS: [&str; 4] = [REASONING, "thinking", "reasoning", "thought"];
/// Two texts that no template contains.
const ONE: &str = "llamero-sample-1";
const TWO: &str = "llamero-sample-2";
/// Two ids of calls that every template takes, and one as OpenAI makes them.
const SHORT_ID: &str = "abcdefghi";
const OTHER_ID: &str = "ihgfedcba";
const LONG_ID: &str = "call_abcdefghijklmnopqrstuvwx";

/// Renders samples by one template. Takes some milliseconds.
pub(super) struct Samples<'a> {
    /// The prompt for an input; `None` if the template refuses it.
    pub(super) render: &'a dyn Fn(&ChatInput) -> Option<String>,
    /// The names that the template mentions.
    pub(super) mentions: &'a Mentions,
}

impl Samples<'_> {
    /// The abilities of the template.
    pub(super) fn abilities(&self) -> Abilities {
        let Some(user) = self.content(Role::User) else { return Abilities::default() };
        let content = |role| self.content(role).unwrap_or_default();
        let thoughts = self.thoughts();
        let calls_form = self.calls();
        let (wants_no_content, arguments) = calls_form.unwrap_or((false, ArgumentsForm::Any));
        let tool_content = self.content(Role::Tool);
        Abilities {
            content: ContentForms {
                system: content(Role::System),
                user,
                assistant: content(Role::Assistant),
                tool: tool_content.unwrap_or_default(),
            },
            system: self.system(),
            shows_tools: self.shows_tools(),
            shows_calls: calls_form.is_some() && tool_content.is_some(),
            shows_thoughts: thoughts.is_some(),
            wants_single_calls: self.wants_single_calls(),
            thought_key: thoughts.and_then(|(key, _)| (key != REASONING).then_some(key)),
            thought_replaces_text: thoughts.is_some_and(|(_, replaces_text)| replaces_text),
            wants_short_ids: self.only_second(&calls(LONG_ID, &json!({})), &calls(SHORT_ID, &json!({}))),
            wants_no_content,
            arguments,
            tools: self.tools(),
        }
    }

    fn render(&self, messages: &Value, tool: Option<Value>) -> Option<String> {
        let messages = messages.as_array().cloned().unwrap_or_default();
        let tools = tool.map(|function| vec![json!({"type": "function", "function": function})]);
        let input = ChatInput { messages, tools, add_generation_prompt: true, ..ChatInput::default() };
        (self.render)(&input)
    }

    /// True if a conversation without tools is rendered with all of these texts.
    fn shows(&self, messages: &Value, texts: &[&str]) -> bool {
        self.render(messages, None).is_some_and(|rendered| texts.iter().all(|text| rendered.contains(text)))
    }

    /// True if of two conversations with a tool only the second one is rendered.
    fn only_second(&self, first: &Value, second: &Value) -> bool {
        self.render(first, Some(tool())).is_none() && self.render(second, Some(tool())).is_some()
    }

    /// The form of the content of messages with this role; `None` if the template shows none. A list counts only if it
    /// is shown also where the template knows of tools, unless a text is not shown there either.
    fn content(&self, role: Role) -> Option<ContentForm> {
        let part = |text: &str| json!({"type": "text", "text": text});
        let (text, list) = (json!(format!("{ONE} {TWO}")), json!([part(ONE), part(TWO)]));
        let shown = |content: &Value, tool: Option<Value>, calling: bool| {
            let rendered = self.render(&with_content(role, content, calling), tool);
            rendered.is_some_and(|rendered| shows_both(&rendered))
        };
        let alone = |content: &Value| shown(content, (role == Role::Tool).then(tool), false);
        let beside_tools = |calling: bool| shown(&list, Some(tool()), calling) || !shown(&text, Some(tool()), calling);
        let takes_list = alone(&list) && beside_tools(false) && (role != Role::Assistant || beside_tools(true));
        match (alone(&text), takes_list) {
            (true, true) => Some(ContentForm::Either),
            (true, false) => Some(ContentForm::Text),
            (false, true) => Some(ContentForm::Parts),
            (false, false) => None,
        }
    }

    fn system(&self) -> SystemMessages {
        let system = |text: &str| json!({"role": "system", "content": text});
        let answer = json!({"role": "assistant", "content": "b"});
        let one = json!([system(ONE), user(TWO)]);
        let several = json!([system(ONE), system(TWO), user("a")]);
        let later = json!([system(ONE), user("a"), answer, system(TWO), user("c")]);
        let last = json!([user("a"), answer, user(ONE), system(TWO)]);
        let both = [ONE, TWO];
        if !self.shows(&one, &both) {
            SystemMessages::Nowhere
        } else if !self.shows(&several, &both) {
            SystemMessages::One
        } else if !self.shows(&later, &both) || !self.shows(&last, &both) {
            SystemMessages::Several
        } else {
            SystemMessages::Everywhere
        }
    }

    /// True if the name of a tool is in the prompt. Of a template that renders no tool, its source decides.
    fn shows_tools(&self) -> bool {
        let mut named = tool();
        named["name"] = ONE.into();
        let rendered = self.render(&json!([user("a")]), Some(named));
        rendered.map_or_else(|| self.mentions.contains("tools"), |rendered| rendered.contains(ONE))
    }

    /// True if two calls are shown in two messages, and not in one.
    fn wants_single_calls(&self) -> bool {
        let shown = |messages: &Value| {
            let rendered = self.render(messages, Some(tool()));
            rendered.is_some_and(|rendered| rendered.contains(ONE) && rendered.contains(TWO))
        };
        let (one, two) = (calls(SHORT_ID, &json!({"a": ONE})), calls(OTHER_ID, &json!({"a": TWO})));
        let mut calling = one[1].clone();
        calling[TOOL_CALLS] = json!([one[1][TOOL_CALLS][0], two[1][TOOL_CALLS][0]]);
        let both = json!([one[0], calling, one[2], two[2]]);
        let apart = json!([one[0], one[1], one[2], two[1], two[2]]);
        !shown(&both) && shown(&apart)
    }

    /// The key of thoughts, and true if a thought beside calls excludes a text. `None` if no thought is shown.
    fn thoughts(&self) -> Option<(&'static str, bool)> {
        let before_calls = |key: &str, text: &str| {
            let mut messages = calls(SHORT_ID, &json!({}));
            messages[1]["content"] = text.into();
            messages[1][key] = ONE.into();
            self.render(&messages, Some(tool()))
        };
        for key in THOUGHT_KEYS.into_iter().filter(|key| self.mentions.contains(key)) {
            if before_calls(key, "").is_some_and(|rendered| rendered.contains(ONE)) {
                return Some((key, before_calls(key, TWO).is_none()));
            }
            let answer = json!([user("a"), {"role": "assistant", "content": "b", key: ONE}, user("c")]);
            if self.shows(&answer, &[ONE]) {
                return Some((key, false));
            }
        }
        None
    }

    /// True if a message with calls must have no content, and the form of arguments: the first forms that are shown,
    /// and of two that are the shorter one, since a template may print `null` as a word, or a message that is not
    /// there. `None` if calls are shown in no form.
    fn calls(&self) -> Option<(bool, ArgumentsForm)> {
        let shown = |content: Value, arguments: &Value| {
            let mut messages = calls(SHORT_ID, arguments);
            messages[1]["content"] = content;
            self.render(&messages, Some(tool())).filter(|rendered| rendered.contains(ONE)).map(|rendered| rendered.len())
        };
        let object = json!({"a": ONE});
        let texts = [(object.clone(), ArgumentsForm::Any), (object.to_string().into(), ArgumentsForm::Text)];
        for (arguments, form) in texts {
            let wants_no_content = match (shown("".into(), &arguments), shown(Value::Null, &arguments)) {
                (Some(empty), Some(none)) => none < empty,
                (empty, none) if empty.is_some() || none.is_some() => none.is_some(),
                _ => continue,
            };
            let cut = calls(SHORT_ID, &json!("{\"a\": "));
            let wants_object = form == ArgumentsForm::Any && self.only_second(&cut, &calls(SHORT_ID, &object));
            return Some((wants_no_content, if wants_object { ArgumentsForm::Object } else { form }));
        }
        None
    }

    fn tools(&self) -> ToolNeeds {
        let whole = tool();
        let without = |path: &[&str]| {
            let mut function = whole.clone();
            let (last, outer) = path.split_last().unwrap_or((&"", &[]));
            let inner = outer.iter().try_fold(&mut function, |value, key| value.get_mut(*key));
            if let Some(Value::Object(fields)) = inner {
                fields.shift_remove(*last);
            }
            self.render(&json!([user("a")]), Some(function)).is_none()
        };
        if without(&[]) {
            return ToolNeeds::default();
        }
        ToolNeeds {
            description: without(&["description"]),
            parameters: without(&["parameters"]),
            properties: without(&["parameters", "properties"]),
            property_descriptions: without(&["parameters", "properties", "a", "description"]),
        }
    }
}

/// True if a prompt shows both parts of a content. A template that does not know parts may print the list itself, and
/// so a part's key between them.
fn shows_both(rendered: &str) -> bool {
    let between = rendered.split_once(ONE).and_then(|(_, after)| after.split_once(TWO));
    between.is_some_and(|(between, _)| !between.contains("text"))
}

/// A conversation with this content in a message of this role; if `calling`, the assistant's message makes a call.
fn with_content(role: Role, content: &Value, calling: bool) -> Value {
    let message = json!({"role": role.name(), "content": content});
    let place = match role {
        Role::System => return json!([message, user("x")]),
        Role::User => return json!([message]),
        Role::Assistant if !calling => return json!([user("x"), message, user("y")]),
        Role::Assistant => 1,
        Role::Tool => 2,
    };
    let mut messages = calls(SHORT_ID, &json!({}));
    messages[place]["content"] = content.clone();
    messages
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn tool() -> Value {
    let property = json!({"type": "integer", "description": "d"});
    let parameters = json!({"type": "object", "properties": {"a": property}, "required": []});
    json!({"name": "f", "description": "d", "parameters": parameters})
}

/// A conversation with a call and its result.
fn calls(id: &str, arguments: &Value) -> Value {
    let call = json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    json!([
        user("a"),
        {"role": "assistant", "content": "", TOOL_CALLS: [call]},
        {"role": "tool", "name": "f", CALL_ID: id, "content": "c"},
    ])
}

#[cfg(test)]
mod tests;
