//! The parts that fill the prompt of a conversation, each in tokens: system messages, tools, history, newest turn.
//!
//! A part is measured by a prompt that lacks its words: the tokens that are missing there are the part's. So it holds
//! for any template, which may move, change or leave out what it is given. What remains, the marks around messages and
//! the template's own words, is `template`.

use crate::{
    api::{
        call::Call,
        openai::chat::{self, PreparedChat, request::ChatRequest},
    },
    chat::{CALL_ID, Message, Role, messages::Tools, output::Calls},
};
use serde::Serialize;
use serde_json::{Map, Value};

/// The tokens of each part; `null` if the template refuses a conversation without the part's words.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct PromptParts {
    system: Option<u64>,
    tools: Option<u64>,
    /// Messages, calls and results before the newest turn.
    history: Option<u64>,
    /// All that users and tools said since the last answer, and an answer after it that is to be continued.
    newest_turn: Option<u64>,
    template: Option<u64>,
}

/// A part that consists of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessagePart {
    System,
    History,
    NewestTurn,
}

/// Measures the parts of a prompt of `total` tokens that was prepared from `sent`.
pub(super) async fn measure(call: &Call, prepared: &PreparedChat, sent: ChatRequest, total: u64) -> PromptParts {
    let sent = ChatRequest { calls: prepared.output.calls.clone(), ..sent };
    let without = async |lacking: ChatRequest| {
        // A template may refuse what lacks a part; the client then sees that the number is unknown.
        let tokens = chat::count(call, &prepared.model, &prepared.info, lacking).await.ok()?;
        Some(total.saturating_sub(u64::try_from(tokens).unwrap_or(u64::MAX)))
    };
    let newest = newest_turn(&sent.conversation.messages);
    let messages = async |part: MessagePart| {
        let mut lacking = sent.clone();
        let mut is_there = false;
        for (index, message) in lacking.conversation.messages.iter_mut().enumerate() {
            if part_of(message, index, newest) == part {
                is_there = true;
                silence(message);
            }
        }
        if is_there { without(lacking).await } else { Some(0) }
    };
    let tools = match sent.calls {
        Calls::None => Some(0),
        _ => without(ChatRequest { tools: Tools::default(), calls: Calls::None, ..sent.clone() }).await,
    };
    let [system, history, newest_turn] =
        [messages(MessagePart::System).await, messages(MessagePart::History).await, messages(MessagePart::NewestTurn).await];
    let known = [system, tools, history, newest_turn].into_iter().sum::<Option<u64>>();
    PromptParts { system, tools, history, newest_turn, template: known.map(|known| total.saturating_sub(known)) }
}

/// The index of the first message of the newest turn.
fn newest_turn(messages: &[Message]) -> usize {
    let is_asked = |message: &Message| matches!(message.role, Role::User | Role::Tool);
    let Some(last) = messages.iter().rposition(is_asked) else { return messages.len() };
    messages[..last].iter().rposition(|message| message.role == Role::Assistant).map_or(0, |answer| answer + 1)
}

fn part_of(message: &Message, index: usize, newest: usize) -> MessagePart {
    match message.role {
        Role::System => MessagePart::System,
        _ if index < newest => MessagePart::History,
        _ => MessagePart::NewestTurn,
    }
}

/// Removes the words of a message. Its calls stay, because a template may refuse results without calls.
fn silence(message: &mut Message) {
    message.content.clear();
    message.calls.iter_mut().for_each(|call| call.arguments = Value::Object(Map::new()));
    message.fields.retain(|key, _| key == CALL_ID || key == "name");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::messages::read_messages;
    use serde_json::json;

    #[test]
    fn the_newest_turn_is_all_that_was_said_since_the_last_answer() {
        let call = json!([{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
        let messages = read_messages(json!([
            {"role": "system", "content": "s"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": null, "tool_calls": call},
            {"role": "tool", "tool_call_id": "1", "content": "r"},
            {"role": "system", "content": "t"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "c"},
        ]));
        let messages = messages.unwrap().messages;
        let parts = |upto: usize| -> String {
            let newest = newest_turn(&messages[..upto]);
            let letter = |(index, message): (usize, &Message)| match part_of(message, index, newest) {
                MessagePart::System => 's',
                MessagePart::History => 'h',
                MessagePart::NewestTurn => 'n',
            };
            messages[..upto].iter().enumerate().map(letter).collect()
        };

        assert_eq!(parts(2), "sn");
        assert_eq!(parts(4), "shhn");
        assert_eq!(parts(7), "shhnsnn");
    }
}
