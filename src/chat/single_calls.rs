//! Calls of one turn are put into turns of their own, each with its result, for templates that take one call a turn.
//!
//! Takes time linear in the conversation. Results without a call stay after the last turn.

use super::conversation::{CALL_ID, Conversation, Message, Role};
use serde_json::Value;
use std::collections::HashMap;

/// The change in words, in visible ASCII and without a semicolon.
pub const SINGLE_CALLS: &str = "calls of one turn were put into turns of their own: the model's chat template takes one call in a turn";

/// Parts the calls of each message. True if there was a message with several.
pub(super) fn part_calls(conversation: &mut Conversation) -> bool {
    if conversation.messages.iter().all(|message| message.calls.len() < 2) {
        return false;
    }
    let mut parted = Vec::with_capacity(conversation.messages.len());
    let mut messages = std::mem::take(&mut conversation.messages).into_iter().peekable();
    while let Some(message) = messages.next() {
        if message.calls.len() < 2 {
            parted.push(message);
            continue;
        }
        let mut results = Vec::new();
        while let Some(result) = messages.next_if(|next| next.role == Role::Tool) {
            results.push(result);
        }
        part(message, results, &mut parted);
    }
    conversation.messages = parted;
    true
}

/// Adds a message for each call of `message`, with the results of that call after it.
fn part(mut message: Message, results: Vec<Message>, parted: &mut Vec<Message>) {
    let mut of_calls: HashMap<String, Vec<Message>> = message.calls.iter().map(|call| (call.id.clone(), Vec::new())).collect();
    let mut others = Vec::new();
    for result in results {
        let id = result.fields.get(CALL_ID).and_then(Value::as_str).unwrap_or_default();
        match of_calls.get_mut(id) {
            Some(of_call) => of_call.push(result),
            None => others.push(result),
        }
    }
    for call in std::mem::take(&mut message.calls) {
        let next = Message::new(Role::Assistant, message.at.clone());
        let results = of_calls.remove(&call.id).unwrap_or_default();
        // The text and the reasoning stand before the first call.
        let mut turn = std::mem::replace(&mut message, next);
        turn.calls.push(call);
        parted.push(turn);
        parted.extend(results);
    }
    parted.extend(others);
}
