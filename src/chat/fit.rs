//! Renders a conversation in the form that the template takes: folded system messages, whole tools, one call in a turn,
//! keys and ids that the template knows.
//!
//! The abilities of the template decide the form. A template that refuses it still, because of the places of later
//! system messages, gets the conversation once more with all of them in user turns.

use super::{
    abilities::{SystemMessages, ToolNeeds},
    conversation::{Conversation, Role},
    fold::{Folding, UserTurn, fold},
    rendering::{ChatInput, RenderedPrompt, TemplateError},
    single_calls::part_calls,
    template::ChatTemplate,
};
use serde_json::{Map, Value, json};

/// A prompt, and the changes of the conversation that a client should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FittedPrompt {
    /// The prompt.
    pub prompt: RenderedPrompt,
    /// The changes to system messages.
    pub folding: Option<Folding>,
    /// True if calls of one turn were put into turns of their own.
    pub single_calls: bool,
}

impl ChatTemplate {
    /// Renders `conversation`, with the other variables of `input`, whose messages are not used.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_conversation(&self, mut conversation: Conversation, mut input: ChatInput) -> Result<FittedPrompt, TemplateError> {
        let single_calls = self.abilities().wants_single_calls && part_calls(&mut conversation);
        for tool in input.tools.iter_mut().flatten() {
            complete(tool, self.abilities().tools);
        }
        let mut attempt = |taken: SystemMessages, turn: UserTurn| {
            let mut folded = conversation.clone();
            let folding = fold(&mut folded, taken, turn);
            input.messages = folded.for_template(self.abilities());
            (self.render(&input).map(|prompt| FittedPrompt { prompt, folding, single_calls }), folding)
        };
        let (fitted, folding) = attempt(self.abilities().system, UserTurn::Beside);
        let has_system = conversation.messages.iter().any(|message| message.role == Role::System);
        if matches!(fitted, Err(TemplateError::Raised(_) | TemplateError::Failed(_))) && has_system {
            let later = if folding.is_some_and(|folding| folding.later) { self.abilities().system } else { SystemMessages::Nowhere };
            return attempt(later, UserTurn::Nearest).0.or(fitted);
        }
        fitted
    }
}

/// Adds to a tool what the template cannot do without.
fn complete(tool: &mut Value, needs: ToolNeeds) {
    let Some(Value::Object(function)) = tool.get_mut("function") else { return };
    let absent = |fields: &Map<String, Value>, key: &str| !fields.contains_key(key);
    if needs.description && absent(function, "description") {
        function.insert("description".to_owned(), "".into());
    }
    if needs.parameters && absent(function, "parameters") {
        function.insert("parameters".to_owned(), json!({"type": "object", "properties": {}}));
    }
    let Some(Value::Object(parameters)) = function.get_mut("parameters") else { return };
    if needs.properties && absent(parameters, "properties") {
        parameters.insert("properties".to_owned(), json!({}));
    }
    if let (true, Some(Value::Object(properties))) = (needs.property_descriptions, parameters.get_mut("properties")) {
        for property in properties.values_mut().filter_map(Value::as_object_mut).filter(|property| absent(property, "description")) {
            property.insert("description".to_owned(), "".into());
        }
    }
}
