//! Tools for a model whose template shows none: the system turn describes them, and calls and their results are texts
//! of turns.
//!
//! The format of a call is that of Hermes and Qwen, `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, which many
//! models have seen; [`ToolFormat::Json`](super::output::ToolFormat::Json) reads it. All texts count as words of a
//! user, so that no tag becomes a control token. Takes time linear in the conversation and the tools.

use super::{
    conversation::{CALL_ID, Conversation, Message, Role, ToolCall},
    output::Calls,
    template::ChatTemplate,
};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The parts of a request that become text because the template does not show them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GenericTools {
    /// The tools are described in the system turn.
    pub tools: bool,
    /// Calls and their results are texts of the assistant's and of users' turns.
    pub calls: bool,
}

/// The tools of a request, and the rule for calling them.
#[derive(Debug, Clone)]
pub struct OfferedTools {
    /// The tools in OpenAI's form.
    pub tools: Vec<Value>,
    /// The rule for calling them.
    pub calls: Calls,
    /// True if more than one call counts.
    pub parallel: bool,
    /// True if the answer is the input of the tool that must be called, a text under a grammar, and no JSON.
    pub is_text_alone: bool,
}

impl GenericTools {
    /// The parts that `template` does not show. If it shows no tools, calls are texts as well, so that the model sees
    /// one format.
    #[must_use]
    pub fn of(template: &ChatTemplate, has_tools: bool, conversation: &Conversation) -> Self {
        let abilities = template.abilities();
        let tools = has_tools && !abilities.shows_tools;
        let has_calls = || conversation.messages.iter().any(|message| message.role == Role::Tool || !message.calls.is_empty());
        Self { tools, calls: (tools || !abilities.shows_calls) && has_calls() }
    }

    /// The change in words, in visible ASCII and without a semicolon; `None` if nothing is changed.
    #[must_use]
    pub fn text(self) -> Option<&'static str> {
        match (self.tools, self.calls) {
            (true, _) => Some("tools are described in the system turn, in a generic format: the model's chat template shows none"),
            (false, true) => Some("calls and their results are written as text: the model's chat template shows none"),
            (false, false) => None,
        }
    }

    /// Writes these parts as text.
    pub fn write(self, conversation: &mut Conversation, offered: &OfferedTools) {
        if self.calls {
            write_calls(conversation);
        }
        if self.tools {
            describe(conversation, &offered.instruction());
        }
    }
}

impl OfferedTools {
    /// The part of the system turn that describes the tools and the format of calls. A constraint may prescribe another
    /// format for a call that must be made, which is then the one described.
    fn instruction(&self) -> String {
        let functions: Vec<String> = self.tools.iter().map(|tool| tool["function"].to_string()).collect();
        let rule = match &self.calls {
            Calls::Required => {
                // The constraint puts calls into a list. Shown the list, small models repeat calls without end.
                let call = "{\"name\": \"<function>\", \"parameters\": {<arguments>}}";
                format!("Answer only with the calls that are needed. A call is {call}.")
            }
            Calls::Named(name) if self.is_text_alone => format!("Answer only with the input of {name}."),
            Calls::Named(name) => format!("Answer only with the JSON object of the arguments of {name}."),
            Calls::Auto | Calls::None => {
                let each = if self.parallel { ", once for each call" } else { ", with one call" };
                format!(
                    "To call a function, answer only with its name and its arguments as JSON within these tags{each}:\n\
                     <tool_call>\n{{\"name\": \"<function>\", \"arguments\": {{<arguments>}}}}\n</tool_call>\n\
                     The result then follows within <tool_response> tags. If no function helps, answer without a call."
                )
            }
        };
        format!("You can call these functions:\n{}\n\n{rule}", functions.join("\n"))
    }
}

/// Adds a text to the first system message, or begins the conversation with one.
fn describe(conversation: &mut Conversation, text: &str) {
    match conversation.messages.first_mut() {
        Some(first) if first.role == Role::System => first.append("\n\n", text),
        Some(first) => {
            let at = first.at.clone();
            conversation.messages.insert(0, Message::of_text(Role::System, text.to_owned(), at));
        }
        None => {}
    }
}

/// Turns calls into texts of their messages, and the results after them into turns of users.
fn write_calls(conversation: &mut Conversation) {
    let mut written = Written { messages: Vec::with_capacity(conversation.messages.len()), ..Written::default() };
    for message in std::mem::take(&mut conversation.messages) {
        written.add(message);
    }
    written.end_results(None);
    conversation.messages = written.messages;
}

/// The conversation so far, with calls as texts.
#[derive(Default)]
struct Written {
    messages: Vec<Message>,
    /// The place and the function of each call of the last turn, by the call's id.
    calls: HashMap<String, (usize, String)>,
    /// The results since then, each with the place of its call.
    results: Vec<(usize, Message)>,
}

impl Written {
    fn add(&mut self, mut message: Message) {
        match message.role {
            Role::Tool => {
                let id = message.fields.get(CALL_ID).and_then(Value::as_str).unwrap_or_default();
                let (place, name) = self.calls.get(id).map_or((usize::MAX, ""), |(place, name)| (*place, name));
                let text = result(name, &message);
                self.results.push((place, Message::of_text(Role::User, text, message.at)));
            }
            Role::User => self.end_results(Some(message)),
            Role::System | Role::Assistant => {
                self.end_results(None);
                let calls = std::mem::take(&mut message.calls);
                if !calls.is_empty() {
                    let texts: Vec<String> = calls.iter().map(call).collect();
                    message.append("\n", &texts.join("\n"));
                    self.calls = calls.into_iter().enumerate().map(|(place, call)| (call.id, (place, call.name))).collect();
                }
                self.messages.push(message);
            }
        }
    }

    /// Puts the results, in the order of their calls, into the user's turn that follows, or into one of their own.
    fn end_results(&mut self, user: Option<Message>) {
        let mut results = std::mem::take(&mut self.results);
        results.sort_by_key(|(place, _)| *place);
        let mut turns = results.into_iter().map(|(_, result)| result).chain(user);
        let Some(mut turn) = turns.next() else { return };
        for next in turns {
            turn.append("\n", &next.text());
            turn.fields.extend(next.fields);
        }
        self.messages.push(turn);
    }
}

fn call(call: &ToolCall) -> String {
    // Neither the name nor an argument may end the call; JSON may escape a slash.
    let text = json!({"name": call.name, "arguments": call.arguments}).to_string().replace("</tool_call", "<\\/tool_call");
    format!("<tool_call>\n{text}\n</tool_call>")
}

fn result(name: &str, message: &Message) -> String {
    // The words of a tool must not end its result and go on as the user's.
    let inside = |text: &str| text.replace("</tool_response", "<\\/tool_response");
    let text = inside(&message.text());
    // A name of the history may have any characters.
    let name = if name.is_empty() { String::new() } else { format!(" name={}", inside(&json!(name).to_string())) };
    format!("<tool_response{name}>\n{text}\n</tool_response>")
}

#[cfg(test)]
mod tests;
