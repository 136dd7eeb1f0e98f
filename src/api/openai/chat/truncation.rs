//! The oldest turns of a conversation, which are left out if it does not fit and the request allows that.
//!
//! Whole turns leave, from what a user says to the last answer before the next one, because templates refuse an answer
//! without a question. System messages and the newest turn stay.

use crate::chat::{CALL_ID, Conversation, Message, Role};
use std::collections::HashSet;

/// The indices of the messages with which a shorter conversation can begin, rising: each turn but the first.
pub(super) fn later_turns(conversation: &Conversation) -> Vec<usize> {
    let mut said = conversation.messages.iter().enumerate().filter(|(_, message)| message.role != Role::System);
    let mut before = said.next().map(|(_, first)| first.role);
    let mut turns = Vec::new();
    for (index, message) in said {
        // Several messages of a user are one turn.
        if message.role == Role::User && before != Some(Role::User) {
            turns.push(index);
        }
        before = Some(message.role);
    }
    turns
}

/// A copy of the conversation without the messages before `begin` that are no system messages, and without later
/// results of calls that are left out. Returns the number of messages that are left out, too.
pub(super) fn beginning_at(conversation: &Conversation, begin: usize) -> (Conversation, usize) {
    let leaves = |index: usize, message: &Message| index < begin && message.role != Role::System;
    // Clients may number the calls of each turn anew.
    let (mut gone, mut kept) = (HashSet::new(), HashSet::new());
    for (index, message) in conversation.messages.iter().enumerate() {
        let ids = if leaves(index, message) { &mut gone } else { &mut kept };
        ids.extend(message.calls.iter().map(|call| call.id.clone()));
    }
    let is_result = |message: &Message| {
        let call = message.fields.get(CALL_ID).and_then(|id| id.as_str());
        message.role == Role::Tool && call.is_some_and(|call| gone.contains(call) && !kept.contains(call))
    };
    let kept = conversation.messages.iter().enumerate().filter(|(index, message)| !leaves(*index, message) && !is_result(message));
    let messages: Vec<Message> = kept.map(|(_, message)| message.clone()).collect();
    let left_out = conversation.messages.len() - messages.len();
    (Conversation { messages }, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ToolCall;
    use crate::field_path::FieldPath;
    use serde_json::json;

    /// A conversation of the roles with these letters; `c` is a call of the assistant's, and `t` its result.
    fn conversation(letters: &str) -> Conversation {
        let message = |letter| {
            let role = match letter {
                's' => Role::System,
                'u' => Role::User,
                't' => Role::Tool,
                _ => Role::Assistant,
            };
            let mut message = Message::of_text(role, letter.to_string(), FieldPath::default());
            if letter == 'c' {
                message.calls = vec![ToolCall { id: "1".to_owned(), name: "f".to_owned(), arguments: json!({}), at: FieldPath::default() }];
            }
            if letter == 't' {
                message.fields.insert(CALL_ID.to_owned(), json!("1"));
            }
            message
        };
        Conversation { messages: letters.chars().map(message).collect() }
    }

    #[test]
    fn a_shorter_conversation_begins_with_what_a_user_says() {
        for (letters, turns) in [
            ("u", vec![]),
            ("", vec![]),
            ("sua", vec![]),
            ("suau", vec![3]),
            ("suuauuctau", vec![4, 9]),
            ("usuau", vec![4]),
            ("auau", vec![1, 3]),
            ("uctctct", vec![]),
        ] {
            assert_eq!(later_turns(&conversation(letters)), turns, "{letters}");
        }
    }

    #[test]
    fn system_messages_stay_and_the_result_of_a_call_leaves_with_it() {
        for (letters, begin, kept) in [("suau", 3, "su"), ("suasua", 4, "ssua"), ("ucutua", 2, "uua"), ("uctauct", 4, "uct")] {
            let (shorter, left_out) = beginning_at(&conversation(letters), begin);

            let roles: String = shorter
                .messages
                .iter()
                .map(|message| match message {
                    Message { role: Role::Assistant, calls, .. } if !calls.is_empty() => 'c',
                    Message { role, .. } => role.name().chars().next().unwrap(),
                })
                .collect();
            assert_eq!((roles.as_str(), left_out), (kept, letters.len() - kept.len()), "{letters}");
        }
    }
}
